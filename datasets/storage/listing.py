"""Listing a copy of a data set: folders of people and tracklets, their images, and the order of frames."""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

NUM_THREADS = 16  # listings under way at once: on network storage each of them mostly waits

_LAST_INTEGER = re.compile(r"(\d+)\D*$", re.ASCII)


class TrackletFolder(NamedTuple):
    """A tracklet on disk, before its frames are read."""

    pid: int
    name: str
    path: str


def missing_path(path: Path, dataset: str) -> FileNotFoundError:
    """The error for a folder or file that a data set must have."""
    kind = "file" if path.suffix in (".mat", ".txt") else "folder"
    return FileNotFoundError(f"{path} is not a {kind}: set DATASETS.ROOT_DIR to a copy of {dataset}.")


def find_root(root: str | Path, title: str) -> Path:
    """The folder of a copy; FileNotFoundError if it is not there."""
    root = Path(root)
    if not root.is_dir():
        raise missing_path(root, title)
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
        raise missing_path(split, dataset)
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
