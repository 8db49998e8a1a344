"""Check what a checkpoint holds before it is used: a file may hold anything under any name.

A check takes a value and returns None if it is right, or else what is wrong with it, such as "must be text, got int".
"""

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .mistake import Mistake

Check = Callable[[Any], str | None]

# Types of numbers that weights are stored in; torch cannot compute with all of its others on the CPU.
TYPES = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


def check_entries(
    content: Mapping[Any, Any], path: str | Path, checks: Mapping[str, Check], optional: Collection[str] = ()
) -> None:
    """Check the entries of a checkpoint.

    Args:
        content: The checkpoint, as ``read_checkpoint`` returns it.
        path: Its file, for messages.
        checks: The check of each entry; other entries are not looked at.
        optional: Entries that may be absent.
    Raises:
        ValueError: For the first entry that is absent or wrong; names the file and the entry.
    """
    for name, check in checks.items():
        if name not in content:
            if name not in optional:
                raise Mistake(f"{path} has no entry {name!r}: it is damaged or not a checkpoint of this program.")
        elif problem := check(content[name]):
            raise Mistake(f"{path}: its entry {name!r} {problem}.")


def text(value: Any) -> str | None:
    """Check that a value is a string."""
    return None if isinstance(value, str) else f"must be text, got {describe(value)}"


def count(value: Any) -> str | None:
    """Check that a value is an integer of at least 0."""
    return None if _is_integer(value) and value >= 0 else f"must be an integer of at least 0, got {describe(value)}"


def number(value: Any) -> str | None:
    """Check that a value is a finite number."""
    is_number = _is_integer(value) or (isinstance(value, float) and math.isfinite(value))
    return None if is_number else f"must be a finite number, got {describe(value)}"


def identifiers(value: Any) -> str | None:
    """Check that a value is a list of different integers, such as pids or camids."""
    if not isinstance(value, list) or not all(map(_is_integer, value)):
        return f"must be a list of integers, got {describe(value)}"
    return None if len(set(value)) == len(value) else "holds an integer twice"


def words(value: Any) -> str | None:
    """Check that a value is a list of different strings."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return f"must be a list of texts, got {describe(value)}"
    return None if len(set(value)) == len(value) else "holds a text twice"


def mapping(value: Any) -> str | None:
    """Check that a value is a dictionary whose keys are strings."""
    if not isinstance(value, dict):
        return f"must be a dictionary, got {describe(value)}"
    return next((f"has the key {name!r:.50}, which is no text" for name in value if not isinstance(name, str)), None)


def tensors(value: Any) -> str | None:
    """Check that a value is a state dict: names, and dense tensors of finite numbers."""
    if problem := mapping(value):
        return problem
    for name, tensor in value.items():
        if problem := check_tensor(tensor):
            return f"holds {name}, which {problem}"
    return None


def state_dict_like(own: Mapping[str, Tensor]) -> Check:
    """Return the check that a value is a state dict that can take the place of another, entry by entry.

    It holds the same names. Each tensor has the same shape, holds floats where the other does, and is finite in the
    other's type. ``load_state_dict`` cannot fail after it.
    """

    def check(value: Any) -> str | None:
        if problem := mapping(value):
            return problem
        if differing := [name for name in (*own, *value) if name not in own or name not in value]:
            verb = "has no" if differing[0] in own else "holds"
            return f"belongs to another configuration: it {verb} {differing[0]} ({len(differing)} names differ)"
        for name, expected in own.items():
            if problem := dense(value[name]):
                return f"holds {name}, which {problem}"
            if not fits(value[name], expected):
                return f"holds {name}, which is {describe(value[name])} and must be {describe(expected)}"
            if not value[name].to(expected.dtype).isfinite().all():
                return f"holds {name}, which holds NaN or infinity"
        return None

    return check


def tensor(*shape: int | None, dtype: torch.dtype | None = None) -> Check:
    """Return the check that a value is a dense tensor of finite numbers in this shape and type.

    Args:
        shape: The lengths of its dimensions; None where any length is right.
        dtype: Its type; None allows any.
    """

    def check(value: Any) -> str | None:
        if problem := check_tensor(value):
            return problem
        lengths_fit = value.dim() == len(shape) and all(
            expected in (None, length) for expected, length in zip(shape, value.shape, strict=True)
        )
        if lengths_fit and dtype in (None, value.dtype):
            return None
        of_type = f"of {dtype} " if dtype else ""
        lengths = ", ".join("any" if length is None else str(length) for length in shape)
        return f"must be a tensor {of_type}in the shape ({lengths}), got {describe(value)}"

    return check


def check_tensor(value: Any) -> str | None:
    """Check that a value is a dense tensor of usual numbers, of which none is NaN or infinite."""
    if problem := dense(value):
        return problem
    return None if value.isfinite().all() else "holds NaN or infinity"


def fits(value: Tensor, own: Tensor) -> bool:
    """Whether a tensor of a file can take the place of a parameter or buffer."""
    return value.shape == own.shape and value.is_floating_point() == own.is_floating_point()


def dense(value: Any) -> str | None:
    """Check that a value is a tensor with all its numbers, one beside the other, in one of ``TYPES``."""
    if not isinstance(value, Tensor):
        return f"must be a tensor, got {describe(value)}"
    is_dense = value.layout is torch.strided and not (value.is_meta or value.is_quantized or value.is_nested)
    return None if is_dense and value.dtype in TYPES else f"must be a dense tensor of numbers, got {describe(value)}"


def describe(value: Any) -> str:
    """Describe a value for a message: a short one as it is, a tensor by its kind and shape, others by their type."""
    if isinstance(value, Tensor):
        if value.is_nested:
            return "a nested tensor"
        kind = "sparse " if value.layout is not torch.strided else "meta " if value.is_meta else ""
        return f"a {kind}tensor of {value.dtype} in the shape {tuple(value.shape)}"
    if value is None or isinstance(value, bool | int | float):
        return f"{value!r:.50}"
    return type(value).__name__


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
