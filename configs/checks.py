"""Allowed values of the keys, and the rules between keys."""

import re
from dataclasses import dataclass
from math import prod

from yacs.config import CfgNode

from utils.mistake import Mistake

from .keys import leaves

# Allowed values of the keys that choose by name.
CHOICES = {
    "MODEL.POSITION_RESIZE": ("bicubic", "bilinear"),
    "MODEL.POOLING": ("attention", "mean"),
    "MODEL.FEATURE_NECK": ("instance", "batch"),
    "LOSS.LABEL_SMOOTHING": ("online", "uniform"),
    "DATASETS.EVAL_CASE": ("case1", "case2", "case3", "all"),
    "DATASETS.TRAIN_HALF": ("second", "first"),
    "SOLVER.STAGE2.OPTIMIZER_NAME": ("Adam", "AdamW"),
    "SOLVER.STAGE2.SCHEDULE": ("step", "cosine", "linear"),
    "SOLVER.STAGE2.NON_FINITE_LOSS": ("stop", "skip"),
    "SOLVER.PRECISION": ("auto", "fp32", "bf16", "fp16"),
    "TEST.NECK_FEAT": ("before", "after"),
    "TEST.MASK": ("none", "annotated", "soft", "predicted"),
    "TEST.QUERY_EXPANSION": ("", "average", "weighted"),
    "TEST.MUTUAL_NEIGHBOURS": ("", "gallery", "both"),
    "TEST.CAMERA_NORMALIZATION": ("", "gallery", "both"),
    "TEST.NORMALIZATION_GROUPS": ("camera", "view"),
    # The names of utils.metrics.PROTOCOLS, which this folder may not import; '' is the data set's own protocol.
    "TEST.PROTOCOL": ("", "cross-camera", "all-cameras", "mars-official", "vreid-xfd"),
}


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, but for ``without``; neither NaN nor infinity lies in one."""

    low: float
    high: float
    without: float | None = None

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high and number != self.without

    def __str__(self) -> str:
        exception = "" if self.without is None else f" without {self.without:,}"
        return f"between {self.low:,} and {self.high:,}{exception}"


FRACTION = Range(0, 1)
FACTOR = Range(0, 1_000_000)  # of a rate, a decay or a loss term; more cannot be meant
# Allowed numbers of every key that holds one, or several. No key takes a negative number. The upper bounds of sizes are
# beyond what anybody trains; without them, a slip of the finger ends in an error about memory that names no key.
RANGES = {
    "MODEL.VIT.EMBED_DIM": Range(0, 8192),
    "MODEL.VIT.DEPTH": Range(0, 100),
    "MODEL.VIT.NUM_HEADS": Range(0, 256),
    "MODEL.VIT.PATCH_SIZE": Range(0, 224),
    "MODEL.VIT.PROJ_DIM": Range(0, 8192),
    "MODEL.STRIDE_SIZE": Range(1, 224),
    "MODEL.FREEZE_BLOCKS": Range(0, 100),
    "MODEL.ID_LOSS_WEIGHT": FACTOR,
    "MODEL.TRIPLET_LOSS_WEIGHT": FACTOR,
    "MODEL.I2T_LOSS_WEIGHT": FACTOR,
    "MODEL.FRAME_LOSS_WEIGHT": FACTOR,
    "MODEL.SIE_COE": FACTOR,
    "MODEL.PROMPT_DROPOUT": FRACTION,
    "LOSS.SMOOTHING": FRACTION,
    "LOSS.HARD_WEIGHT": FRACTION,
    "INPUT.SIZE_TRAIN": Range(1, 4096),
    "INPUT.SIZE_TEST": Range(1, 4096),
    "INPUT.SEQ_LEN": Range(1, 1024),
    "INPUT.PIXEL_MEAN": FRACTION,
    "INPUT.PIXEL_STD": Range(0.001, 1),
    "INPUT.PROB": FRACTION,
    "INPUT.RE_PROB": FRACTION,
    "INPUT.CROP_PADDING": Range(0, 4095),
    "INPUT.COLOR_JITTER": FRACTION,
    "DATASETS.SPLIT": Range(1, 1_000_000),
    "DATASETS.AERIAL_CAMERA": Range(0, 1_000_000),
    "DATALOADER.NUM_INSTANCE": Range(1, 65_536),
    "DATALOADER.NUM_WORKERS": Range(0, 512),
    "DATALOADER.MAX_BAD_FRACTION": FRACTION,
    "DATALOADER.CACHE_GIB": Range(0, 65_536, without=0),  # a process can map 128 TiB
    "SOLVER.SEED": Range(0, 2**63 - 1),
    "SOLVER.MARGIN": FACTOR,
    "SOLVER.STAGE2.IMS_PER_BATCH": Range(1, 65_536),
    "SOLVER.STAGE2.ACCUMULATION_STEPS": Range(1, 65_536),
    "SOLVER.STAGE2.BASE_LR": Range(0, 100, without=0),
    "SOLVER.STAGE2.WEIGHT_DECAY": Range(0, 100),
    "SOLVER.STAGE2.WEIGHT_DECAY_BIAS": Range(0, 100),
    "SOLVER.STAGE2.BIAS_LR_FACTOR": FACTOR,
    "SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR": FACTOR,
    **{
        f"SOLVER.STAGE2.{module}_{kind}_FACTOR": FACTOR
        for module in ("ENCODER", "NEW_MODULE", "HEAD", "PROMPT")
        for kind in ("LR", "DECAY")
    },
    "SOLVER.STAGE2.CHECKPOINT_MINUTES": Range(0, 1_000_000),
    "SOLVER.STAGE2.CLIP_GRADIENT_NORM": FACTOR,
    "SOLVER.STAGE2.EMA_DECAY": Range(0, 1, without=1),
    "SOLVER.STAGE2.LAYER_DECAY": Range(0, 1, without=0),
    "SOLVER.STAGE2.MAX_EPOCHS": Range(1, 1_000_000),
    "SOLVER.STAGE2.LR_MIN_FACTOR": FRACTION,
    "SOLVER.STAGE2.STEPS": Range(1, 1_000_000),
    "SOLVER.STAGE2.GAMMA": FRACTION,
    "SOLVER.STAGE2.WARMUP_ITERS": Range(0, 1_000_000),
    "SOLVER.STAGE2.WARMUP_FACTOR": FRACTION,
    "SOLVER.STAGE2.LOG_PERIOD": Range(1, 1_000_000_000),
    "SOLVER.STAGE2.EVAL_PERIOD": Range(0, 1_000_000),
    "TEST.IMS_PER_BATCH": Range(1, 65_536),
    "TEST.NUM_CLIPS": Range(1, 1000),
    "TEST.MASK_PENALTY": Range(0, 10_000),  # float32 adds more at the cost of the visual distance
    "TEST.PREDICTED_PENALTY": Range(0, 10_000),
    "TEST.RE_RANKING_K1": Range(1, 10_000),
    "TEST.RE_RANKING_K2": Range(1, 10_000),
    "TEST.RE_RANKING_LAMBDA": FRACTION,
    "TEST.QUERY_EXPANSION_K": Range(1, 10_000),
    "TEST.QUERY_EXPANSION_ALPHA": Range(0, 100, without=0),
    "TEST.RANKING_LENGTH": Range(0, 1_000_000_000),
    "TEST.NUM_MAPS": Range(0, 1_000_000_000),
}
# How many numbers a key holds, and which.
LENGTHS = {
    "MODEL.STRIDE_SIZE": (2, "vertical, horizontal"),
    "INPUT.SIZE_TRAIN": (2, "height, width"),
    "INPUT.SIZE_TEST": (2, "height, width"),
    "INPUT.PIXEL_MEAN": (3, "R, G, B"),
    "INPUT.PIXEL_STD": (3, "R, G, B"),
}
CAMERA_PAIR = re.compile(r"\s*(\d{1,6})\s*:\s*(\d{1,6})\s*", re.ASCII)
DEVICE = re.compile(r"auto|cpu|cuda(:(\d|[1-9]\d))?")
# Control characters, and surrogates that stand for no character and, unlike \udc80 to \udcff, for no byte of a path.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")
MAX_WORD = 4096  # the longest path of Linux
# Bytes of a batch of frames, 4 for each number, that no device holds beside the network.
MAX_BATCH_BYTES = 64 * 2**30


def validate(cfg: CfgNode) -> None:
    """Check every value against its allowed set or range, and the keys against each other.

    Raises:
        ValueError: If a rule is broken; the message names the keys to change.
    """
    values = dict(leaves(cfg))
    for key, choices in CHOICES.items():
        if values[key] not in choices:
            names = ", ".join(choice or "''" for choice in choices)
            raise Mistake(f"{key} must be one of {names}, got {values[key]!r}.")
    for key, (length, meaning) in LENGTHS.items():
        if len(values[key]) != length:
            raise Mistake(f"{key} must be {length} numbers ({meaning}), got {_shorten(values[key])}.")
    for key, allowed in RANGES.items():
        numbers = values[key] if isinstance(values[key], tuple) else (values[key],)
        if any(number not in allowed for number in numbers):
            raise Mistake(f"{key} must lie {allowed}, got {_shorten(values[key])}.")
    for key, value in values.items():
        words = [word for word in (value if isinstance(value, tuple) else (value,)) if isinstance(word, str)]
        if any(len(word) > MAX_WORD or UNPRINTABLE.search(word) for word in words):
            raise Mistake(
                f"{key} must hold at most {MAX_WORD:,} characters of text, and no control characters, "
                f"got {_shorten(value)}."
            )
    if DEVICE.fullmatch(cfg.MODEL.DEVICE) is None:
        raise Mistake(f"MODEL.DEVICE must be auto, cpu, cuda or cuda:N, got {_shorten(cfg.MODEL.DEVICE)}.")
    parse_camera_map(cfg.TEST.CAMERA_MAP)
    if cfg.TEST.TEXT_TOWER and cfg.TEST.MASK != "predicted":
        raise Mistake(f"TEST.TEXT_TOWER needs TEST.MASK predicted, got {cfg.TEST.MASK}.")
    _check_sizes(cfg)
    _check_batches(cfg)
    steps = cfg.SOLVER.STAGE2.STEPS
    if list(steps) != sorted(set(steps)):
        raise Mistake(f"SOLVER.STAGE2.STEPS must increase, got {_shorten(steps)}.")


def parse_camera_map(text: str) -> dict[int, int]:
    """Return the training camera of each test camera of TEST.CAMERA_MAP, both as annotated; empty for ''.

    Raises:
        ValueError: If the text is no list of pairs, or names a test camera twice.
    """
    pairs = [CAMERA_PAIR.fullmatch(pair) for pair in text.split(",")] if text.strip() else []
    numbers = [(int(pair[1]), int(pair[2])) for pair in pairs if pair]
    if len(numbers) < len(pairs):
        raise Mistake(
            "TEST.CAMERA_MAP must be pairs of a test camera and a training camera such as '0:4,1:5' (quoted in a YAML "
            f"file), got {_shorten(text)}."
        )
    cameras = dict(numbers)
    if len(cameras) < len(numbers):
        raise Mistake(f"TEST.CAMERA_MAP must name every test camera once, got {_shorten(text)}.")
    return cameras


def _check_sizes(cfg: CfgNode) -> None:
    width, heads = cfg.MODEL.VIT.EMBED_DIM, cfg.MODEL.VIT.NUM_HEADS
    if width and heads and width % heads:
        raise Mistake(f"MODEL.VIT.EMBED_DIM must be a multiple of MODEL.VIT.NUM_HEADS ({heads}), got {width}.")
    padding, size = cfg.INPUT.CROP_PADDING, cfg.INPUT.SIZE_TRAIN
    if padding >= min(size):
        raise Mistake(
            f"INPUT.CROP_PADDING must be less than the shorter side of INPUT.SIZE_TRAIN {size}, got {padding}."
        )


def _check_batches(cfg: CfgNode) -> None:
    batch, instances = cfg.SOLVER.STAGE2.IMS_PER_BATCH, cfg.DATALOADER.NUM_INSTANCE
    if batch % instances or batch // instances < 2:
        raise Mistake(
            f"SOLVER.STAGE2.IMS_PER_BATCH must be a multiple of DATALOADER.NUM_INSTANCE ({instances}) and hold at "
            f"least two identities, got {batch}."
        )
    num_parts, num_identities = cfg.SOLVER.STAGE2.ACCUMULATION_STEPS, batch // instances
    if num_identities % num_parts or num_identities // num_parts < 2:
        raise Mistake(
            f"SOLVER.STAGE2.ACCUMULATION_STEPS must divide the {num_identities} identities of a batch "
            "(SOLVER.STAGE2.IMS_PER_BATCH / DATALOADER.NUM_INSTANCE) into parts of at least two, got "
            f"{num_parts}."
        )
    if cfg.DATALOADER.BOTH_VIEWS and instances < 2:
        raise Mistake(f"DATALOADER.BOTH_VIEWS needs a DATALOADER.NUM_INSTANCE of at least 2, got {instances}.")
    for key, clips, size in (
        ("SOLVER.STAGE2.IMS_PER_BATCH", batch, "SIZE_TRAIN"),
        ("TEST.IMS_PER_BATCH", cfg.TEST.IMS_PER_BATCH, "SIZE_TEST"),
    ):
        num_bytes = 4 * 3 * clips * cfg.INPUT.SEQ_LEN * prod(cfg.INPUT[size])
        if num_bytes > MAX_BATCH_BYTES:
            raise Mistake(
                f"{key} clips of INPUT.SEQ_LEN frames in INPUT.{size} take {num_bytes / 2**30:,.0f} GiB, "
                f"and at most {MAX_BATCH_BYTES / 2**30:.0f} are allowed: lower one of the three."
            )


def _shorten(value: object) -> str:
    """Write a value for a message, cut where it is long."""
    return repr(value) if len(repr(value)) <= 100 else f"{value!r:.100}..."
