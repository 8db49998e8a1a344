"""Dotted config keys: listing them, setting them with the right type, and answering unknown ones."""

import ast
import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from yacs.config import CfgNode

from utils.mistake import Mistake

from .defaults import _C

# The published YAML files spell booleans as words.
BOOLEAN_WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
# No value of a key is longer than this when it is written as Python; longer strings are not parsed.
MAX_PARSED_LENGTH = 1000
# Keys, and sections with a dot at the end, that decide what the weights of a network mean.
NETWORK_KEYS = (
    "MODEL.NAME",
    "MODEL.VIT.",
    "MODEL.STRIDE_SIZE",
    "MODEL.SIE_CAMERA",
    "MODEL.SIE_COE",
    "MODEL.POSITION_RESIZE",
    "MODEL.POOLING",
    "MODEL.FRAME_EMBEDDING",
    "MODEL.MEMORY_WEIGHTING",
    "MODEL.FEATURE_NECK",
    "LOSS.LABEL_SMOOTHING",
    "INPUT.SIZE_TRAIN",
    "INPUT.SEQ_LEN",
    "INPUT.PIXEL_MEAN",
    "INPUT.PIXEL_STD",
    "DATASETS.NAMES",
)
# How similar the last words of two keys must be, 0..1, for one to be suggested for the other.
MIN_SIMILARITY = 0.7


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every leaf of a nested mapping."""
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from leaves(value, f"{key}.")
        else:
            yield key, value


DEFAULTS: dict[str, Any] = dict(leaves(_C))
SECTIONS = frozenset(key.rsplit(".", depth)[0] for key in DEFAULTS for depth in range(1, key.count(".") + 1))


def set_key(cfg: CfgNode, key: str, value: Any, source: str) -> None:
    """Set one known dotted key to ``value``, converted to the type of its default.

    Raises:
        TypeError: If the value cannot be converted without loss.
    """
    *sections, leaf = key.split(".")
    node = cfg
    for section in sections:
        node = node[section]
    node[leaf] = convert(key, value, source)


def convert(key: str, value: Any, source: str) -> Any:
    """Return ``value`` in the type of the default of ``key``; raise TypeError where that would lose something."""
    return convert_to(DEFAULTS[key], key, value, source)


def convert_to(example: Any, key: str, value: Any, source: str) -> Any:
    """Return ``value`` in the type of ``example``; raise TypeError, naming ``key``, where that would lose something."""
    if isinstance(value, str):
        parsed = _parse(value)
        # A string stays as typed (2026_11_23 is no number), unless it is quoted, as the published YAML files do.
        if not isinstance(example, str) or isinstance(parsed, str | list | tuple):
            value = parsed
    if isinstance(example, bool) and str(value).lower() in BOOLEAN_WORDS:
        return BOOLEAN_WORDS[str(value).lower()]
    if isinstance(example, float) and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if isinstance(example, str) and not isinstance(value, list | tuple):
        return "" if value is None else str(value)
    if isinstance(example, tuple) and isinstance(value, list | tuple):
        return tuple(convert_to(example[0], key, item, source) for item in value)
    if type(value) is type(example):
        return value
    raise Mistake(f"{key} ({source}) must be of type {type(example).__name__}, got {value!r:.100}.")


def nearest_key(key: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate whose last word is most like that of ``key``; None if none is similar.

    ``SOLVER.BASE_LR`` finds ``SOLVER.STAGE2.BASE_LR``. The whole keys decide between candidates with the same last
    word, and earlier candidates win ties. Case is ignored.
    """
    key = key.upper()
    scores = {candidate: (_leaf_similarity(key, candidate), _similarity(key, candidate)) for candidate in candidates}
    if not scores:
        return None
    best = max(scores, key=scores.__getitem__)
    return best if scores[best][0] >= MIN_SIMILARITY else None


def _leaf_similarity(key: str, other: str) -> float:
    """Return how alike the last words of two keys are, 0..1; a last word inside the other's is similar enough."""
    leaf, other_leaf = key.rsplit(".", 1)[-1], other.rsplit(".", 1)[-1]
    similarity = _similarity(leaf, other_leaf)
    if set(leaf.split("_")) <= set(other_leaf.upper().split("_")):
        # OPTIMIZER in OPTIMIZER_NAME, LR in BASE_LR: similar, and more so the shorter the rest is.
        return max(similarity, MIN_SIMILARITY + similarity / 10)
    return similarity


def _similarity(text: str, other: str) -> float:
    return difflib.SequenceMatcher(None, text, other.upper()).ratio()


def _parse(text: str) -> Any:
    """Read a value as Python would (numbers, tuples, True); anything else stays the string it is."""
    if len(text) > MAX_PARSED_LENGTH:
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text
