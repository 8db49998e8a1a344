"""List a copy of a data set: identity folders, tracklet folders and their images; walk folders of any layout.

An entry that is neither a folder nor a regular file (a link whose target is missing, a pipe, a device) is a fault
wherever it could have been an identity, a tracklet or a frame: leaving it out would shrink the data set unnoticed. So
is a file without a suffix where an identity or a tracklet is expected; files with a suffix are left out there.
"""

import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from utils.mistake import MissingFile, Mistake
from utils.text import natural_key

from ..problems import LOADING, Findings, Problems, printable
from .names import (
    IMAGE_SUFFIXES,
    OTHER_PICTURES,
    SHEETS_ENDING,
    count_kinds,
    frame_order,
    is_hidden,
    is_image_name,
    is_left_by_system,
    is_utf8,
    number_folders,
)

logger = logging.getLogger(__name__)

# How messages call the folder of a copy; some commands take it by an option or argument of their own.
ROOT_SETTING = "DATASETS.ROOT_DIR or this command's own option for the folder"
NUM_THREADS = 16  # folders listed at the same time: on network storage each listing mostly waits

Item = TypeVar("Item")


class TrackletFolder(NamedTuple):
    """A tracklet on disk, before its frames are read."""

    pid: int
    name: str
    path: str


def missing_path_error(path: Path, dataset: str) -> MissingFile:
    """Return the error for a folder or file that a data set must have."""
    kind = "file" if path.suffix in (".mat", ".txt") else "folder"
    message = f"{path} is not a {kind}: set {ROOT_SETTING} to a copy of {dataset}."
    if path.parent.is_dir():
        for entry in path.parent.iterdir():
            if os.path.exists(entry / path.name):  # Path.exists raises where a folder may not be searched
                message += f" Did you mean {entry}?"
    return MissingFile(message)


def find_root(root: str | Path, title: str) -> Path:
    """Return the folder of a copy, which must exist."""
    root = Path(root)
    if not root.is_dir():
        raise missing_path_error(root, title)
    return root


def list_subfolders(path: str | Path, problems: Problems = LOADING) -> list[os.DirEntry[str]]:
    """List the folders in a folder, hidden ones excepted, by name; only files with a suffix may be beside them."""
    folders, odd = [], []
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=attrgetter("name")):
            if is_hidden(entry.name):
                continue
            if fault := _find_fault(entry):
                odd.append(fault)
            elif entry.is_dir():
                folders.append(entry)
            elif not os.path.splitext(entry.name)[1]:
                odd.append(f"{printable(entry.path)} is a file, but a folder is expected here.")
    problems.add("unusable entry", *odd)
    return folders


def list_images(path: str | Path, problems: Problems = LOADING) -> list[str]:
    """List the names of the images in a folder, hidden ones excepted, sorted as strings.

    An image that is neither a regular file nor a link to one is a fault; a folder with the name of an image is listed,
    and cannot be read.
    """
    with os.scandir(path) as entries:
        images = sorted((entry for entry in entries if is_image_name(entry.name)), key=attrgetter("name"))
        unusable = {entry.name: fault for entry in images if (fault := _find_fault(entry))}
    problems.add("unusable entry", *unusable.values())
    if not images:
        text = f"{printable(path)}: this tracklet has no frames ({', '.join(IMAGE_SUFFIXES)})."
        problems.add("empty folder", text)
    return [entry.name for entry in images if entry.name not in unusable]


def _find_fault(entry: os.DirEntry[str]) -> str:
    """Describe an entry that is neither a folder nor a regular file, directly or through links; '' for others."""
    try:
        if entry.is_file() or entry.is_dir():
            return ""
    except OSError as error:
        return f"{printable(entry.path)} cannot be examined: {error.strerror}."
    kind = "a link whose target is missing or special" if entry.is_symlink() else "a special file"
    return f"{printable(entry.path)} is {kind}: expected a folder or a regular file."


def list_many(
    list_folder: Callable[[str, Problems], list[Item]], paths: Collection[str], problems: Problems
) -> Iterator[list[Item]]:
    """Apply one of the functions above to many folders at once; yield results, and report faults, in their order."""

    def list_one(path: str) -> tuple[list[Item], Findings]:
        found = Findings()
        content: list[Item] = []
        with found.guard():
            content = list_folder(path, found)
        return content, found

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for content, found in pool.map(list_one, paths):
            for check, places in found.places.items():
                problems.add(check, *places)
            yield content


def list_split(split: Path, dataset: str, problems: Problems = LOADING) -> list[TrackletFolder]:
    """List the tracklets of a split that is laid out as ``{identity}/{tracklet}/``, sorted by pid, then name."""
    if not split.is_dir():
        raise missing_path_error(split, dataset)
    identities = number_folders(list_subfolders(split, problems), "", problems)
    if not identities:
        problems.add("identity folder", f"{printable(split)}: this split has no identity folder.")
    tracklets = []
    for (pid, path), folders in zip(
        identities.items(), list_many(list_subfolders, identities.values(), problems), strict=True
    ):
        if not folders:
            problems.add("identity folder", f"{printable(path)}: this identity has no tracklet folder.")
        for folder in folders:
            if folder.name.split() != [folder.name] or not is_utf8(folder.name):
                problems.add("tracklet name", f"{printable(folder.path)}: this name has spaces, or is not UTF-8.")
            tracklets.append(TrackletFolder(pid, folder.name, folder.path))
    return sorted(tracklets)


class WalkedFolder(NamedTuple):
    """A folder below a root."""

    path: str
    place: str  # the same, relative to the root, with ``/``; '.' is the root
    names: list[str]  # files in it, links included, in the order of frames
    is_innermost: bool


def walk_folders(root: str | Path) -> tuple[list[WalkedFolder], list[str]]:
    """Return a folder of any layout and all below it, in natural order, and sentences about what cannot be read."""
    folders: list[WalkedFolder] = []
    problems: list[str] = []
    skipped: list[str] = []

    def locate(path: str) -> str:
        return os.path.relpath(path, root).replace(os.sep, "/")

    def refuse(error: OSError) -> None:
        raise Mistake(f"{printable(error.filename)} cannot be listed: {error.strerror}; its frames would be left out.")

    for path, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        if os.path.islink(path) and any(parent.samefile(path) for parent in Path(path).parents):
            subfolders.clear()
            continue
        skipped += [name for name in (*subfolders, *names) if is_left_by_system(name)]
        subfolders[:] = sorted((name for name in subfolders if not is_hidden(name)), key=natural_key)
        names = sorted((name for name in names if not is_hidden(name)), key=frame_order)
        folders.append(WalkedFolder(path, locate(path), names, not subfolders))
        problems += [
            f"{printable(locate(os.path.join(path, name)))}: this link leads nowhere."
            for name in names
            if not is_image_name(name) and not os.path.exists(os.path.join(path, name))
        ]
    reasons = ("left by an operating system or a network drive", "contact sheets of tools.cut_tracklets")
    problems += [f"{name}: {reasons[name.endswith(SHEETS_ENDING)]}." for name in skipped]
    return folders, problems


def find_images(root: str | Path) -> tuple[dict[str, list[str]], list[str]]:
    """Return the names of the images in each folder that has any, by its place; and what is left out, in sentences."""
    folders, problems = walk_folders(root)
    images = {folder.place: list(filter(is_image_name, folder.names)) for folder in folders}
    problems += [
        f"{printable(folder.place)}: this folder has no images."
        for folder in folders
        if folder.is_innermost and not images[folder.place]
    ]
    problems += [
        f"{printable(f'{folder.place}/{name}')}: pictures are read from {', '.join(IMAGE_SUFFIXES)} files only."
        for folder in folders
        for name in folder.names
        if name.lower().endswith(OTHER_PICTURES)
    ]
    return {place: names for place, names in images.items() if names}, sorted(problems, key=natural_key)


def find_tracklets(root: str | Path) -> dict[str, Sequence[str]]:
    """Find the tracklets of a folder, in natural order, or one still image, a tracklet of one frame.

    The root, and every folder below it, is a tracklet if it directly holds frames. A tracklet's name is its path below
    the root; the root itself has its own name. Returns the absolute paths of the frames of each.
    """
    path = os.path.abspath(root)
    frames: dict[str, Sequence[str]] = {}
    if os.path.isfile(path) and path.lower().endswith(IMAGE_SUFFIXES):
        frames = {os.path.basename(path): (path,)}
    elif os.path.isdir(path):
        images, problems = find_images(path)
        for place, names in images.items():
            name, folder = (os.path.basename(path), path) if place == "." else (place, os.path.join(path, place))
            if name in frames:
                raise Mistake(f"{path} and {folder} would have the same name: move the frames out of {path}.")
            frames[name] = tuple(os.path.join(folder, image) for image in names)
        if problems and frames:
            logger.warning("%s: left out (%d): %s.", path, len(problems), "; ".join(count_kinds(problems)))
    if not frames:
        kind = "has no frames" if os.path.isdir(path) else "cannot be used" if os.path.exists(path) else "is missing"
        expected = f"a folder with frames ({', '.join(IMAGE_SUFFIXES)}) in it or below it, or one such image"
        raise MissingFile(f"{printable(path)} {kind}: expected {expected}.")
    for paths in frames.values():
        if not is_utf8("".join(paths)):  # a feature file could not hold other names
            raise Mistake(f"{printable(paths[0])}: names of folders and frames must be UTF-8; rename them.")
    logger.info("%d tracklets with %d frames in %s", len(frames), sum(map(len, frames.values())), path)
    return frames
