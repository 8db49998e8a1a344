"""Build the configuration of a run: defaults, then a YAML file, then KEY VALUE pairs, then checks, then frozen."""

import logging
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from utils.mistake import MissingFile, Mistake
from utils.text import read_text

from .checks import check_places, seen_from, validate
from .defaults import Role
from .keys import DEFAULTS, convert, leaves, nearest_key, nest, values_of
from .published import BEFORE_THE_KEY, explain_key, translate

logger = logging.getLogger(__name__)

# Name under which a training run keeps its configuration, beside its checkpoints.
CONFIG_FILE = "config.yml"
# Its last checkpoint, and the one that validation chose.
LAST_CHECKPOINT, BEST_CHECKPOINT = "checkpoint_last.pth", "checkpoint_best.pth"
# Folder beside results, of the features that they were computed from.
KEPT_FEATURES = "features"
# Last line of CONFIG_FILE, which tells that a run wrote it.
LAST_LINE = "# End of the configuration"
MAX_LENGTH = 32 * 1024  # characters of a config; a dump of every key takes 3,000


def get_cfg(
    config_file: str | Path | None = None,
    opts: Sequence[str] = (),
    *,
    config_text: str | None = None,
    source: str = "config of the checkpoint",
) -> CfgNode:
    """Build the frozen configuration of a run: the defaults, a YAML file over them, and KEY VALUE pairs over both.

    ``config_text`` is the content of a YAML instead of a file, as checkpoints keep it, and ``source`` its name. Its
    keys that do not exist (any more) are left out, with a warning.
    """
    values = dict(DEFAULTS)
    if config_text is not None:
        _merge(values, config_text, source, skip_unknown=True)
    elif config_file:
        if not Path(config_file).is_file():
            raise MissingFile(f"Config file not found: {config_file} (--config_file).")
        _merge(values, read_text(config_file), str(config_file))
    for key, text in _pairs(opts):
        _check_known(key, "command line")
        values[key] = convert(key, text, "command line")
    cfg = CfgNode(nest(values))
    try:
        validate(cfg)
    except Mistake as error:
        if config_text is None:
            raise
        raise Mistake(f"{source}, with what was added to it: {error}") from error
    cfg.freeze()
    return cfg


def dump_config(cfg: CfgNode) -> str:
    """Return the content of the file in which a training run keeps its configuration."""
    lists = {key: list(value) if isinstance(value, tuple) else value for key, value in leaves(cfg)}
    return f"{yaml.safe_dump(nest(lists))}{LAST_LINE}\n"


def config_of_run(opts: Sequence[str]) -> Path | None:
    """Return the config that a training run left in OUTPUT_DIR (from ``opts``, else the default); None without one.

    A file that TEST.WEIGHT names without an OUTPUT_DIR may be of any run: it has none.
    """
    pairs = dict(_pairs(opts))
    path = Path(pairs.get("OUTPUT_DIR", DEFAULTS["OUTPUT_DIR"])) / CONFIG_FILE
    is_of_any_run = "OUTPUT_DIR" not in pairs and pairs.get("TEST.WEIGHT", "") not in ("", "last", "best")
    return None if is_of_any_run or not path.is_file() else path


def locate_checkpoint(cfg: CfgNode) -> Path:
    """Return the checkpoint that TEST.WEIGHT means: the last ('' or 'last') or best one in OUTPUT_DIR, or a file."""
    folder, weight = Path(cfg.OUTPUT_DIR), cfg.TEST.WEIGHT
    names = {"": LAST_CHECKPOINT, "last": LAST_CHECKPOINT, "best": BEST_CHECKPOINT}
    path = folder / names[weight] if weight in names else Path(weight)
    if path.is_file():
        return path
    if weight not in names:
        raise MissingFile(f"{path} is not there{seen_from(weight)} (--weight, TEST.WEIGHT).")
    if weight == "best" and (folder / LAST_CHECKPOINT).is_file():
        raise MissingFile(f"{path} is not there: training keeps one if it holds people out to choose it on.")
    command = f'python train_main.py --output_dir "{folder}"'
    raise MissingFile(f"{path} is not there: train first ({command}), or name another file with --weight.")


def locate_member(name: str) -> Path:
    """Return the checkpoint that a word of TEST.ENSEMBLE means: the last one in the folder of a run, or a file."""
    path = Path(name) / LAST_CHECKPOINT if os.path.isdir(name) else Path(name)
    if not path.is_file():
        raise MissingFile(
            f"{path} is not there{seen_from(name)}: TEST.ENSEMBLE must name folders of trained runs, or checkpoints."
        )
    return path


def find_run(opts: Sequence[str], config_file: str | None = None) -> CfgNode:
    """Return the configuration to open a trained run with, whose checkpoint must be there."""
    file = config_file or config_of_run(opts)
    cfg = get_cfg(file, opts)
    locate_checkpoint(cfg)
    for name in cfg.TEST.ENSEMBLE:
        locate_member(name)
    check_places(cfg, "evaluation", opts, knows_names=file is not None or cfg.TEST.WEIGHT in ("", "last", "best"))
    return cfg


def describe_differences(cfg: CfgNode, *roles: Role) -> str:
    """Return what differs from the defaults, in these roles or all, as words for a command line; 'none' if nothing."""
    values = values_of(cfg, *(roles or Role))
    changed = [f"{key} {shlex.quote(str(value))}" for key, value in values.items() if value != DEFAULTS[key]]
    return " ".join(changed) or "none"


def _pairs(opts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the KEY VALUE pairs of a command line."""
    if options := [word for word in opts if str(word).startswith("--")]:
        raise Mistake(f"Options come before the KEY VALUE pairs: move {' '.join(options)} to the front.")
    if len(opts) % 2:
        raise Mistake(f"Overrides come as KEY VALUE pairs, got an odd number of words: {' '.join(opts)}")
    return list(zip(opts[::2], opts[1::2], strict=True))


def _merge(values: dict[str, Any], text: str, source: str, skip_unknown: bool = False) -> None:
    """Merge a YAML into ``values``; one warning says what published and retired keys become."""
    written: dict[str, Any] = {}
    for key, value in leaves(parse_yaml(text, source)):
        if key in written:
            raise Mistake(f"{key} appears twice in {source}, once with a dotted name.")
        written[key] = value
    if skip_unknown or LAST_LINE in text:  # a run wrote it
        values |= BEFORE_THE_KEY
    translated, remarks = translate(written, source)
    for key, value in translated.items():
        if key not in DEFAULTS and skip_unknown:
            remarks.append(f"The key {key} does not exist (any more): it is left out.")
            continue
        _check_known(key, source)
        values[key] = value
    if remarks:
        logger.warning("%s holds keys that this project does not have.\n  %s", source, "\n  ".join(remarks))


def _check_known(key: str, source: str) -> None:
    """Raise Mistake for a key that does not exist; the message explains it or names the nearest key."""
    if key in DEFAULTS:
        return
    if explanation := explain_key(key):
        raise Mistake(f"{key} ({source}) {explanation}.")
    nearest = nearest_key(key)
    hint = f"Did you mean {nearest}?" if nearest else "See configs/defaults.py."
    raise Mistake(f"Unknown config key {key} ({source}). {hint}")


class _Loader(yaml.SafeLoader):
    """Refuse a key that appears twice in one section, and aliases but to flat lists, which older runs dumped."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            node: Any = self.anchors.get(event.anchor)
            is_whole = node is not None and node.end_mark is not None
            if not (is_whole and all(isinstance(item, yaml.ScalarNode) for item in node.value)):
                raise yaml.MarkedYAMLError(problem="an alias (*) must mean a flat list", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if key.value in names:
                raise yaml.MarkedYAMLError(problem=f"{key.value:.100} appears twice", problem_mark=key.start_mark)
            names.add(key.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Parse the YAML of a config: nested mappings, lists and plain values; empty text is an empty mapping."""
    if len(text) > MAX_LENGTH:
        raise Mistake(f"{source} is longer than {MAX_LENGTH:,} characters, which no config needs.")
    try:
        parsed = yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise Mistake(f"{source}{line} is not a valid config: {error.problem or error.context}.") from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Mistake(f"{source} is not a valid config: {error}.") from error
    if not isinstance(parsed, dict | None):
        raise Mistake(f"{source} must hold a mapping of config keys, got {type(parsed).__name__}.")
    return parsed or {}
