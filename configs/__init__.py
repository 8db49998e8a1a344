"""Configuration: every key with its default, YAML files and command lines that change them, and their checks."""

from .checks import check_places, parse_camera_map, validate, warn_of_unread_keys
from .defaults import Role
from .keys import CHOICES, changed_keys, values_of
from .load import describe_differences, dump_config, get_cfg

__all__ = [
    "CHOICES",
    "Role",
    "changed_keys",
    "check_places",
    "describe_differences",
    "dump_config",
    "get_cfg",
    "parse_camera_map",
    "validate",
    "values_of",
    "warn_of_unread_keys",
]
