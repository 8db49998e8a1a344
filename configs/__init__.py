"""Configuration: every key with its default, YAML files and command lines that change them, and their checks."""

from .checks import parse_camera_map, validate, warn_of_unread_keys
from .defaults import Role
from .keys import CHOICES, changed_keys, values_of
from .load import CONFIG_FILE, config_of_run, describe_differences, dump_config, get_cfg

__all__ = [
    "CHOICES",
    "CONFIG_FILE",
    "Role",
    "changed_keys",
    "config_of_run",
    "describe_differences",
    "dump_config",
    "get_cfg",
    "parse_camera_map",
    "validate",
    "values_of",
    "warn_of_unread_keys",
]
