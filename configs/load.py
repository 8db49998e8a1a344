"""Building the configuration of a run: defaults, then a YAML file, then KEY VALUE pairs, then checks, then frozen."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from utils.mistake import MissingFile, Mistake

from .checks import validate
from .defaults import _C
from .keys import DEFAULTS, SECTIONS, leaves, nearest_key, set_key
from .published import LARGE_FC_LR, ONLY_VALUES, WITHOUT_MEANING, explain_published_key, is_published_key, translate
from .safe_yaml import MAX_BYTES, parse_yaml

logger = logging.getLogger(__name__)

# Name under which a training run keeps its configuration, beside its checkpoints.
CONFIG_FILE = "config.yml"
# Last line of that file. One that was cut short, as by a full disk, has lost it; its missing keys must not be taken for
# defaults.
LAST_LINE = "# End of the configuration"


def get_cfg(
    config_file: str | Path | None = None,
    opts: Sequence[str] = (),
    *,
    config_text: str | None = None,
    source: str = "config of the checkpoint",
) -> CfgNode:
    """Build the frozen configuration of a run.

    Args:
        config_file: YAML with the keys that differ from ``configs/defaults.py``; None for the defaults alone.
        opts: Alternating keys and values, as typed after the options on the command line.
        config_text: Content of such a YAML instead of a file, as checkpoints keep it. Keys that do not exist (any more)
            are left out, with a warning.
        source: Where ``config_text`` comes from, for messages.
    Raises:
        FileNotFoundError: If ``config_file`` does not exist.
        ValueError: For an unsafe or damaged YAML, an unknown key (the message names the nearest), a value outside its
            set, or keys that contradict each other.
        TypeError: For a value of the wrong type.
    """
    cfg = _C.clone()
    if config_text is not None:
        _merge(cfg, parse_yaml(config_text, source), source, skip_unknown=True)
    elif config_file:
        _merge(cfg, parse_yaml(_read(Path(config_file)), str(config_file)), str(config_file))
    for key, text in _pairs(opts):
        _check_known(key, "command line")
        set_key(cfg, key, text, "command line")
    try:
        validate(cfg)
    except ValueError as error:
        if config_text is None:
            raise
        raise Mistake(f"{source}, with what was added to it: {error}") from error
    cfg.freeze()
    return cfg


def dump_config(cfg: CfgNode) -> str:
    """Return the content of the file in which a training run keeps its configuration."""
    return f"{cfg.dump()}{LAST_LINE}\n"


def config_of_run(opts: Sequence[str]) -> Path | None:
    """Return the config that a training run left in OUTPUT_DIR (from ``opts``, else the default); None without one.

    Raises:
        ValueError: If the file is cut short.
    """
    folder = dict(zip(opts[::2], opts[1::2], strict=False)).get("OUTPUT_DIR", _C.OUTPUT_DIR)
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        return None
    if LAST_LINE.encode() not in _read(path):
        raise Mistake(
            f"{path} was cut short: its last line is missing. Name the configuration of this run with --config_file. "
            f"If the file is complete, as one that somebody wrote by hand, add the line {LAST_LINE!r}."
        )
    return path


def describe_differences(cfg: CfgNode) -> str:
    """Return, in one line, the keys and values of ``cfg`` that differ from the defaults, as a command line has them."""
    changed = [f"{key} {value}" for key, value in leaves(cfg) if value != DEFAULTS[key]]
    return ", ".join(changed) or "none"


def changed_keys(before: CfgNode, after: CfgNode) -> dict[str, tuple[Any, Any]]:
    """Return the values before and after of every key in which two configurations differ."""
    values = dict(leaves(before))
    return {key: (values[key], value) for key, value in leaves(after) if values[key] != value}


def _read(path: Path) -> bytes:
    """Read a config file, at most as much of it as shows that it is too large."""
    if not path.is_file():
        raise MissingFile(f"Config file not found: {path}")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _pairs(opts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the KEY VALUE pairs of a command line."""
    options = [word for word in opts if str(word).startswith("--")]
    if options:
        raise Mistake(f"Options come before the KEY VALUE pairs: move {' '.join(options)} to the front.")
    joined = [word for word in opts[::2] if "=" in str(word)]
    if joined:
        raise Mistake(f"Overrides come as KEY VALUE, separated by a space: {' '.join(joined)}")
    if len(opts) % 2:
        raise Mistake(f"Overrides come as KEY VALUE pairs, got an odd number of words: {' '.join(opts)}")
    return list(zip(opts[::2], opts[1::2], strict=True))


def _merge(cfg: CfgNode, content: Mapping[str, Any], source: str, skip_unknown: bool = False) -> None:
    """Merge the content of a YAML into ``cfg``; one warning says what published keys and values become."""
    written: dict[str, Any] = {}
    for key, value in leaves(content):
        if key in written:
            raise Mistake(f"{key} appears twice in {source}, once with a dotted name.")
        written[key] = value
    translation = translate(written, source)
    for key, value in translation.values.items():
        if skip_unknown and key not in DEFAULTS:
            logger.warning("%s has the key %s, which does not exist (any more): it is left out.", source, key)
            continue
        _check_known(key, source)
        set_key(cfg, key, value, source)
    message = translation.message()
    if message:
        logger.warning("%s holds keys of the published code.\n  %s", source, message)


def _check_known(key: str, source: str) -> None:
    """Raise ValueError for a key that does not exist; the message explains it or names the nearest key."""
    if key in DEFAULTS:
        return
    if is_published_key(key):
        raise Mistake(f"{key} ({source}) {explain_published_key(key)}.")
    if key in SECTIONS:
        raise Mistake(f"{key} ({source}) is a section, not a key. See configs/defaults.py for the keys in it.")
    if nearest := nearest_key(key, DEFAULTS):
        hint = f"Did you mean {nearest}?"
    elif nearest := nearest_key(key, sorted((*WITHOUT_MEANING, *ONLY_VALUES, LARGE_FC_LR))):
        hint = f"The nearest, {nearest}, {explain_published_key(nearest)}."
    else:
        hint = "See configs/defaults.py."
    raise Mistake(f"Unknown config key {key} ({source}). {hint}")
