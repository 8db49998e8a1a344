"""Read and write feature files: descriptors of tracklets with their keys, as .npz or .parquet.

tools.extract_features writes them, and a search compares them. Reading one runs no code. This imports no torch.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from utils.commands import first_line
from utils.files import write_whole
from utils.mistake import MissingFile, Mistake
from utils.text import shorten

ORIGIN = "origin"  # entry of a file with the origin as JSON
# Entries of the origin that two files must share for their features to be comparable.
COMPARED = ("weights", "transform")
TEXT_TOWER = "text tower"  # the entry in which they must agree, too, where words are compared
NPZ, PARQUET = ".npz", ".parquet"
LENGTH_TOLERANCE = 0.01  # of vectors of length 1, which may have been normalised in half precision
ROW_GROUP = 4096  # rows that a reader of Parquet takes at a time: 32 MiB of descriptors
TIME_TYPE = "datetime64[s]"


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Descriptors of tracklets, row by row; n tracklets."""

    keys: list[str]  # unique names, such as the folders' paths below the one that was described
    features: np.ndarray  # (n, D), float32; of length 1 unless the model leaves them as they are (TEST.FEAT_NORM False)
    cameras: np.ndarray  # cameras as annotated, (n,), int64; -1 where unknown
    views: list[str]  # 'aerial', 'ground', or '' where unknown
    times: np.ndarray  # when the tracklets begin, by the clock of the recording, (n,), datetime64[s]; NaT where unknown
    pictures: list[str]  # path of the frame in the middle of each tracklet, for people to look at
    # (n, P), float32, unit length: the frozen image tower's vectors, which texts are compared with; None without a
    # text tower
    words: np.ndarray | None = None
    # what the rows depend on: 'weights' (SHA-256 of the model's), 'transform' (size, clips, mirror images), 'text
    # tower' (SHA-256; only with ``words``), and the like. Rows of another origin cannot be compared.
    origin: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def find_rows(self, keys: Sequence[str], source: str) -> np.ndarray:
        """Return the rows of some keys, (len(keys),); an error begins with ``source``."""
        rows = {key: row for row, key in enumerate(self.keys)}
        if strange := [key for key in keys if key not in rows]:
            example = f"; its first is {shorten(self.keys[0])}" if self.keys else ""
            raise Mistake(f"{source} has no tracklet {shorten(strange[0])}{example}.")
        return np.array([rows[key] for key in keys], dtype=np.int64)

    def select(self, rows: np.ndarray) -> "FeatureTable":
        """Return some rows, named by their numbers or marked, in this order."""
        numbers = np.arange(len(self))[rows].tolist()
        picked: dict[str, Any] = {
            name: column[rows] if isinstance(column, np.ndarray) else [column[number] for number in numbers]
            for name, column in self._columns()
        }
        return replace(self, **picked)

    def join(self, other: "FeatureTable") -> "FeatureTable":
        """Return these rows and then another's, of the same widths."""
        joined: dict[str, Any] = {
            name: np.concatenate([own, added]) if isinstance(own, np.ndarray) else own + added
            for (name, own), (_, added) in zip(self._columns(), other._columns(), strict=True)
        }
        return replace(self, **joined)

    def _columns(self) -> Iterator[tuple[str, Any]]:
        columns = ((each.name, getattr(self, each.name)) for each in fields(self) if each.name != ORIGIN)
        return (column for column in columns if column[1] is not None)

    def to_arrow(self) -> pa.Table:
        """Return a table with one row a tracklet and the origin in its schema's metadata; unknown cells are null."""
        columns = {
            "key": pa.array(self.keys, pa.string()),
            "camera": pa.array(self.cameras),
            "view": pa.array([view or None for view in self.views], pa.string()),
            "time": pa.array(self.times.astype(TIME_TYPE)),
            "picture": pa.array(self.pictures, pa.string()),
            "feature": _to_lists(self.features),
        }
        if self.words is not None:
            columns["words"] = _to_lists(self.words)
        return pa.table(columns, metadata={ORIGIN: json.dumps(dict(self.origin))})

    @classmethod
    def from_arrow(cls, table: pa.Table, origin: Mapping[str, str]) -> "FeatureTable":
        """Return the rows of such a table; views and times may be absent."""
        names, blank = table.column_names, [""] * len(table)
        return cls(
            table["key"].to_pylist(),
            _from_lists(table["feature"]),
            table["camera"].to_numpy(),
            table["view"].fill_null("").to_pylist() if "view" in names else blank,
            table["time"].to_numpy().astype(TIME_TYPE) if "time" in names else unknown_times(len(table)),
            table["picture"].to_pylist(),
            _from_lists(table["words"]) if "words" in names else None,
            origin,
        )


def read_origin(schema: pa.Schema) -> dict[str, str]:
    """Return the origin of the rows of a table from its schema."""
    return json.loads((schema.metadata or {})[ORIGIN.encode()])


def unknown_times(count: int) -> np.ndarray:
    """Return times of tracklets whose times are unknown."""
    return np.full(count, "NaT", dtype=TIME_TYPE)


def require_comparable(first: FeatureTable, name: str, second: FeatureTable, second_name: str) -> None:
    """Refuse descriptors, or vectors for texts, that different models or settings made; names are for messages."""
    with_words = first.words is not None and second.words is not None
    for entry in (*COMPARED, TEXT_TOWER) if with_words else COMPARED:
        expected, found = first.origin.get(entry), second.origin.get(entry)
        if expected != found:
            raise Mistake(
                f"{second_name} cannot be compared with {name}: its {entry} is {shorten(str(found))}, the other's "
                f"{shorten(str(expected))}. Extract both with the same checkpoint and settings."
            )
    for own, other in ((first.features, second.features), (first.words, second.words)):
        if own is not None and other is not None and own.shape[1] != other.shape[1]:
            raise Mistake(f"{second_name} has vectors of {other.shape[1]} numbers, {name} of {own.shape[1]}.")


def require_joinable(first: FeatureTable, name: str, second: FeatureTable, second_name: str) -> None:
    """Refuse tables that are not comparable, or of which only one has vectors for texts."""
    require_comparable(first, name, second, second_name)
    if (first.words is None) != (second.words is None):
        have, lack = (name, second_name) if second.words is None else (second_name, name)
        raise Mistake(f"{have} has vectors to compare with texts and {lack} has none: search them apart.")


def check_suffix(path: Path) -> None:
    """Refuse a name that ends neither in .npz nor in .parquet."""
    if path.suffix not in (NPZ, PARQUET):
        raise Mistake(f"{path}: a feature file must end in {NPZ} or {PARQUET}, got {path.suffix!r}.")


def write_features(table: FeatureTable, path: Path) -> None:
    """Write a .npz or .parquet file, whole or not at all."""
    check_suffix(path)

    def write(file: BinaryIO) -> None:
        if path.suffix == PARQUET:
            pq.write_table(table.to_arrow(), file, row_group_size=ROW_GROUP, write_page_checksum=True)
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
        require_joinable(table, str(paths[0]), other, str(path))
        if double := set(table.keys).intersection(other.keys):
            raise Mistake(f"{path}: the key {shorten(min(double))} is in another file of the search, too.")
        table = table.join(other)
    return table


def as_arrays(table: FeatureTable) -> dict[str, np.ndarray]:
    """Return the entries of a .npz file."""
    arrays = {
        name: np.array(column, np.str_) if isinstance(column, list) else column for name, column in table._columns()
    }
    return {**arrays, ORIGIN: np.array(json.dumps(dict(table.origin)))}


def _read_npz(path: Path) -> FeatureTable:
    with np.load(path, allow_pickle=False) as content:
        keys = content["keys"].tolist()
        return FeatureTable(
            keys,
            content["features"],
            content["cameras"],
            content["views"].tolist() if "views" in content else [""] * len(keys),
            content["times"] if "times" in content else unknown_times(len(keys)),
            content["pictures"].tolist(),
            content.get("words"),
            json.loads(str(content[ORIGIN])),
        )


def _read_parquet(path: Path) -> FeatureTable:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        table = file.read()
    return FeatureTable.from_arrow(table, read_origin(table.schema))


def _to_lists(rows: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def _from_lists(column: pa.ChunkedArray) -> np.ndarray:
    width = column.type.list_size
    chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
    return np.concatenate([*chunks, np.empty(0, np.float32)]).reshape(-1, width)


def has_unit_length(rows: np.ndarray) -> bool:
    """Whether all vectors, (n, D), have length 1."""
    return bool((np.abs(np.linalg.norm(rows, axis=1) - 1) <= LENGTH_TOLERANCE).all())


def _check(table: FeatureTable) -> None:
    """Refuse columns of other types or lengths, keys that repeat, and vectors that cannot be compared."""
    if not isinstance(table.origin, dict):
        raise Mistake(f"its entry {ORIGIN!r} is no dictionary")
    vectors = [table.features] if table.words is None else [table.features, table.words]
    if any(rows.ndim != 2 or rows.dtype != np.float32 or not rows.shape[1] for rows in vectors):
        raise Mistake("vectors must be (n, D), float32, and D at least 1")
    if table.cameras.ndim != 1 or table.cameras.dtype != np.int64:
        raise Mistake("cameras must be (n,), int64")
    if table.times.ndim != 1 or table.times.dtype != TIME_TYPE:
        raise Mistake(f"times must be (n,), {TIME_TYPE}")
    texts = (table.keys, table.views, table.pictures)
    if not all(isinstance(each, list) and all(isinstance(value, str) for value in each) for each in texts):
        raise Mistake("keys, views and pictures must be (n,), of texts")
    if len({len(column) for _, column in table._columns()}) != 1:
        raise Mistake("its columns have different lengths")
    if len(set(table.keys)) < len(table.keys):
        raise Mistake(f"it holds the key {Counter(table.keys).most_common(1)[0][0]!r} twice")
    for rows in vectors:
        if not (finite := np.isfinite(rows).all(axis=1)).all():
            raise Mistake(f"it holds NaN or infinity for {table.keys[int(finite.argmin())]!r}")
    if table.words is not None and not has_unit_length(table.words):
        raise Mistake("its vectors for texts must have length 1")
