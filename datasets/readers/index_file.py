"""The file of a frame index: all frame names of a split, in order, and a few numbers for each tracklet.

It is mapped into memory, so processes share its pages, and only pages that are used take memory.
"""

import functools
import json
import mmap
import os
import stat
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .folder_stamps import stamp_folders
from .listing import TrackletFolder
from .packed_paths import PathSequence

_MAGIC = b"XTFCIDX3"  # identifies the layout of the file and the rules of listing; bump the number when these change
_PROLOGUE = struct.Struct("<8sQQI")  # magic, offset and length of the header, its CRC-32
_CHUNK = 1 << 24  # bytes read at once for the checksum
_ALIGNMENT = 64


class DamagedIndexError(ValueError):
    """A file is not an index of this version, or its content does not match its checksums."""


class FramePaths(PathSequence):
    """Paths of a tracklet's frames. A pickle holds the path of the index, not its content."""

    __slots__ = ("_index", "_row")

    def __init__(self, index: "FrameIndex", row: int) -> None:
        self._index = index
        self._row = row

    def __len__(self) -> int:
        return self._index.num_frames(self._row)

    def path(self, number: int) -> str:
        return os.path.join(self._index.folder_path(self._row), self._index.frame_name(self._row, number))

    def __reduce__(self) -> tuple[Any, ...]:
        return FramePaths, (self._index, self._row)


class FrameIndex:
    """The frame names of one split, in an index file that is open; ``open_index`` returns one.

    Attributes:
        path: The index file.
        split: The folder that it indexes, as given.
        folders: Tracklet folders, relative to the split, in order.
        values: Numbers that the reader returned for each tracklet, (number of tracklets, numbers each), int64.
        reader: Name and version of the reader.
        checksum: CRC-32 of the content.
        keep_alive: An object that must live as long as the index; None for none.

    Args:
        path: The index file.
        split: The folder that it indexes; paths of frames begin with it as it is spelt here.
        verify: Whether to compare the content with its checksum. This reads the whole file, but keeps none of it in
            memory.
    Raises:
        FileNotFoundError: If there is no such file.
        DamagedIndexError: If it is no regular file, is damaged, or is an index of another folder.
    """

    def __init__(self, path: str | Path, split: str | Path, verify: bool = True) -> None:
        self.path = str(path)
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its writer
            raise DamagedIndexError(f"{self.path} is not a regular file")
        with open(self.path, "rb") as file:
            header = _read_header(file, self.path)
            if header["split"] != os.path.abspath(split):
                raise DamagedIndexError(f"{self.path} is an index of another folder, {header['split']}")
            if verify:
                _verify(file, header, self.path)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = {
            name: np.frombuffer(mapped, dtype, int(np.prod(shape)), offset).reshape(shape)
            for name, (dtype, shape, offset) in header["arrays"].items()
        }
        self.split = str(split)
        self.keep_alive: object = None
        self.reader: str = header["reader"]
        self.checksum: int = header["checksum"]
        places = arrays["folders"].tobytes().decode("utf-8", "surrogateescape").split("\0")
        self._stamps = arrays["stamps"]
        self._stamped = places  # tracklets, then links to ignored files and identities, then the split itself
        self.folders = places[: len(arrays["values"])]
        self.values = arrays["values"]
        self._first_frames = arrays["first_frames"]
        self._first_bytes = arrays["first_bytes"]
        self._ends = arrays["ends"]
        self._names = arrays["names"]

    def __len__(self) -> int:
        """Return the number of tracklets."""
        return len(self.folders)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle_index, (self.path, self.split, self.checksum)

    def num_frames(self, row: int) -> int:
        """Return the number of frames of a tracklet."""
        return int(self._first_frames[row + 1] - self._first_frames[row])

    def folder_path(self, row: int) -> str:
        """Return the path of a tracklet's folder."""
        return os.path.join(self.split, self.folders[row])

    def frame_name(self, row: int, number: int) -> str:
        """Return the file name of a tracklet's frame; the first has number 0."""
        frame, base = int(self._first_frames[row]) + number, int(self._first_bytes[row])
        start = int(self._ends[frame - 1]) if number else 0
        return os.fsdecode(self._names[base + start : base + int(self._ends[frame])].tobytes())

    def tracklets(self) -> list[TrackletFolder]:
        """Return all tracklets, sorted by pid, then name."""
        parts = (folder.split("/") for folder in self.folders)
        return [TrackletFolder(int(pid), name, self.folder_path(row)) for row, (pid, name) in enumerate(parts)]

    def is_current(self) -> bool:
        """Return whether no folder, and no link to an ignored file, has changed since it was listed."""
        paths = [os.path.join(self.split, place) for place in self._stamped]
        return np.array_equal(stamp_folders(paths), self._stamps)


class IndexWriter:
    """Writes an index, tracklet by tracklet.

    Args:
        file: Empty file, open for writing and seeking.
        split: The folder that is indexed.
        reader: Name and version of the reader.
    """

    def __init__(self, file: BinaryIO, split: str | Path, reader: str) -> None:
        self._file = file
        self._header = {"split": os.path.abspath(split), "reader": reader}
        self._arrays: dict[str, tuple[str, list[int], int]] = {}  # dtype, shape and offset by name
        self._folders: list[str] = []
        self._values: list[Sequence[int]] = []
        self._ends: list[np.ndarray] = []
        self._sizes: list[int] = []
        self._checksum = 0
        self._position = 0
        self._write(bytes(_PROLOGUE.size))
        self._checksum = 0  # covers everything between the prologue and the header
        self._names_offset = self._position

    def add(self, folder: str, names: Sequence[str], values: Sequence[int]) -> None:
        """Add a tracklet.

        Args:
            folder: Its folder, relative to the split.
            names: File names of its frames, in order.
            values: Numbers that the reader returned.
        """
        encoded = [os.fsencode(name) for name in names]
        self._folders.append(folder)
        self._values.append(values)
        self._ends.append(np.cumsum([len(name) for name in encoded], dtype=np.uint32))
        self._sizes.append(self._write(b"".join(encoded)))

    def finish(self, parents: Sequence[str], stamps: np.ndarray) -> None:
        """Complete the file.

        Args:
            parents: What else the list of tracklets depends on, relative to the split: links to ignored files, identity
                folders, and the split itself.
            stamps: ``stamp_folders`` of all tracklets' folders, then of ``parents``, (n, 3), int64.
        """
        self._arrays["names"] = ("|u1", [sum(self._sizes)], self._names_offset)
        lengths = [len(ends) for ends in self._ends]
        self._add_array("ends", np.concatenate([*self._ends, np.zeros(0, np.uint32)]), "<u4")
        self._add_array("first_frames", np.cumsum([0, *lengths]), "<i8")
        self._add_array("first_bytes", np.cumsum([0, *self._sizes]), "<i8")
        self._add_array("values", np.array(self._values).reshape(len(self._values), -1), "<i8")
        self._add_array("stamps", stamps, "<i8")
        text = "\0".join([*self._folders, *parents]).encode("utf-8", "surrogateescape")
        self._add_array("folders", np.frombuffer(text, np.uint8), "|u1")
        header = {**self._header, "arrays": self._arrays, "checksum": self._checksum, "end": self._position}
        content = json.dumps(header).encode()
        self._file.write(content)
        self._file.seek(0)
        self._file.write(_PROLOGUE.pack(_MAGIC, self._position, len(content), zlib.crc32(content)))

    def _add_array(self, name: str, array: np.ndarray, dtype: str) -> None:
        self._write(bytes(-self._position % _ALIGNMENT))
        self._arrays[name] = (dtype, list(array.shape), self._position)
        self._write(np.ascontiguousarray(array, dtype).tobytes())

    def _write(self, content: bytes) -> int:
        self._file.write(content)
        self._checksum = zlib.crc32(content, self._checksum)
        self._position += len(content)
        return len(content)


@functools.lru_cache(maxsize=32)
def _unpickle_index(path: str, split: str, checksum: int) -> FrameIndex:
    """Open a pickled index in a worker process: once, even if many tracklets refer to it."""
    index = FrameIndex(path, split, verify=False)
    if index.checksum != checksum:
        raise DamagedIndexError(f"{path} was rebuilt after this process's work was prepared: start again.")
    return index


def _read_header(file: BinaryIO, path: str) -> dict[str, Any]:
    """Read and check the description of the content: folder, reader, arrays, checksum."""
    prologue = file.read(_PROLOGUE.size)
    size = os.fstat(file.fileno()).st_size
    if len(prologue) < _PROLOGUE.size:
        raise DamagedIndexError(f"{path} is cut off")
    magic, offset, length, checksum = _PROLOGUE.unpack(prologue)
    if magic != _MAGIC or offset + length != size:
        raise DamagedIndexError(f"{path} is not an index of this version, or is cut off")
    file.seek(offset)
    content = file.read(length)
    if zlib.crc32(content) != checksum:
        raise DamagedIndexError(f"{path} is damaged")
    return json.loads(content)


def _verify(file: BinaryIO, header: dict[str, Any], path: str) -> None:
    """Compare the content with its checksum."""
    file.seek(_PROLOGUE.size)
    checksum, left = 0, header["end"] - _PROLOGUE.size
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        checksum = zlib.crc32(chunk, checksum)
        left -= len(chunk)
    if left or checksum != header["checksum"]:
        raise DamagedIndexError(f"{path} is damaged")
