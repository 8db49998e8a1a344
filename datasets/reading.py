"""What the readers of data sets share: listings, MATLAB files, and the words for what is missing or odd."""

import logging
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from datasets.tracklet import Tracklet

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# What scipy and h5py answer files with that are truncated or something else.
_DAMAGED = (MatReadError, zlib.error, OSError, ValueError, TypeError, IndexError, NotImplementedError)
NUM_THREADS = 16  # listings under way at once: on network storage each of them mostly waits
_LAST_INTEGER = re.compile(r"(\d+)\D*$", re.ASCII)


class TrackletFolder(NamedTuple):
    """A tracklet on disk, before its frames are read."""

    pid: int
    name: str
    path: str


def missing(path: Path, dataset: str) -> FileNotFoundError:
    """The error for a folder or file that a data set must have."""
    kind = "file" if path.suffix in (".mat", ".txt") else "folder"
    return FileNotFoundError(f"{path} is not a {kind}: set DATASETS.ROOT_DIR to a copy of {dataset}.")


def find_root(root: str | Path, title: str) -> Path:
    """The folder of a copy; FileNotFoundError if it is not there."""
    root = Path(root)
    if not root.is_dir():
        raise missing(root, title)
    return root


def list_subfolders(path: str | Path) -> list[os.DirEntry]:
    """Folders in a folder, hidden ones excepted, sorted by name."""
    with os.scandir(path) as entries:
        return sorted(
            (entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()),
            key=lambda entry: entry.name,
        )


def list_images(path: str | Path) -> list[str]:
    """Names of the images in a folder, hidden ones excepted, sorted as strings.

    Raises:
        ValueError: If there is none.
    """
    names = [name for name in os.listdir(path) if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")]
    if not names:
        raise ValueError(f"{path}: this tracklet has no frames ({', '.join(IMAGE_SUFFIXES)}).")
    return sorted(names)


def list_tracklet_folders(split: Path, dataset: str) -> list[TrackletFolder]:
    """Tracklets of a split that is laid out as ``{identity}/{tracklet}/``, sorted by pid, then name."""
    if not split.is_dir():
        raise missing(split, dataset)
    folders, problems = find_tracklet_folders(split)
    if problems:
        raise ValueError(problems[0])
    return folders


def find_tracklet_folders(split: Path) -> tuple[list[TrackletFolder], list[str]]:
    """The same, and everything that is wrong with the folders, instead of an error."""
    folders: list[TrackletFolder] = []
    problems: list[str] = []
    identities: dict[str, int] = {}  # pid by path
    path_of: dict[int, str] = {}
    for identity in list_subfolders(split):
        if re.fullmatch(r"\d+", identity.name, re.ASCII) is None:
            problems.append(f"{identity.path}: an identity folder must be named by a number.")
            continue
        pid = int(identity.name)
        if pid in path_of:
            problems.append(f"{identity.path} and {path_of[pid]} are the same identity, {pid}.")
        path_of[pid] = identity.path
        identities[identity.path] = pid
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        listings = list(pool.map(list_subfolders, identities))
    for (path, pid), tracklets in zip(identities.items(), listings, strict=True):
        if not tracklets:
            problems.append(f"{path}: this identity has no tracklet folder.")
        folders += [TrackletFolder(pid, tracklet.name, tracklet.path) for tracklet in tracklets]
    if not folders and not problems:
        problems.append(f"{split}: this split has no identity folder.")
    return sorted(folders), problems


def last_integer(name: str) -> int:
    """The last run of digits in a file name, its suffix excepted; -1 without one."""
    match = _LAST_INTEGER.search(os.path.splitext(name)[0])
    return int(match[1]) if match else -1


def sort_frames(folder: str | Path, names: Sequence[str]) -> tuple[str, ...]:
    """Paths of frames by the last number in their name, so that 9 comes before 10, then by name."""
    return tuple(os.path.join(folder, name) for name in sorted(names, key=lambda name: (last_integer(name), name)))


def read_matrix(path: Path, key: str, dataset: str) -> np.ndarray:
    """Read a matrix of integers from a MATLAB file, of version 7.3 (which is HDF5) or older.

    Args:
        path: The .mat file.
        key: Variable name.
        dataset: For messages.
    Returns:
        int64, shaped as in MATLAB.
    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no MATLAB file, is damaged, or has no such variable, or one that is not made of integers.
    """
    if not path.is_file():
        raise missing(path, dataset)
    try:
        content = _load(path)
    except _DAMAGED as error:
        raise ValueError(f"{path} is not a MATLAB file, or is damaged: {error}") from error
    if key not in content:
        raise ValueError(f"{path}: expected a variable {key!r}, found {', '.join(sorted(content)) or 'none'}.")
    matrix = np.asarray(content[key])
    if matrix.dtype.kind not in "iuf" or (matrix != np.round(matrix)).any():
        raise ValueError(f"{path}: {key} must hold integers.")
    return matrix.astype(np.int64)


def _load(path: Path) -> dict[str, np.ndarray]:
    """Variables by name; HDF5 keeps the columns of a MATLAB matrix first."""
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            return {name: np.array(item).T for name, item in file.items() if isinstance(item, h5py.Dataset)}
    return {name: item for name, item in loadmat(path).items() if not name.startswith("__")}


def read_rows(path: Path, key: str, num_rows: int, dataset: str) -> np.ndarray:
    """Read a MATLAB vector of row numbers, 1-based, as 0-based, in file order; each must occur once and exist."""
    rows = read_matrix(path, key, dataset).ravel() - 1
    if len(rows) and not 0 <= rows.min() <= rows.max() < num_rows:
        raise ValueError(f"{path}: {key} must lie in 1..{num_rows}, found {rows.min() + 1}..{rows.max() + 1}.")
    if len(np.unique(rows)) != len(rows):
        raise ValueError(f"{path}: {key} names {len(rows) - len(np.unique(rows))} rows more than once.")
    return rows


def log_counts(split: str, tracklets: Sequence[Tracklet]) -> None:
    """Log what a split holds."""
    logger.info(
        "%s: %d identities, %d tracklets, %d frames.",
        split,
        len({tracklet.pid for tracklet in tracklets}),
        len(tracklets),
        sum(len(tracklet.frame_paths) for tracklet in tracklets),
    )


def compare_counts(dataset: str, found: Mapping[str, int], published: Mapping[str, int]) -> None:
    """Warn of every count that differs from the published one; such a copy is used all the same."""
    odd = [f"{name} {found[name]} instead of {number}" for name, number in published.items() if found[name] != number]
    if odd:
        logger.warning("%s: this copy differs from the published counts: %s.", dataset, ", ".join(odd))
