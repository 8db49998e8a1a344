"""Tracklets described once and kept: the file that feature extraction writes and search reads.

A file holds rows of arrays and a text with what they depend on, so reading it runs no code. NumPy reads .npz files;
.parquet files, with one row a tracklet, are for tables and databases.
"""

import json
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from utils.commands import first_line
from utils.files import write_whole
from utils.mistake import MissingFile, Mistake
from utils.text import shorten

ORIGIN = "origin"  # entry of the file with the origin as JSON
# Entries of the origin that two files must share for their features to be comparable.
COMPARED = ("weights", "transform")
TEXT_TOWER = "text tower"  # the entry in which they must agree, too, where words are compared
NPZ, PARQUET = ".npz", ".parquet"
# Errors that NumPy, zipfile, json, pyarrow and faiss raise for damaged files and for those of other programs. A damaged
# shape asks for more memory than there is.
UNREADABLE = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,  # also a compression that is not implemented, and nested JSON
    MemoryError,
    SyntaxError,
    OSError,
    EOFError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    pa.ArrowException,
)
ANY_LENGTH = "TEST.FEAT_NORM False"  # in the transform: descriptors are not normalised
LENGTH_TOLERANCE = 0.01  # of descriptors of length 1, which may have been normalised in half precision
ROW_GROUP = 4096  # rows that a reader of Parquet takes at a time: 32 MiB of descriptors


@dataclass(frozen=True, eq=False)
class DescribedTracklets:
    """Descriptors of tracklets, row by row; n tracklets.

    Attributes:
        keys: Unique names, such as the folders' paths below the one that was described.
        features: (n, D), float32, L2-normalised unless the transform says TEST.FEAT_NORM False.
        cameras: Cameras as annotated, (n,), int64; -1 where unknown.
        pictures: Path of the frame in the middle of each tracklet, for people to look at.
        words: (n, P), float32, unit length: the frozen image tower's vectors, which texts are compared with; None
            without a text tower.
        origin: What the rows depend on: 'weights' (SHA-256 of the model's), 'transform' (size, clips, mirror images),
            'text tower' (SHA-256; only with ``words``), and the like. Rows of another origin cannot be compared.
    """

    keys: Sequence[str]
    features: np.ndarray
    cameras: np.ndarray
    pictures: Sequence[str]
    words: np.ndarray | None = None
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_any_length(self) -> bool:
        """Whether the descriptors are as the model made them, and not of length 1."""
        return ANY_LENGTH in str(self.origin.get("transform"))

    def find_rows(self, keys: Sequence[str], source: str) -> np.ndarray:
        """Return the rows of some keys, (len(keys),); ValueError, which begins with ``source``, if one is not there."""
        rows = {key: row for row, key in enumerate(self.keys)}
        if strange := [key for key in keys if key not in rows]:
            example = f"; its first is {shorten(self.keys[0])}" if self.keys else ""
            raise Mistake(f"{source} holds no tracklet {shorten(strange[0])}: it has {len(rows)}{example}.")
        return np.array([rows[key] for key in keys], dtype=np.int64)

    def select(self, rows: np.ndarray) -> "DescribedTracklets":
        """Return some rows, named by their numbers or marked, in this order."""
        return DescribedTracklets(
            np.array(self.keys, dtype=np.str_)[rows].tolist(),
            self.features[rows],
            self.cameras[rows],
            np.array(self.pictures, dtype=np.str_)[rows].tolist(),
            None if self.words is None else self.words[rows],
            self.origin,
        )

    def join(self, other: "DescribedTracklets") -> "DescribedTracklets":
        """Return these rows and then another's: of the same widths, other keys, and ``words`` in both or neither."""
        return DescribedTracklets(
            [*self.keys, *other.keys],
            np.concatenate([self.features, other.features]),
            np.concatenate([self.cameras, other.cameras]),
            [*self.pictures, *other.pictures],
            None if self.words is None or other.words is None else np.concatenate([self.words, other.words]),
            self.origin,
        )


def check_suffix(path: Path) -> None:
    """Refuse a file that is neither .npz nor .parquet: ValueError."""
    if path.suffix not in (NPZ, PARQUET):
        raise Mistake(f"{path}: a file of described tracklets must end in {NPZ} or {PARQUET}, got {path.suffix!r}.")


def write_described(described: DescribedTracklets, path: Path) -> None:
    """Write a .npz or .parquet file, whole or not at all.

    Raises:
        OSError: If the disk is full or the folder cannot be written.
        ValueError: If the name ends otherwise.
    """
    check_suffix(path)
    write_whole(partial(_write_parquet if path.suffix == PARQUET else _write_npz, described), path)


def read_described(path: Path) -> DescribedTracklets:
    """Read a file of ``write_described``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, or another file.
    """
    check_suffix(path)
    if not path.is_file():
        raise MissingFile(f"{path} is not a file: tools/extract_features.py makes one.")
    try:
        described = (_read_parquet if path.suffix == PARQUET else _read_npz)(path)
        check_rows(described)
    except UNREADABLE as error:
        raise Mistake(
            f"{path} is damaged, or was not written by tools/extract_features.py: {first_line(error):.200}"
        ) from error
    return described


def _write_npz(described: DescribedTracklets, file: BinaryIO) -> None:
    np.savez(file, **described_as_arrays(described))  # type: ignore[arg-type]


def _read_npz(path: Path) -> DescribedTracklets:
    with np.load(path, allow_pickle=False) as content:
        return described_from_arrays(content)


def described_as_arrays(described: DescribedTracklets) -> dict[str, np.ndarray]:
    """Return the entries of a .npz file of described tracklets."""
    arrays = {
        "keys": np.array(described.keys, dtype=np.str_),
        "features": described.features,
        "cameras": described.cameras,
        "pictures": np.array(described.pictures, dtype=np.str_),
        ORIGIN: np.array(json.dumps(dict(described.origin))),
    }
    return arrays if described.words is None else {**arrays, "words": described.words}


def described_from_arrays(content: Mapping[str, np.ndarray]) -> DescribedTracklets:
    """Return the tracklets of such entries; raises one of ``UNREADABLE`` for others."""
    return DescribedTracklets(
        content["keys"].tolist(),
        content["features"],
        content["cameras"],
        content["pictures"].tolist(),
        content.get("words"),
        json.loads(str(content[ORIGIN])),
    )


def _write_parquet(described: DescribedTracklets, file: BinaryIO) -> None:
    columns = {
        "key": pa.array(described.keys, pa.string()),
        "camera": pa.array(described.cameras),
        "picture": pa.array(described.pictures, pa.string()),
        "feature": _to_lists(described.features),
    }
    if described.words is not None:
        columns["words"] = _to_lists(described.words)
    table = pa.table(columns, metadata={ORIGIN: json.dumps(dict(described.origin))})
    pq.write_table(table, file, row_group_size=ROW_GROUP, write_page_checksum=True)


def _read_parquet(path: Path) -> DescribedTracklets:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        table = file.read()
    origin = (table.schema.metadata or {})[ORIGIN.encode()]
    return DescribedTracklets(
        table["key"].to_pylist(),
        _from_lists(table["feature"]),
        table["camera"].to_numpy(),
        table["picture"].to_pylist(),
        _from_lists(table["words"]) if "words" in table.column_names else None,
        json.loads(origin),
    )


def _to_lists(rows: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def _from_lists(column: pa.ChunkedArray) -> np.ndarray:
    return np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks]).reshape(len(column), -1)


def check_rows(described: DescribedTracklets) -> None:
    """Raise ValueError unless columns have our types and one length, keys are unique, and vectors finite.

    Vectors must have length 1, but for descriptors that the model's settings leave as they are (TEST.FEAT_NORM False).
    """
    floats = [described.features] if described.words is None else [described.features, described.words]
    if any(rows.ndim != 2 or rows.dtype != np.float32 or not rows.shape[1] for rows in floats):
        raise Mistake("descriptors must be (n, D), float32, and D at least 1")
    if described.cameras.ndim != 1 or described.cameras.dtype != np.int64:
        raise Mistake("cameras must be (n,), int64")
    for column in (described.keys, described.pictures):
        if not isinstance(column, list) or not all(isinstance(value, str) for value in column):
            raise Mistake("keys and pictures must be (n,), of texts")
    if len({len(described.keys), len(described.cameras), len(described.pictures), *map(len, floats)}) != 1:
        raise Mistake("its columns have different lengths")
    if not isinstance(described.origin, dict):
        raise Mistake(f"its entry {ORIGIN!r} is no dictionary")
    if len(set(described.keys)) < len(described.keys):
        raise Mistake(f"it holds the key {Counter(described.keys).most_common(1)[0][0]!r} twice")
    for rows in floats:
        if not (finite := np.isfinite(rows).all(axis=1)).all():
            raise Mistake(f"it holds NaN or infinity for {described.keys[int(finite.argmin())]!r}")
        lengths = np.linalg.norm(rows, axis=1)
        wrong = np.abs(lengths - 1) > LENGTH_TOLERANCE
        if wrong.any() and not (described.has_any_length and rows is described.features):
            row = int(wrong.argmax())
            raise Mistake(f"it holds a vector of length {lengths[row]:.3g}, not 1, for {described.keys[row]!r}")
