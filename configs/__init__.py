"""Configuration: every key with its default, YAML files and command lines that change them, and their checks."""

from .checks import CHOICES, parse_camera_map, validate
from .keys import NETWORK_KEYS
from .load import CONFIG_FILE, changed_keys, config_of_run, describe_differences, dump_config, get_cfg
from .unread import unread_keys, warn_of_unread_keys

__all__ = [
    "CHOICES",
    "CONFIG_FILE",
    "NETWORK_KEYS",
    "changed_keys",
    "config_of_run",
    "describe_differences",
    "dump_config",
    "get_cfg",
    "parse_camera_map",
    "unread_keys",
    "validate",
    "warn_of_unread_keys",
]
