"""Read and write feature files: descriptors of tracklets with their keys, as .npz or .parquet; reading runs no code."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from utils.commands import first_line
from utils.files import write_whole
from utils.mistake import MissingFile, Mistake
from utils.text import shorten
from utils.unknown import UNKNOWN

VIEWS = ("aerial", "ground")
COLUMNS = {  # of a table beside its vectors
    "key": pa.string(),  # a unique name, such as the folder's path below the one that was read
    "camera": pa.string(),  # as annotated; "-1" or null where unknown
    "view": pa.string(),  # null where unknown, as time
    "time": pa.timestamp("s"),  # when the tracklet begins, by the clock of the recording
    "picture": pa.string(),  # path of the frame in the middle, for people to look at
}
FEATURE, WORDS = "feature", "words"
ENTRIES = {column: f"{column}s" for column in (*COLUMNS, FEATURE)} | {WORDS: WORDS}  # of a .npz file
ORIGIN = "origin"  # entry of a .npz file, or of a schema's metadata
# Entries of the origin that two files must share for their features to be comparable.
COMPARED = ("weights", "transform")
UNREAD = "unread"  # the entry that says which tracklets and frames could not be read; missing if all could
TEXT_TOWER = "text tower"  # the entry in which they must agree, too, where words are compared
NPZ, PARQUET = ".npz", ".parquet"
LENGTH_TOLERANCE = 0.01  # of vectors of length 1, which may have been normalised in half precision
ROW_GROUP = 4096  # rows that a reader of Parquet takes at a time: 32 MiB of descriptors


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Descriptors of n tracklets: ``COLUMNS``, 'feature' and, with a text tower, 'words'; origin in the metadata."""

    rows: pa.Table

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def keys(self) -> list[str]:
        """Unique names of the tracklets."""
        return self.rows["key"].to_pylist()

    @cached_property
    def features(self) -> np.ndarray:
        """Descriptors, (n, D), float32; of length 1 unless the model leaves them as they are (TEST.FEAT_NORM False)."""
        return _to_array(self.rows[FEATURE])

    @property
    def words(self) -> np.ndarray | None:
        """The frozen image tower's vectors, which texts are compared with, (n, P), float32, unit length."""
        return _to_array(self.rows[WORDS]) if WORDS in self.rows.column_names else None

    @property
    def origin(self) -> dict[str, str]:
        """What the rows depend on: 'weights' (SHA-256 of the model's), 'transform' (size, clips, mirror images) etc."""
        return dict(json.loads(self.rows.schema.metadata[ORIGIN.encode()]))

    def select(self, keys: Sequence[str], source: str) -> "FeatureTable":
        """Return the rows of some keys, in this order; an error begins with ``source``."""
        rows = {key: row for row, key in enumerate(self.keys)}
        if strange := [key for key in keys if key not in rows]:
            example = f"; its first is {shorten(next(iter(rows)))}" if rows else ""
            raise Mistake(f"{source} has no tracklet {shorten(strange[0])}{example}.")
        return FeatureTable(self.rows.take([rows[key] for key in keys]))

    def list_entries(self, rows: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Return what results say about some or all tracklets: ``COLUMNS``, '' where view or time is unknown.

        A camera is a number, -1 if unknown, or a word.
        """
        columns = self.rows.select(list(COLUMNS))
        entries = (columns if rows is None else columns.take(rows)).to_pylist()
        for entry in entries:
            word = entry["camera"] or str(UNKNOWN)
            entry["camera"] = int(word) if re.fullmatch("-?[0-9]{1,18}", word) and str(int(word)) == word else word
            entry |= {"view": entry["view"] or "", "time": entry["time"].isoformat() if entry["time"] else ""}
        return entries


def make_table(origin: Mapping[str, str], **columns: Any) -> FeatureTable:
    """Make a table of lists and arrays by the names of its columns; camera, view and time may be left out."""
    count = len(columns["key"])
    columns = {"camera": [UNKNOWN] * count, "view": [""] * count, "time": [None] * count, **columns}
    columns["view"] = [view or None for view in columns["view"]]
    columns["camera"] = pa.array(columns["camera"]).cast(pa.string()).to_pylist()
    arrays = {name: pa.array(columns[name], kind) for name, kind in COLUMNS.items()}
    arrays |= {name: _to_lists(columns[name]) for name in (FEATURE, WORDS) if columns.get(name) is not None}
    return FeatureTable(pa.table(arrays, metadata={ORIGIN: json.dumps(dict(origin))}))


def _to_lists(vectors: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def _to_array(column: pa.ChunkedArray) -> np.ndarray:
    chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
    return np.concatenate([*chunks, np.empty(0, np.float32)]).reshape(-1, column.type.list_size)


def require_comparable(
    first: FeatureTable, name: str, second: FeatureTable, second_name: str, joined: bool = False
) -> None:
    """Refuse descriptors, or vectors for texts, that different models or settings made; names are for messages."""
    with_words = first.words is not None and second.words is not None
    for entry in (*COMPARED, TEXT_TOWER) if with_words else COMPARED:
        expected, found = first.origin.get(entry), second.origin.get(entry)
        if expected != found:
            raise Mistake(
                f"{second_name} cannot be compared with {name}: its {entry} is {shorten(str(found))}, the other's "
                f"{shorten(str(expected))}. Extract both with the same checkpoint and settings."
            )
    if joined and (first.words is None) != (second.words is None):
        raise Mistake(f"Only one of {name} and {second_name} has vectors to compare with texts: search them apart.")


def check_suffix(path: Path) -> None:
    """Refuse a name that ends neither in .npz nor in .parquet."""
    if path.suffix not in (NPZ, PARQUET):
        raise Mistake(f"{path}: a feature file must end in {NPZ} or {PARQUET}, got {path.suffix!r}.")


def check_replaced(path: Path) -> None:
    """Refuse to replace a file that is there and, as far as its entries say, no feature file."""
    try:
        if path.suffix == PARQUET:
            with pq.ParquetFile(path) as file:
                is_ours = ORIGIN.encode() in (file.schema_arrow.metadata or {})
        else:
            with np.load(path, allow_pickle=False) as content:
                is_ours = ORIGIN in content
    except Exception:  # as in ``read_features``
        is_ours = not path.stat().st_size  # an empty file holds nothing
    if not is_ours:
        raise Mistake(f"{path} is no feature file that could be replaced: delete it yourself, or name another file.")


def write_features(table: FeatureTable, path: Path) -> None:
    """Write a .npz or .parquet file (see ``check_suffix``), whole or not at all."""

    def write(file: BinaryIO) -> None:
        if path.suffix == PARQUET:
            pq.write_table(table.rows, file, row_group_size=ROW_GROUP, write_page_checksum=True)
        else:
            np.savez(file, **as_arrays(table))  # type: ignore[arg-type]

    write_whole(write, path)


def read_features(path: Path) -> FeatureTable:
    """Read a feature file; a damaged one, or one of another program, is refused."""
    check_suffix(path)
    if not path.is_file():
        raise MissingFile(f"{path} is not a file: tools.extract_features makes one.")
    try:
        table = (_read_parquet if path.suffix == PARQUET else _read_npz)(path)
        _check(table)
    except Exception as error:  # NumPy, zipfile, json and pyarrow raise a dozen types of errors for damaged files
        reason = first_line(error)[:200]
        raise Mistake(f"{path} is damaged, or was not written by tools.extract_features: {reason}") from error
    return table


def read_feature_files(paths: Sequence[Path]) -> FeatureTable:
    """Read several files as one table; their rows must be comparable and their keys unique."""
    table = read_features(paths[0])
    for path in paths[1:]:
        other = read_features(path)
        require_comparable(table, str(paths[0]), other, str(path), joined=True)
        if double := set(table.keys).intersection(other.keys):
            cure = "rename a folder (tools.cut_tracklets --name), and describe it again"
            raise Mistake(f"{path}: the key {shorten(min(double))} is in another file of the search, too: {cure}.")
        unread = "; ".join(each.origin[UNREAD] for each in (table, other) if UNREAD in each.origin)
        origin = json.dumps(table.origin | ({UNREAD: unread} if unread else {}))
        table = FeatureTable(pa.concat_tables([table.rows, other.rows]).replace_schema_metadata({ORIGIN: origin}))
    return table


def as_arrays(table: FeatureTable) -> dict[str, np.ndarray]:
    """Return the entries of a .npz file."""
    entries = table.list_entries()
    names = ("key", "camera", "view", "picture")
    arrays = {ENTRIES[name]: np.array([entry[name] for entry in entries]) for name in names}
    arrays |= {"times": table.rows["time"].to_numpy()}
    arrays |= {"features": table.features, ORIGIN: np.array(json.dumps(table.origin))}
    return arrays if table.words is None else {**arrays, WORDS: table.words}


def _read_npz(path: Path) -> FeatureTable:
    with np.load(path, allow_pickle=False) as content:
        columns = {column: content[entry] for column, entry in ENTRIES.items() if entry in content}
        return make_table(json.loads(str(content[ORIGIN])), **columns)


def _read_parquet(path: Path) -> FeatureTable:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        rows = file.read()
    columns = {
        name: rows[name].cast(kind) if name in rows.column_names else pa.nulls(len(rows), kind)
        for name, kind in COLUMNS.items()  # Parquet has milliseconds in place of seconds
    }
    columns |= {name: _to_lists(_to_array(rows[name])) for name in (FEATURE, WORDS) if name in rows.column_names}
    return FeatureTable(pa.table(columns, metadata=rows.schema.metadata))


def has_unit_length(rows: np.ndarray) -> bool:
    """Whether all vectors, (n, D), have length 1."""
    return bool((np.abs(np.linalg.norm(rows, axis=1) - 1) <= LENGTH_TOLERANCE).all())


def _check(table: FeatureTable) -> None:
    """Refuse keys that are missing or repeat, odd times and origins, and vectors that cannot be compared."""
    pc.min_max(table.rows["time"]).as_py()
    if None in table.keys or not table.origin:
        raise Mistake("it lacks a key or its origin")
    if repeated := [key for key, count in Counter(table.keys).items() if count > 1]:
        raise Mistake(f"it holds the key {repeated[0]!r} twice")
    for vectors in (table.features, table.words):
        if vectors is None:
            continue
        if vectors.dtype != np.float32 or not vectors.shape[1]:
            raise Mistake("vectors must be (n, D), float32, and D at least 1")
        if not (finite := np.isfinite(vectors).all(axis=1)).all():
            raise Mistake(f"it holds NaN or infinity for {table.keys[int(finite.argmin())]!r}")
