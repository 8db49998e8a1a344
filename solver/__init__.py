"""Optimizer and learning-rate schedule."""

from .optimizer import centralize_gradients, format_groups, make_optimizer
from .schedule import make_schedule

__all__ = ["centralize_gradients", "format_groups", "make_optimizer", "make_schedule"]
