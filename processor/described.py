"""Tracklets described once and kept: the file that feature extraction writes and search reads.

A file holds rows of arrays and a text with what they depend on, so reading it runs no code.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.whole_files import write_whole

ORIGIN = "origin"  # entry of the file with the origin as JSON
# Entries of the origin that two files must share for their features to be comparable.
COMPARED = ("weights", "transform")


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


def write_described(described: DescribedTracklets, path: Path) -> None:
    """Write a .npz file, whole or not at all. OSError: if the disk is full or the folder cannot be written."""
    arrays = {
        "keys": np.array(described.keys, dtype=np.str_),
        "features": described.features,
        "cameras": described.cameras,
        "pictures": np.array(described.pictures, dtype=np.str_),
        ORIGIN: np.array(json.dumps(dict(described.origin))),
    }
    if described.words is not None:
        arrays["words"] = described.words
    write_whole(lambda file: np.savez(file, **arrays), path)  # type: ignore[arg-type]


def read_described(path: Path) -> DescribedTracklets:
    """Read a file of ``write_described``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, or another file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: tools/extract_features.py makes one.")
    try:
        with np.load(path, allow_pickle=False) as content:
            return DescribedTracklets(
                content["keys"].tolist(),
                content["features"],
                content["cameras"],
                content["pictures"].tolist(),
                content.get("words"),
                json.loads(str(content[ORIGIN])),
            )
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged, or was not written by tools/extract_features.py: {error}") from error
