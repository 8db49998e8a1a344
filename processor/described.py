"""Tracklets described once and kept: the file that feature extraction writes and search reads.

A file holds rows of arrays and a text with what they depend on, so reading it runs no code.
"""

import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.text_files import shorten
from utils.whole_files import write_whole

# Errors of a file that is damaged, or of another kind.
UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile)
ORIGIN = "origin"  # entry of the file with the origin as JSON
# Entries of the origin that two files must share for their features to be comparable.
COMPARED = ("weights", "transform")
TEXT_TOWER = "text tower"  # the entry in which they must agree, too, where words are compared


@dataclass(frozen=True, eq=False)
class DescribedTracklets:
    """Descriptors of tracklets, row by row; n tracklets.

    Attributes:
        keys: Unique names, such as the folders' paths below the one that was described.
        features: (n, D), float32, L2-normalised as the model's evaluation does.
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

    def find_rows(self, keys: Sequence[str], source: str) -> np.ndarray:
        """Return the rows of some keys, (len(keys),); ValueError, which begins with ``source``, if one is not there."""
        rows = {key: row for row, key in enumerate(self.keys)}
        if strange := [key for key in keys if key not in rows]:
            example = f"; its first is {shorten(self.keys[0])}" if self.keys else ""
            raise ValueError(f"{source} holds no tracklet {shorten(strange[0])}: it has {len(rows)}{example}.")
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
        """Return these rows and then another's, which have the same width, words too or not either, and other keys."""
        return DescribedTracklets(
            [*self.keys, *other.keys],
            np.concatenate([self.features, other.features]),
            np.concatenate([self.cameras, other.cameras]),
            [*self.pictures, *other.pictures],
            None if self.words is None or other.words is None else np.concatenate([self.words, other.words]),
            self.origin,
        )


def write_described(described: DescribedTracklets, path: Path) -> None:
    """Write a .npz file, whole or not at all. OSError: if the disk is full or the folder cannot be written."""
    arrays = described_as_arrays(described)
    write_whole(lambda file: np.savez(file, **arrays), path)  # type: ignore[arg-type]


def read_described(path: Path) -> DescribedTracklets:
    """Read a file of ``write_described``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, or another file, or its rows do not line up, or it holds a key twice or NaN.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: tools/extract_features.py makes one.")
    try:
        with np.load(path, allow_pickle=False) as content:
            described = described_from_arrays(content)
    except UNREADABLE as error:
        raise ValueError(f"{path} is damaged, or was not written by tools/extract_features.py: {error}") from error
    if problem := find_problem(described):
        raise ValueError(f"{path} {problem}. Describe these tracklets again with tools/extract_features.py.")
    return described


def described_as_arrays(described: DescribedTracklets) -> dict[str, np.ndarray]:
    """Return the entries of a file of described tracklets, by name."""
    arrays = {
        "keys": np.array(described.keys, dtype=np.str_),
        "features": described.features,
        "cameras": described.cameras,
        "pictures": np.array(described.pictures, dtype=np.str_),
        ORIGIN: np.array(json.dumps(dict(described.origin))),
    }
    return arrays if described.words is None else {**arrays, "words": described.words}


def described_from_arrays(content: Mapping[str, np.ndarray]) -> DescribedTracklets:
    """Return the described tracklets whose entries these are; raises one of ``UNREADABLE`` if they are others."""
    return DescribedTracklets(
        content["keys"].tolist(),
        np.ascontiguousarray(content["features"], dtype=np.float32),
        content["cameras"],
        content["pictures"].tolist(),
        np.ascontiguousarray(content["words"], dtype=np.float32) if "words" in content else None,
        json.loads(str(content[ORIGIN])),
    )


def find_problem(described: DescribedTracklets) -> str | None:
    """Return what is wrong with described tracklets, to be read after the name of their file; None if nothing is."""
    count = len(described.keys)
    if repeated := next((key for key, times in Counter(described.keys).items() if times > 1), None):
        return f"holds the key {repeated!r} twice"
    for name, values in (("cameras", described.cameras), ("pictures", described.pictures)):
        if np.shape(values) != (count,):
            return f"has {count} keys, and {name} in the shape {np.shape(values)}"
    for name, rows in (("features", described.features), ("words", described.words)):
        if rows is None:
            continue
        if rows.ndim != 2 or len(rows) != count:
            return f"has {count} keys, and {name} in the shape {rows.shape}"
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            return f"has NaN or infinity in the {name} of {described.keys[int(np.flatnonzero(~finite)[0])]!r}"
    return None
