"""Allowed values of the keys, and the rules between keys."""

from math import isfinite

from yacs.config import CfgNode

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
    "SOLVER.STAGE2.NON_FINITE_LOSS": ("stop", "skip"),
    "SOLVER.STAGE2.SCHEDULE": ("step", "cosine", "linear"),
    "SOLVER.PRECISION": ("auto", "fp32", "bf16", "fp16"),
    "TEST.NECK_FEAT": ("before", "after"),
    # The names of utils.metrics.PROTOCOLS, which this folder may not import; '' is the data set's own protocol.
    "TEST.PROTOCOL": ("", "cross-camera", "all-cameras", "mars-official", "vreid-xfd"),
}
# Keys of two positive integers, (vertical, horizontal).
PAIRS = ("MODEL.STRIDE_SIZE", "INPUT.SIZE_TRAIN", "INPUT.SIZE_TEST")
# Keys of numbers above 0.
POSITIVE = (
    "DATASETS.SPLIT",
    "INPUT.SEQ_LEN",
    "DATALOADER.NUM_INSTANCE",
    "DATALOADER.CACHE_GIB",
    "SOLVER.STAGE2.IMS_PER_BATCH",
    "SOLVER.STAGE2.ACCUMULATION_STEPS",
    "SOLVER.STAGE2.BASE_LR",
    "SOLVER.STAGE2.LAYER_DECAY",
    "SOLVER.STAGE2.MAX_EPOCHS",
    "SOLVER.STAGE2.LOG_PERIOD",
    "TEST.IMS_PER_BATCH",
    "TEST.NUM_CLIPS",
    "TEST.RE_RANKING_K1",
    "TEST.RE_RANKING_K2",
)
# Keys of numbers of at least 0.
NOT_NEGATIVE = (
    "MODEL.FREEZE_BLOCKS",
    "SOLVER.STAGE2.CHECKPOINT_MINUTES",
    "SOLVER.STAGE2.CLIP_GRADIENT_NORM",
    "SOLVER.STAGE2.WEIGHT_DECAY",
    "SOLVER.STAGE2.WEIGHT_DECAY_BIAS",
    "SOLVER.STAGE2.BIAS_LR_FACTOR",
    "SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR",
    *(
        f"SOLVER.STAGE2.{module}_{kind}_FACTOR"
        for module in ("ENCODER", "NEW_MODULE", "HEAD", "PROMPT")
        for kind in ("LR", "DECAY")
    ),
)
# Keys of numbers in 0..1.
FRACTIONS = (
    "INPUT.PROB",
    "INPUT.RE_PROB",
    "INPUT.COLOR_JITTER",
    "DATALOADER.MAX_BAD_FRACTION",
    "LOSS.SMOOTHING",
    "LOSS.HARD_WEIGHT",
    "MODEL.PROMPT_DROPOUT",
    "SOLVER.STAGE2.LAYER_DECAY",
    "SOLVER.STAGE2.LR_MIN_FACTOR",
    "TEST.RE_RANKING_LAMBDA",
)


def validate(cfg: CfgNode) -> None:
    """Check every value against its allowed set or range, and the keys against each other.

    Raises:
        ValueError: If a rule is broken; the message names the keys to change.
    """
    values = dict(leaves(cfg))
    for key, choices in CHOICES.items():
        if values[key] not in choices:
            names = ", ".join(choice or "''" for choice in choices)
            raise ValueError(f"{key} must be one of {names}, got {values[key]!r}.")
    for key, value in values.items():
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, float) and not isfinite(number) for number in numbers):
            raise ValueError(f"{key} must be finite, got {value}.")
    for key in PAIRS:
        if len(values[key]) != 2 or min(values[key]) < 1:
            raise ValueError(f"{key} must be two positive integers (vertical, horizontal), got {values[key]}.")
    for key in POSITIVE:
        if values[key] <= 0:
            raise ValueError(f"{key} must be positive, got {values[key]}.")
    for key, meaning in (("DATASETS.AERIAL_CAMERA", "find out"), ("TEST.RANKING_LENGTH", "all")):
        if values[key] < 0:
            raise ValueError(f"{key} must be 0 ({meaning}) or positive, got {values[key]}.")
    for key in NOT_NEGATIVE:
        if values[key] < 0:
            raise ValueError(f"{key} must be at least 0, got {values[key]}.")
    for key in FRACTIONS:
        if not 0 <= values[key] <= 1:
            raise ValueError(f"{key} must lie between 0 and 1, got {values[key]}.")
    for key in ("INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD"):
        if len(values[key]) != 3:
            raise ValueError(f"{key} must be three numbers (R, G, B), got {values[key]}.")
    if not (min(cfg.INPUT.PIXEL_MEAN) >= 0 and max(cfg.INPUT.PIXEL_MEAN) <= 1 and min(cfg.INPUT.PIXEL_STD) > 0):
        raise ValueError(
            "INPUT.PIXEL_MEAN must lie within 0..1 and INPUT.PIXEL_STD be positive, "
            f"got {cfg.INPUT.PIXEL_MEAN} and {cfg.INPUT.PIXEL_STD}."
        )
    if not 0 <= cfg.INPUT.CROP_PADDING < min(cfg.INPUT.SIZE_TRAIN):
        raise ValueError(
            "INPUT.CROP_PADDING must be at least 0 and less than the shorter side of INPUT.SIZE_TRAIN "
            f"{cfg.INPUT.SIZE_TRAIN}, got {cfg.INPUT.CROP_PADDING}."
        )
    batch, instances = cfg.SOLVER.STAGE2.IMS_PER_BATCH, cfg.DATALOADER.NUM_INSTANCE
    if batch % instances or batch // instances < 2:
        raise ValueError(
            f"SOLVER.STAGE2.IMS_PER_BATCH must be a multiple of DATALOADER.NUM_INSTANCE ({instances}) and hold at "
            f"least two identities, got {batch}."
        )
    num_parts, num_identities = cfg.SOLVER.STAGE2.ACCUMULATION_STEPS, batch // instances
    if num_identities % num_parts or num_identities // num_parts < 2:
        raise ValueError(
            f"SOLVER.STAGE2.ACCUMULATION_STEPS must divide the {num_identities} identities of a batch "
            "(SOLVER.STAGE2.IMS_PER_BATCH / DATALOADER.NUM_INSTANCE) into parts of at least two, got "
            f"{num_parts}."
        )
    decay = cfg.SOLVER.STAGE2.EMA_DECAY
    if not 0 <= decay < 1:
        raise ValueError(f"SOLVER.STAGE2.EMA_DECAY must be at least 0 and less than 1, got {decay}.")
    if cfg.DATALOADER.BOTH_VIEWS and instances < 2:
        raise ValueError(f"DATALOADER.BOTH_VIEWS needs a DATALOADER.NUM_INSTANCE of at least 2, got {instances}.")
    steps = cfg.SOLVER.STAGE2.STEPS
    if list(steps) != sorted(set(steps)):
        raise ValueError(f"SOLVER.STAGE2.STEPS must increase, got {steps}.")
