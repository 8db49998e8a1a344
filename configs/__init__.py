"""Configuration: every key with its default, YAML files and command lines that change them, and their checks."""

from .checks import CHOICES, validate
from .load import CONFIG_FILE, config_of_run, describe_differences, get_cfg

__all__ = ["CHOICES", "CONFIG_FILE", "config_of_run", "describe_differences", "get_cfg", "validate"]
