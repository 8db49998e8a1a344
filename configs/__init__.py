"""Configuration: defaults, then a YAML file, then KEY VALUE pairs, then validation, then frozen."""

import ast
import difflib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from .defaults import _C, PUBLISHED_KEYS_WITHOUT_MEANING

logger = logging.getLogger(__name__)

# Name under which a training run keeps its configuration, beside its checkpoints.
CONFIG_FILE = "config.yml"
CHOICES = {
    "MODEL.POSITION_RESIZE": ("bicubic", "bilinear"),
    "MODEL.POOLING": ("attention", "mean"),
    "MODEL.FEATURE_NECK": ("instance", "batch"),
    "LOSS.LABEL_SMOOTHING": ("online", "uniform"),
    "DATASETS.EVAL_CASE": ("case1", "case2", "case3", "all"),
    "DATASETS.TRAIN_HALF": ("second", "first"),
    "SOLVER.PRECISION": ("auto", "fp32", "bf16", "fp16"),
    "TEST.NECK_FEAT": ("before", "after"),
    # '' and the names of utils.metrics.PROTOCOLS, which this folder may not import.
    "TEST.PROTOCOL": ("", "cross-camera", "all-cameras", "mars-official", "vreid-xfd"),
}
PAIRS = ("MODEL.STRIDE_SIZE", "INPUT.SIZE_TRAIN", "INPUT.SIZE_TEST")
POSITIVE = (
    "DATASETS.SPLIT",
    "INPUT.SEQ_LEN",
    "DATALOADER.NUM_INSTANCE",
    "DATALOADER.CACHE_GIB",
    "SOLVER.STAGE2.IMS_PER_BATCH",
    "SOLVER.STAGE2.BASE_LR",
    "SOLVER.STAGE2.MAX_EPOCHS",
    "SOLVER.STAGE2.LOG_PERIOD",
    "TEST.IMS_PER_BATCH",
    "TEST.NUM_CLIPS",
    "TEST.RE_RANKING_K1",
    "TEST.RE_RANKING_K2",
)
FRACTIONS = (
    "INPUT.PROB",
    "INPUT.RE_PROB",
    "INPUT.COLOR_JITTER",
    "DATALOADER.MAX_BAD_FRACTION",
    "LOSS.SMOOTHING",
    "LOSS.HARD_WEIGHT",
    "MODEL.PROMPT_DROPOUT",
    "TEST.RE_RANKING_LAMBDA",
)
# The published YAML files spell booleans as words.
BOOLEAN_WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


def get_cfg(
    config_file: str | Path | None = None, opts: Sequence[str] = (), *, config_text: str | None = None
) -> CfgNode:
    """Build the frozen configuration of a run.

    Args:
        config_file: YAML with the keys that differ from ``configs/defaults.py``; None for the defaults alone.
        opts: Alternating keys and values, as typed after the options on the command line.
        config_text: Content of such a YAML instead of a file, as checkpoints keep it.
    Raises:
        FileNotFoundError: If ``config_file`` does not exist.
        ValueError: For an unknown key (the message names the nearest), a value outside its set, or keys that
            contradict each other.
        TypeError: For a value of the wrong type.
    """
    cfg = _C.clone()
    if config_text is not None:
        _merge_yaml(cfg, config_text, source="config of the checkpoint")
    elif config_file:
        if not Path(config_file).is_file():
            raise FileNotFoundError(f"Config file not found: {config_file}")
        _merge_yaml(cfg, Path(config_file).read_text(encoding="utf-8"), source=str(config_file))
    options = [word for word in opts if str(word).startswith("--")]
    if options:
        raise ValueError(f"Options come before the KEY VALUE pairs: move {' '.join(options)} to the front.")
    joined = [word for word in opts[::2] if "=" in str(word)]
    if joined:
        raise ValueError(f"Overrides come as KEY VALUE, separated by a space: {' '.join(joined)}")
    if len(opts) % 2:
        raise ValueError(f"Overrides come as KEY VALUE pairs, got an odd number of words: {' '.join(opts)}")
    for key, text in zip(opts[::2], opts[1::2], strict=True):
        _set(cfg, key, text, source="command line")
    validate(cfg)
    cfg.freeze()
    return cfg


def config_of_run(opts: Sequence[str]) -> Path | None:
    """The config that a training run left in the OUTPUT_DIR that ``opts`` name (or the default), if there is one."""
    folder = dict(zip(opts[::2], opts[1::2], strict=False)).get("OUTPUT_DIR", _C.OUTPUT_DIR)
    path = Path(folder) / CONFIG_FILE
    return path if path.is_file() else None


def validate(cfg: CfgNode) -> None:
    """Check the rules that one key alone cannot express; raises ValueError naming the keys to change."""
    values = dict(_leaves(cfg))
    for key, choices in CHOICES.items():
        if values[key] not in choices:
            names = ", ".join(choice or "''" for choice in choices)
            raise ValueError(f"{key} must be one of {names}, got {values[key]!r}.")
    for key in PAIRS:
        if len(values[key]) != 2 or min(values[key]) < 1:
            raise ValueError(f"{key} must be two positive integers (vertical, horizontal), got {values[key]}.")
    for key in POSITIVE:
        if values[key] <= 0:
            raise ValueError(f"{key} must be positive, got {values[key]}.")
    for key, meaning in (("DATASETS.AERIAL_CAMERA", "find out"), ("TEST.RANKING_LENGTH", "all")):
        if values[key] < 0:
            raise ValueError(f"{key} must be 0 ({meaning}) or positive, got {values[key]}.")
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
    if cfg.DATALOADER.BOTH_VIEWS and instances < 2:
        raise ValueError(f"DATALOADER.BOTH_VIEWS needs a DATALOADER.NUM_INSTANCE of at least 2, got {instances}.")
    steps = cfg.SOLVER.STAGE2.STEPS
    if list(steps) != sorted(set(steps)):
        raise ValueError(f"SOLVER.STAGE2.STEPS must increase, got {steps}.")


def _merge_yaml(cfg: CfgNode, text: str, source: str) -> None:
    """Merge YAML into ``cfg``; published keys that mean nothing here end in one warning."""
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{source} must hold a mapping of config keys, got {type(content).__name__}.")
    ignored = []
    for key, value in _leaves(content):
        section = ".".join(key.split(".")[:2])
        if key in PUBLISHED_KEYS_WITHOUT_MEANING or section in PUBLISHED_KEYS_WITHOUT_MEANING:
            ignored.append(key)
        else:
            _set(cfg, key, value, source)
    if ignored:
        logger.warning("%s: keys that mean nothing here are ignored: %s", source, ", ".join(ignored))


def _leaves(node: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every leaf of a nested mapping."""
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _set(cfg: CfgNode, key: str, value: Any, source: str) -> None:
    """Set one dotted key, checking that it exists and that the value has the default's type."""
    known = dict(_leaves(_C))
    if key not in known:
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f" Did you mean {nearest[0]}?" if nearest else " See configs/defaults.py."
        raise ValueError(f"Unknown config key {key} ({source}).{hint}")
    *sections, leaf = key.split(".")
    node = cfg
    for section in sections:
        node = node[section]
    node[leaf] = _coerce(value, known[key], key, source)


def _parse(text: str) -> Any:
    """Read a value as Python or YAML would (numbers, tuples, True); anything else stays the string it is."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _coerce(value: Any, default: Any, key: str, source: str) -> Any:
    """Return ``value`` in the type of ``default`` where nothing is lost; raise TypeError otherwise."""
    if isinstance(value, str):
        parsed = _parse(value)
        # A string stays as typed (2026_11_23 is no number), unless it is quoted, as the published YAML files do.
        if not isinstance(default, str) or isinstance(parsed, str | list | tuple):
            value = parsed
    if isinstance(default, bool) and str(value).lower() in BOOLEAN_WORDS:
        return BOOLEAN_WORDS[str(value).lower()]
    if isinstance(default, float) and type(value) in (int, float):
        return float(value)
    if isinstance(default, str) and not isinstance(value, list | tuple):
        return "" if value is None else str(value)
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(_coerce(item, default[0], key, source) for item in value)
    if type(value) is type(default):
        return value
    raise TypeError(f"{key} ({source}) must be of type {type(default).__name__}, got {value!r}.")
