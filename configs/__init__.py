"""Configuration: every key with its default, YAML files and command lines that change them, and their checks."""

from .checks import check_places, parse_camera_map, validate, warn_of_unread_keys
from .defaults import Role
from .keys import CHOICES, changed_keys, values_of
from .load import (
    BEST_CHECKPOINT,
    CONFIG_FILE,
    LAST_CHECKPOINT,
    config_of_run,
    describe_differences,
    dump_config,
    find_run,
    get_cfg,
    locate_checkpoint,
)

__all__ = [
    "BEST_CHECKPOINT",
    "CHOICES",
    "CONFIG_FILE",
    "LAST_CHECKPOINT",
    "Role",
    "changed_keys",
    "check_places",
    "config_of_run",
    "describe_differences",
    "dump_config",
    "find_run",
    "get_cfg",
    "locate_checkpoint",
    "parse_camera_map",
    "validate",
    "values_of",
    "warn_of_unread_keys",
]
