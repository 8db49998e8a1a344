"""Describe a value of a file for a message."""

from typing import Any


def describe(value: Any) -> str:
    """Return a short value as it is, and the type of others."""
    return f"{value!r:.50}" if value is None or isinstance(value, bool | int | float) else type(value).__name__
