"""Keep the frame names of millions of files: as Arrow arrays in memory, and as one mapped file for each large split.

Strings for 9.6 million frames would take gigabytes in every loader process. Arrow arrays are only read, so forked
processes share them, and each path becomes a string when it is asked for.

An index is rebuilt when it is damaged, and when the change time, modification time or size of a folder differs from
when it was listed. The change time also moves when a copy restores the modification time (rsync -a, tar).
"""

import contextlib
import functools
import hashlib
import logging
import mmap
import os
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from utils.files import write_whole
from utils.mistake import Mistake

from ..problems import BLOCKING, LOADING, Findings, Problems
from ..tracklet import Tracklet
from .listing import NUM_THREADS, TrackletFolder, list_images, list_many, list_split, list_subfolders

logger = logging.getLogger(__name__)

VERSION = "xtfclip frames 5"  # of the file's layout and of the rules of listing; bump it when these change
# A folder that changed less than this before it was listed may change again without a new time: file systems count
# time in steps of up to two seconds.
SETTLED_NS = 2_000_000_000
UNSETTLED = -1  # in place of the change time of a folder that may change unseen; no real time equals it
_BATCH = 1024  # tracklets in a part of the file
_CRC_BYTES = 4
_SCHEMA = pa.schema(
    {
        "place": pa.binary(),  # relative to the split; tracklets first, then whatever else the list depends on
        "stamp": pa.list_(pa.int64(), 3),
        "names": pa.list_(pa.binary()),  # null for what is no tracklet
        "values": pa.list_(pa.int64()),
    }
)

# Takes the names of a tracklet's images; returns them in order, and numbers that describe them.
Reader = Callable[[list[str]], tuple[Sequence[str], Sequence[int]]]


class FramePaths(Sequence[str]):
    """Paths of frames, made on demand; equal to a tuple, or another such sequence, of the same strings.

    ``names`` are bytes: of files in ``folder``, or whole paths. A pickle of those of a row of an index holds the
    ``source``, path and checksum of the index and the row, instead of the names: loader processes that are spawned, the
    default of some systems, would get gigabytes.
    """

    __slots__ = ("_folder", "_names", "_source")

    def __init__(self, names: pa.Array, folder: str = "", source: tuple[Path, bytes, int] | None = None) -> None:
        self._names = names
        self._folder = folder
        self._source = source

    @classmethod
    def pack(cls, paths: Iterable[str]) -> "FramePaths":
        """Copy strings into a new array."""
        return cls(pa.array([os.fsencode(path) for path in paths], pa.large_binary()))

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, item: int) -> str: ...
    @overload
    def __getitem__(self, item: slice) -> Sequence[str]: ...
    def __getitem__(self, item: int | slice) -> str | Sequence[str]:
        if isinstance(item, slice):
            return FramePaths(self._names[item], self._folder)
        return os.path.join(self._folder, os.fsdecode(self._names[item].as_py()))

    def __iter__(self) -> Iterator[str]:
        return (os.path.join(self._folder, os.fsdecode(name)) for name in self._names.to_pylist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FramePaths | tuple):
            return NotImplemented
        return len(self) == len(other) and all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        if self._source is None:
            return FramePaths.pack, (tuple(self),)
        return _reopen, (self._folder, *self._source)


def pack_tracklets(tracklets: Sequence[Tracklet]) -> tuple[Tracklet, ...]:
    """Return the same records, with all their paths in one array."""
    paths = FramePaths.pack(chain.from_iterable(tracklet.frame_paths for tracklet in tracklets))
    ends = np.cumsum([len(tracklet.frame_paths) for tracklet in tracklets]).tolist()
    return tuple(
        replace(tracklet, frame_paths=paths[end - len(tracklet.frame_paths) : end])
        for tracklet, end in zip(tracklets, ends, strict=True)
    )


class Row(NamedTuple):
    """A tracklet's folder, its frames in order, and the numbers that the reader found in their names."""

    folder: TrackletFolder
    paths: FramePaths
    values: list[int]


def list_tracklets(
    split: Path, title: str, read: Reader, reader: str, index_dir: str | Path = "", problems: Problems = LOADING
) -> list[Row]:
    """List the tracklets of a split, ``{identity}/{tracklet}/``, that have frames, sorted by pid, then name.

    They come from its index, which is built first if there is none, or if it is damaged or out of date, and kept if the
    folders have no faults. ``reader`` is the name and version of ``read``.
    """
    path = index_path(split, reader, index_dir)
    about = {b"version": VERSION.encode(), b"split": os.fsencode(os.path.abspath(split)), b"reader": reader.encode()}
    try:
        table, checksum = _map_table(path)
        if table.schema.metadata == about and _is_current(split, table):
            return _make_rows(split, table, (path, checksum))
        logger.info("%s has changed since it was indexed.", split)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        logger.warning("%s; it is rebuilt.", error)
    logger.info("%s: listing the frames; the list is kept in %s.", split, path)
    start = time.monotonic()
    table = _list_frames(split, title, read, problems).replace_schema_metadata(about)
    source = None
    if not problems.of_level(BLOCKING):
        try:
            write_whole(lambda file: _write_table(table, file), path)
            table, checksum = _map_table(path)
            source = path, checksum
        except Mistake as error:
            logger.warning("No index can be kept in %s (DATASETS.INDEX_DIR): %s", path.parent, error)
    logger.info("%s: listed in %.1f s.", split, time.monotonic() - start)
    return _make_rows(split, table, source)


def index_path(split: Path, reader: str, index_dir: str | Path = "") -> Path:
    """Return the path of a split's index: by default in ``xtfclip`` below $XDG_CACHE_HOME, or ~/.cache."""
    key = hashlib.sha256(os.fsencode(f"{os.path.abspath(split)}\0{reader}")).hexdigest()[:16]
    folder = index_dir or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xtfclip"
    return Path(folder) / f"{split.name}-{key}.arrow"


def _make_rows(split: Path, table: pa.Table, source: tuple[Path, bytes] | None = None) -> list[Row]:
    """Return the tracklets of a table; ``source`` is the path and checksum of its file."""
    names = table["names"]
    num_tracklets = len(table) - names.null_count
    values = pc.list_flatten(table["values"]).to_numpy().reshape(num_tracklets, -1).tolist()
    rows = []
    for number, place in enumerate(table["place"][:num_tracklets].to_pylist()):
        identity, name = os.fsdecode(place).split("/")
        folder = TrackletFolder(int(identity), name, os.path.join(split, identity, name))
        if paths := FramePaths(names[number].values, folder.path, (*source, number) if source else None):
            rows.append(Row(folder, paths, values[number]))
    return rows


def _is_current(split: Path, table: pa.Table) -> bool:
    """Return whether no folder has changed since it was listed."""
    stamps = pc.list_flatten(table["stamp"]).to_numpy().reshape(-1, 3)
    folders = [os.path.join(split, os.fsdecode(place)) for place in table["place"].to_pylist()]
    return np.array_equal(stamps, _stamp_folders(folders))


def _stamp_folders(paths: Sequence[str], settled_before: int | None = None) -> np.ndarray:
    """Return the change time and modification time (ns) and the size of each folder, (n, 3), int64.

    What cannot be examined has zeros; listing it raises the error. A time later than ``settled_before`` (ns) replaces
    the change time by ``UNSETTLED``.
    """
    stamps = np.zeros((len(paths), 3), dtype=np.int64)

    def stamp_part(first: int) -> None:
        for number in range(first, len(paths), NUM_THREADS):
            with contextlib.suppress(OSError):
                status = os.stat(paths[number])
                stamps[number] = status.st_ctime_ns, status.st_mtime_ns, status.st_size

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        list(pool.map(stamp_part, range(NUM_THREADS)))
    if settled_before is not None:
        stamps[stamps[:, :2].max(axis=1) > settled_before, 0] = UNSETTLED
    return stamps


def _list_frames(split: Path, title: str, read: Reader, problems: Problems) -> pa.Table:
    """List a split. Each folder is stamped before it is listed, so that a change in between differs from the stamp."""
    settled_before = time.time_ns() - SETTLED_NS
    batches = []

    def add(paths: Sequence[str], stamps: np.ndarray, names: Sequence[object], values: Sequence[object]) -> None:
        places = [os.fsencode(os.path.relpath(path, split)) for path in paths]
        columns = {"place": places, "stamp": stamps.tolist(), "names": names, "values": values}
        batches.append(pa.record_batch(columns, schema=_SCHEMA))

    above = [entry.path for entry in list_subfolders(split, Findings())] + [str(split)] if split.is_dir() else []
    stamps_above = _stamp_folders(above, settled_before)
    tracklets = list_split(split, title, problems)
    for first in range(0, len(tracklets), _BATCH):
        paths = [tracklet.path for tracklet in tracklets[first : first + _BATCH]]
        stamps = _stamp_folders(paths, settled_before)
        read_names = [read(names) for names in list_many(list_images, paths, problems)]
        encoded = [[os.fsencode(name) for name in names] for names, _ in read_names]
        add(paths, stamps, encoded, [values for _, values in read_names])
    add(above, stamps_above, [None] * len(above), [None] * len(above))
    return pa.Table.from_batches(batches)


def _write_table(table: pa.Table, file: BinaryIO) -> None:
    """Write an Arrow stream and, behind its end, the CRC-32 of all before; readers of Arrow ignore it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content = sink.getvalue()
    file.write(content)
    file.write(zlib.crc32(content).to_bytes(_CRC_BYTES, "little"))


def _map_table(path: Path, expected: bytes = b"") -> tuple[pa.Table, bytes]:
    """Map an index into memory, after comparing its content with its checksum, or this with an expected one."""
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
        raise ValueError(f"{path} is not a regular file")
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    checksum = mapped[-_CRC_BYTES:]
    if checksum != (expected or zlib.crc32(memoryview(mapped)[:-_CRC_BYTES]).to_bytes(_CRC_BYTES, "little")):
        raise ValueError(f"{path} is damaged or was rebuilt")
    table = pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()
    if not table.schema.equals(_SCHEMA):
        raise ValueError(f"{path} is not an index")
    return table, checksum


_map_once = functools.lru_cache(maxsize=32)(_map_table)


def _reopen(folder: str, path: Path, checksum: bytes, row: int) -> FramePaths:
    """Return the paths of a pickled row; its index is mapped once, even if many tracklets refer to it."""
    return FramePaths(_map_once(path, checksum)[0]["names"][row].values, folder, (path, checksum, row))
