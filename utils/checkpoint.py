"""Reading and writing weight files safely: nothing read here can run code, nothing written here is half a file."""

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

# What readers answer to damaged files; the pickle module promises no shorter list.
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


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read tensors and plain values from a .safetensors file, a torch file or a TorchScript archive, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, is damaged, or holds a pickle that asks for anything but tensors and plain
            values (it is refused, not run).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Weight file not found: {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if _is_torchscript(path):
            return dict(torch.jit.load(str(path), map_location="cpu").state_dict())
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: its pickle holds more than tensors and plain values, which could run code when "
            f"loaded, or it is damaged ({_first_line(error)})."
        ) from error
    except UNREADABLE as error:
        raise ValueError(f"{path} is not a readable weight file: {_first_line(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary of weights, got {type(content).__name__}.")
    return content


def write_checkpoint(content: dict[str, Any], path: str | Path) -> None:
    """Write ``content`` whole or not at all: an interruption or a full disk leaves the previous file as it was.

    Raises:
        OSError: If the folder cannot be written to or the disk is full; names the file.
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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _is_torchscript(path: Path) -> bool:
    """TorchScript archives are zip files with a constants.pkl, which torch.save never writes."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
