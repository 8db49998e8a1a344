"""List, group, convert and suggest dotted config keys."""

import ast
import difflib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from yacs.config import CfgNode

from utils.mistake import Mistake

from .defaults import KEYS, Role

# The published YAML files spell booleans as words.
BOOLEAN_WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
# No value of a key is longer than this when it is written as Python; longer strings are not parsed.
MAX_PARSED_LENGTH = 1000
# How similar the last words of two keys must be, 0..1, for one to be suggested for the other.
MIN_SIMILARITY = 0.65

DEFAULTS: dict[str, Any] = {name: key.default for name, key in KEYS.items()}
CHOICES = {name: key.allowed for name, key in KEYS.items() if isinstance(key.allowed, tuple)}


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every leaf of a nested mapping."""
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from leaves(value, f"{key}.")
        else:
            yield key, value


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested mapping of dotted keys and values."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, leaf = key.split(".")
        node = nested
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    return nested


def values_of(cfg: CfgNode, *roles: Role) -> dict[str, Any]:
    """Return the keys of these roles and their values, in the order of their declaration."""
    return {key: value for key, value in leaves(cfg) if KEYS[key].role in roles}


def changed_keys(before: CfgNode, after: CfgNode, *roles: Role) -> dict[str, tuple[Any, Any]]:
    """Return the values before and after of every key of these roles in which two configurations differ."""
    values = values_of(before, *roles)
    return {key: (values[key], value) for key, value in values_of(after, *roles).items() if values[key] != value}


def convert(key: str, value: Any, source: str, example: Any = None) -> Any:
    """Return ``value`` in the type of ``example`` (the key's default), unless that would lose something."""
    example = DEFAULTS[key] if example is None else example
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
        return tuple(convert(key, item, source, example[0] if example else "") for item in value)
    if type(value) is type(example):
        return value
    kind = type(example).__name__ if example != () else "tuple, such as \"('a', 'b')\""
    raise Mistake(f"{key} ({source}) must be of type {kind}, got {value!r:.100}.")


def _parse(text: str) -> Any:
    """Read a value as Python would (numbers, tuples, True); anything else stays the string it is."""
    try:
        return ast.literal_eval(text) if len(text) <= MAX_PARSED_LENGTH else text
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text


def nearest_key(key: str) -> str | None:
    """Return the key whose last word is most like that of ``key``, in any case; None if none is similar.

    ``SOLVER.BASE_LR`` finds ``SOLVER.STAGE2.BASE_LR``. The whole keys decide between equal last words.
    """
    words = {known.split(".")[-1] for known in DEFAULTS}
    near = difflib.get_close_matches(key.upper().split(".")[-1], words, 1, MIN_SIMILARITY)
    keys = [known for known in DEFAULTS if known.split(".")[-1] in near]
    return next(iter(difflib.get_close_matches(key.upper(), keys, 1, cutoff=0)), None)
