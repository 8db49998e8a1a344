"""Check the values of a configuration against the declarations of their keys, and against each other."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from utils.mistake import MissingFile, Mistake

from .defaults import DATA_SETS, KEYS, Command, Range
from .keys import DEFAULTS, leaves

logger = logging.getLogger(__name__)

CAMERA_PAIR = re.compile(r"\s*(\d{1,6})\s*:\s*(\d{1,6})\s*", re.ASCII)
DEVICE = re.compile(r"auto|cpu|cuda(:(\d|[1-9]\d))?")
# Control characters, and surrogates that stand for no character and, unlike \udc80 to \udcff, for no byte of a path.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")
# Keys of files that a command reads late.
FILES = frozenset(("MODEL.PRETRAIN_PATH", "MODEL.INIT_WEIGHT", "DATASETS.VALIDATION_PIDS", "TEST.TEXT_TOWER"))
MAX_WORD = 4096  # the longest path of Linux


def validate(cfg: CfgNode) -> None:
    """Check every value against its declaration, and the keys against each other."""
    for key, value in leaves(cfg):
        _check_value(key, value)
    if DEVICE.fullmatch(cfg.MODEL.DEVICE) is None:
        raise Mistake(f"MODEL.DEVICE must be auto, cpu, cuda or cuda:N, got {cfg.MODEL.DEVICE!r:.100}.")
    parse_camera_map(cfg.TEST.CAMERA_MAP)
    if cfg.TEST.TEXT_TOWER and cfg.TEST.MASK != "predicted":
        raise Mistake(f"TEST.TEXT_TOWER needs TEST.MASK predicted, got {cfg.TEST.MASK}.")
    if cfg.DATASETS.VALIDATION_FRACTION and cfg.DATASETS.VALIDATION_PIDS:
        raise Mistake("DATASETS.VALIDATION_FRACTION and DATASETS.VALIDATION_PIDS exclude each other: set one of them.")
    vit = cfg.MODEL.VIT
    if vit.EMBED_DIM and vit.NUM_HEADS and vit.EMBED_DIM % vit.NUM_HEADS:
        raise Mistake(
            f"MODEL.VIT.EMBED_DIM must be a multiple of MODEL.VIT.NUM_HEADS ({vit.NUM_HEADS}), got {vit.EMBED_DIM}."
        )
    if vit.PROJ_DIM % max(vit.PROJ_DIM // 64, 1):  # heads of the sequence-specific prompt
        raise Mistake(f"MODEL.VIT.PROJ_DIM must divide into {vit.PROJ_DIM // 64} heads, got {vit.PROJ_DIM}.")
    padding, size = cfg.INPUT.CROP_PADDING, cfg.INPUT.SIZE_TRAIN
    if padding >= min(size):
        raise Mistake(f"INPUT.CROP_PADDING must be below the shorter side of INPUT.SIZE_TRAIN {size}, got {padding}.")
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
            f"(IMS_PER_BATCH / DATALOADER.NUM_INSTANCE) into parts of at least two, got {num_parts}."
        )
    if cfg.DATALOADER.BOTH_VIEWS and instances < 2:
        raise Mistake(f"DATALOADER.BOTH_VIEWS needs a DATALOADER.NUM_INSTANCE of at least 2, got {instances}.")
    steps = cfg.SOLVER.STAGE2.STEPS
    if list(steps) != sorted(set(steps)):
        raise Mistake(f"SOLVER.STAGE2.STEPS must increase, got {steps!r:.100}.")


def _check_value(key: str, value: Any) -> None:
    allowed, parts = KEYS[key].allowed, KEYS[key].parts
    items = value if isinstance(value, tuple) else (value,)
    if isinstance(allowed, tuple) and value not in allowed:
        rule = f"be one of {', '.join(word or repr(word) for word in allowed)}"
    elif parts and len(items) != len(parts):
        rule = f"be {len(parts)} numbers ({', '.join(parts)})"
    elif isinstance(allowed, Range) and any(number not in allowed for number in items):
        rule = f"lie {allowed}"
    elif any(len(item) > MAX_WORD or UNPRINTABLE.search(item) for item in items if isinstance(item, str)):
        rule = f"hold at most {MAX_WORD:,} characters of text, and no control characters"
    else:
        return
    raise Mistake(f"{key} must {rule}, got {value!r:.100}.")


def parse_camera_map(text: str) -> dict[int, int]:
    """Return the training camera of each test camera of TEST.CAMERA_MAP, both as annotated; empty for ''."""
    pairs = [CAMERA_PAIR.fullmatch(pair) for pair in text.split(",")] if text.strip() else []
    numbers = [(int(pair[1]), int(pair[2])) for pair in pairs if pair]
    cameras = dict(numbers)
    if len(cameras) < len(pairs):
        raise Mistake(
            "TEST.CAMERA_MAP must be pairs of a test camera, each once, and a training camera such as '0:4,1:5' "
            f"(quoted in a YAML file), got {text!r:.100}."
        )
    return cameras


def check_places(cfg: CfgNode, command: Command, opts: Sequence[str] | None = None, knows_names: bool = True) -> None:
    """Refuse an unknown data set, files of ``FILES`` that are not there, and a table that the data set would not read.

    With ``opts``, only the keys in them are checked: the checkpoint may hold others, and DATASETS.NAMES, too, unless
    ``knows_names``.
    """
    data, values = cfg.DATASETS, {key: value for key, value in leaves(cfg) if opts is None or key in opts[::2]}
    if cfg.MODEL.INIT_WEIGHT or not cfg.MODEL.PRETRAINED:
        values.pop("MODEL.PRETRAIN_PATH", None)
    for key in FILES.intersection(values):
        if values[key] and KEYS[key].reader in ("both", command) and not os.path.isfile(values[key]):
            raise MissingFile(f"{values[key]} is not there{seen_from(values[key])} ({key}).")
    if data.NAMES not in DATA_SETS:
        raise Mistake(f"DATASETS.NAMES must be one of {', '.join(DATA_SETS)}, got {data.NAMES!r:.100}.")
    if knows_names and "DATASETS.ROOT_DIR" in values and DEFAULTS["DATASETS.NAMES"] == data.NAMES:
        root = Path(data.ROOT_DIR)
        if (root / data.TABLE).is_file() and not any(root.glob("case*")):
            raise Mistake(f"{root / data.TABLE} is a table of own data: add DATASETS.NAMES folder.")


def seen_from(path: str) -> str:
    """Say from which folder a path was looked for, if it is relative."""
    return "" if os.path.isabs(path) else f", seen from {os.getcwd()}"


def warn_of_unread_keys(cfg: CfgNode, command: Command, opts: Sequence[str]) -> None:
    """Warn of keys of ``opts`` that ``command`` does not read; a YAML file is for training and evaluation alike."""
    others = {key: value for key, value in leaves(cfg) if KEYS[key].reader not in ("both", command)}
    keys = [key for key, value in others.items() if value != DEFAULTS[key] and key in opts[::2]]
    if keys:
        hint = " To train from a checkpoint, set MODEL.INIT_WEIGHT." if "TEST.WEIGHT" in keys else ""
        logger.warning("Keys without effect in %s: %s.%s", command, ", ".join(keys), hint)
