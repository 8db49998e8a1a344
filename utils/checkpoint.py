"""Read and write weight files safely: reading never runs code from the file, writing never leaves half a file."""

import os
import pickle
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .runtime import first_line

# Errors that torch, pickle, zipfile and safetensors raise for damaged files; pickle documents no shorter list.
UNREADABLE = (
    RuntimeError,
    EOFError,
    LookupError,
    AttributeError,
    ImportError,
    ValueError,
    TypeError,
    struct.error,
    SafetensorError,
)


def read_checkpoint(path: str | Path, allow_torchscript: bool = False) -> dict[str, Any]:
    """Read tensors and plain values from a .safetensors file or a torch file, on the CPU.

    Args:
        path: The file.
        allow_torchscript: Read the weights in a TorchScript archive, too (OpenAI publishes CLIP in this form).
            Archives that would run code when loaded are refused.
    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file has another format, is damaged, or holds a pickle with more than tensors and plain
            values (such a pickle is refused, not run).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Weight file not found: {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if allow_torchscript and _is_torchscript(path):
            return _read_torchscript(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: its pickle holds more than tensors and plain values, which could run code when "
            f"loaded, or it is damaged ({first_line(error)})."
        ) from error
    except UNREADABLE as error:
        raise ValueError(f"{path} is not a readable weight file: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary of weights, got {type(content).__name__}.")
    return content


def write_checkpoint(content: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint whole or not at all: an interruption or a full disk leaves the previous file as it was.

    Raises:
        OSError: If the folder is not writable or the disk is full; the message names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        torch.save(content, temporary)
        os.chmod(temporary, 0o644)  # mkstemp's 0o600 would lock colleagues out
        os.replace(temporary, path)
    except RuntimeError as error:  # torch reports a full disk as a RuntimeError of its zip writer
        raise OSError(f"Could not write {path}: {error}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """Read a TorchScript archive; loading would run its __setstate__ methods only, so archives with one are refused."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if "/code/" in name and b"__setstate__" in archive.read(name):
                raise pickle.UnpicklingError(f"{name} defines __setstate__")
    return dict(torch.jit.load(str(path), map_location="cpu").state_dict())


def _is_torchscript(path: Path) -> bool:
    """Recognise a TorchScript archive by its constants.pkl, which torch.save never writes."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
