"""Read and write weight files: reading runs no code and notices a changed bit; writing never leaves half a file."""

import hashlib
import json
import logging
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from .commands import first_line
from .files import write_whole
from .mistake import MissingFile, Mistake
from .processes import read_launch

logger = logging.getLogger(__name__)

# Errors that torch, pickle, zipfile and safetensors raise for damaged files; pickle documents no shorter list.
UNREADABLE = (
    *(RuntimeError, OSError, EOFError, LookupError, AttributeError, ImportError, ValueError, TypeError),
    *(pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error, SafetensorError),
)
# Marks the .safetensors files of ``write_weights``: every other entry of their metadata is JSON.
WRITER = {"written_by": "xtfclip"}
CHECKSUM = "xtfclip_crc32"  # the entry of ``_checksum``
# Marks a folder in a zip archive. torch.load leaves the memory of a tensor as it finds it if its part is marked so.
FOLDER = 0x10
MAX_CAUSE = 300  # characters of an error's cause in a message
CHUNK = 2**20  # bytes of a file that are read at a time


def read_checkpoint(path: str | Path, allow_torchscript: bool = False) -> dict[str, Any]:
    """Read tensors and plain values from a .safetensors file or a torch file, on the CPU.

    A file of ``write_weights`` is returned as a checkpoint of torch would be: the weights are its "model". Checksums
    are compared where there are any. ``allow_torchscript`` also reads the weights in a TorchScript archive, as OpenAI
    publishes CLIP, but none that would run code when loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"Weight file not found: {path}. Change the option or the key that names it.")
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _compare_checksums(archive)
                # torch.save never writes constants.pkl.
                if allow_torchscript and any(name.endswith("/constants.pkl") for name in archive.namelist()):
                    return _read_torchscript(path, archive)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        # Of torch's and the system's errors, the place in the source, the number and advice to run code go.
        cause = re.sub(r"^\[(enforce fail at [^]]*\] \.|Errno \d+\]) ", "", first_line(error))
        cause = re.sub(r"[.,;]? (\(1\) )?(Re-running|In PyTorch|This file can still be loaded).*", "", cause)
        raise Mistake(
            f"{path} was refused: it is damaged, or holds more than tensors and plain values, which could run code "
            f"when loaded ({cause})."
        ) from error
    if not isinstance(content, dict):
        raise Mistake(f"{path} must hold a dictionary of weights, got {type(content).__name__}.")
    return content


@contextmanager
def fitting(path: str | Path) -> Iterator[None]:
    """Use the content of a file in a block: whatever it lacks, or holds otherwise, becomes one line for the user."""
    try:
        yield
    except (Mistake, OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except (*UNREADABLE, AssertionError, ArithmeticError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        # load_state_dict's first line only names the module.
        cause = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
        cause = f"it has no entry {cause}" if isinstance(error, KeyError) else cause
        raise Mistake(f"{path} does not fit this run: {cause[:MAX_CAUSE]}") from error


def log_identity(path: str | Path, digest: str = "") -> None:
    """Log size and SHA-256 (``digest``, if known) of a weight file, in process 0."""
    if read_launch().is_main:
        path = Path(path)
        logger.info("%s has %s bytes, SHA-256 %s", path, f"{path.stat().st_size:,}", digest or hash_file(path))


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_checkpoint(content: dict[str, Any], path: str | Path, previous: str | Path | None = None) -> None:
    """Write a checkpoint whole or not at all, as ``write_whole``."""
    write_whole(partial(_save, content), path, previous)


def write_weights(weights: Mapping[str, torch.Tensor], values: Mapping[str, Any], path: str | Path) -> None:
    """Write weights, which share no memory, as .safetensors, whole or not at all, with JSON values in the metadata."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    metadata = {**WRITER, **{name: json.dumps(value) for name, value in values.items()}}
    metadata[CHECKSUM] = _checksum(tensors, metadata)
    # Not save_file, which writes a temporary file of its own and leaves that behind when it is killed.
    write_whole(lambda file: file.write(save(tensors, metadata)), path)


def _save(content: dict[str, Any], file: BinaryIO) -> None:
    """Call ``torch.save``; where the file failed, raise the file's error and not torch's, which hides it."""
    try:
        torch.save(content, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Read a .safetensors file; one of ``write_weights`` with the values in its metadata."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    weights = load_file(path)
    expected = metadata.pop(CHECKSUM, None)
    if expected not in (None, _checksum(weights, metadata)):
        raise ValueError("the checksum differs")
    if not WRITER.items() <= metadata.items():
        return weights
    values = {name: json.loads(text) for name, text in metadata.items() if name not in WRITER}
    return {**values, "model": weights}


def _checksum(weights: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """Return the CRC-32 of all that a .safetensors file holds; the tensors are contiguous and on the CPU."""
    crc = zlib.crc32(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(weights):
        tensor = weights[name]
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def _compare_checksums(archive: zipfile.ZipFile) -> None:
    """Compare an archive's content with its CRC-32 sums, which torch.load does not do."""
    members = archive.infolist()
    if marked := [member.filename for member in members if member.external_attr & FOLDER]:
        raise zipfile.BadZipFile(f"{marked[0]} is marked as a folder")
    # Without any sums, torch.serialization.set_crc32_options(False) left them out.
    if any(member.CRC for member in members) and (damaged := archive.testzip()):
        raise zipfile.BadZipFile(f"the checksum of {damaged} differs")


def _read_torchscript(path: Path, archive: zipfile.ZipFile) -> dict[str, torch.Tensor]:
    """Read a TorchScript archive; loading would run its __setstate__ methods only, so archives with one are refused."""
    for name in archive.namelist():
        if "/code/" in name and b"__setstate__" in archive.read(name):
            raise pickle.UnpicklingError(f"{name} defines __setstate__")
    return dict(torch.jit.load(str(path), map_location="cpu").state_dict())
