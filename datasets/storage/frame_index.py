"""Keeps the frame names of a split that is laid out as ``{identity}/{tracklet}/{frame}`` in one mapped file.

Listing millions of files takes minutes, and their names as strings take gigabytes in every process. An index is a file
that holds all names, in order, and a few numbers for each tracklet that the data set's reader found in them. It is
mapped into memory, so processes share its pages, and only pages that are used take memory.

An index belongs to a folder and to the reader that made it. It is rebuilt when it is damaged, and when the change time,
modification time or size of a folder differs from when the folder was listed. The change time also moves when a copy
restores the modification time (rsync -a, tar). Links are followed, so a link to another folder counts as changed; links
to files that were ignored count too, as their target may become a folder. A frame whose content changes under
the same name does not change its folder and needs no new index: frames are read when they are used.

Index files are replaced atomically, so any number of processes may build the same index at once.
"""

import contextlib
import functools
import hashlib
import json
import logging
import mmap
import os
import stat
import struct
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .listing import NUM_THREADS, ROOT_SETTING, TrackletFolder, list_images, list_split, list_subfolders
from .packed_paths import PathSequence

logger = logging.getLogger(__name__)

# A folder that changed less than this before it was listed may change again without a new time: file systems count
# time in steps of up to two seconds.
SETTLED_NS = 2_000_000_000
UNSETTLED = -1  # replaces the change time of such a folder; no real time equals it

_MAGIC = b"XTFCIDX3"  # identifies the layout of the file and the rules of listing; bump the number when these change
_PROLOGUE = struct.Struct("<8sQQI")  # magic, offset and length of the header, its CRC-32
_CHUNK = 1 << 24  # bytes read at once for the checksum
_ALIGNMENT = 64
_BATCH = 1024  # tracklets that are listed before their names are written

# Takes a tracklet's folder and the names of its images; returns the names in order, and numbers that describe them.
Reader = Callable[[TrackletFolder, list[str]], tuple[Sequence[str], Sequence[int]]]


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


def open_index(split: Path, dataset: str, read: Reader, reader: str, index_dir: str | Path = "") -> FrameIndex:
    """Open the index of a split; build it first if there is none, or if it is damaged or out of date.

    Args:
        split: Folder that holds ``{identity}/{tracklet}/`` folders.
        dataset: Title of the data set, for messages.
        read: Puts a tracklet's names in order; its errors end the building.
        reader: Name and version of ``read``. Each has an index of its own.
        index_dir: Folder for indices (DATASETS.INDEX_DIR); '' for ``default_index_dir``.
    Raises:
        FileNotFoundError: If the split is missing.
        OSError: If a folder of it cannot be listed.
        ValueError: As ``list_split``, ``list_images`` and ``read``.
    """
    path = index_path(split, reader, index_dir)
    index = _open_undamaged(path, split, reader)
    if index is not None and index.is_current():
        return index
    if index is not None:
        logger.info("%s has changed since it was indexed.", split)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _build(path, split, dataset, read, reader)
        return FrameIndex(path, split, verify=False)
    except OSError as error:
        place = Path(error.filename or "")
        is_of_the_index = path.parent in (place, place.parent)
        if not split.is_dir():
            raise
        if place.is_relative_to(split) and not is_of_the_index:
            message = f"{error.strerror}: a folder of {dataset} cannot be listed ({ROOT_SETTING})"
            raise OSError(error.errno, message, error.filename) from error
        logger.warning("No index can be kept in %s (DATASETS.INDEX_DIR): %s", path.parent, error)
    folder = tempfile.TemporaryDirectory(prefix="xtfclip-")
    path = Path(folder.name) / path.name
    _build(path, split, dataset, read, reader)
    index = FrameIndex(path, split, verify=False)
    index.keep_alive = folder
    return index


def index_path(split: Path, reader: str, index_dir: str | Path = "") -> Path:
    """Return the path of a split's index file."""
    key = hashlib.sha256(os.fsencode(f"{os.path.abspath(split)}\0{reader}")).hexdigest()[:16]
    return Path(index_dir or default_index_dir()) / f"{split.name}-{key}.index"


def default_index_dir() -> Path:
    """Return the folder ``xtfclip`` in the user's cache folder: $XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xtfclip"


def stamp_folders(paths: Sequence[str], settled_before: int | None = None) -> np.ndarray:
    """Return the change time and modification time (ns) and the size of each folder, (n, 3), int64.

    Links are followed. A folder that is missing, or cannot be examined, has zeros; listing it raises the error.

    Args:
        paths: Folders, or links to anything.
        settled_before: A change time or modification time (ns) later than this replaces the change time by
            ``UNSETTLED``; None keeps all times.
    """
    result = np.zeros((len(paths), 3), dtype=np.int64)

    def stamp_range(start: int, stop: int) -> None:
        for number in range(start, stop):
            with contextlib.suppress(OSError):
                status = os.stat(paths[number])
                result[number] = status.st_ctime_ns, status.st_mtime_ns, status.st_size

    bounds = np.linspace(0, len(paths), NUM_THREADS + 1).astype(int).tolist()
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        list(pool.map(stamp_range, bounds[:-1], bounds[1:]))
    if settled_before is not None:
        result[result[:, :2].max(axis=1) > settled_before, 0] = UNSETTLED
    return result


def _open_undamaged(path: Path, split: Path, reader: str) -> FrameIndex | None:
    """Open an index, perhaps one that is out of date; return None if it is missing, damaged or of another reader."""
    try:
        index = FrameIndex(path, split)
    except FileNotFoundError:
        return None
    except (OSError, DamagedIndexError) as error:
        logger.warning("%s; it is rebuilt.", error)
        return None
    return index if index.reader == reader else None


def _build(path: Path, split: Path, dataset: str, read: Reader, reader: str) -> None:
    """List a split and write its index; the file appears when it is complete, or not at all."""
    start = time.time_ns()
    settled_before = start - SETTLED_NS
    # Each folder is stamped before it is listed, so that a change during the listing differs from the stamp.
    parents = [*(entry.name for entry in list_subfolders(split)), "."] if split.is_dir() else []
    parent_stamps = stamp_folders([os.path.join(split, parent) for parent in parents], settled_before)
    listing = list_split(split, dataset)
    tracklets = listing.tracklets
    logger.info("%s: listing the frames of %d tracklets; the list is kept in %s.", split, len(tracklets), path)
    links = [entry.path for entry in listing.ignored_files if entry.is_symlink()]
    stamps = stamp_folders([*(tracklet.path for tracklet in tracklets), *links], settled_before)
    # Not by tempfile, whose files only their owner may read: an index may serve several people.
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file, ThreadPoolExecutor(NUM_THREADS) as pool:
            writer = IndexWriter(file, split, reader)
            for first in range(0, len(tracklets), _BATCH):  # in batches, to bound the names that wait for the writer
                batch = tracklets[first : first + _BATCH]
                for tracklet, names in zip(batch, pool.map(list_images, [each.path for each in batch]), strict=True):
                    writer.add(os.path.relpath(tracklet.path, split), *read(tracklet, names))
            others = [*(os.path.relpath(link, split) for link in links), *parents]
            writer.finish(others, np.concatenate([stamps, parent_stamps]))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    logger.info("%s: %d tracklets indexed in %.1f s.", split, len(tracklets), (time.time_ns() - start) / 1e9)


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
