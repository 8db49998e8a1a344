"""Lists a copy of a data set: identity folders, tracklet folders, their images, and the order of frames.

An entry that is neither a folder nor a regular file (a link whose target is missing, a pipe, a device) is an error
wherever it could have been an identity, a tracklet or a frame: leaving it out would shrink the data set unnoticed. So
is a regular file without a suffix where an identity or a tracklet is expected. Files with a suffix, such as notes.txt,
are left out there.
"""

import os
import re
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from utils.mistake import MissingFile
from utils.text import natural_key

from ..problems import LOADING, Problems, printable

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# How messages call the folder of a copy; some commands take it by an option or argument of their own.
ROOT_SETTING = "DATASETS.ROOT_DIR or this command's own option for the folder"
LARGEST_PID = 2**63 - 1  # identities are kept as int64

NUM_THREADS = 16  # folders listed at the same time: on network storage each listing mostly waits

_FRAME_NUMBER = re.compile(r"f(?:rame)?[_-]?([0-9]+)$", re.IGNORECASE)
_LAST_INTEGER = re.compile(r"(\d+)\D*$", re.ASCII)
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class TrackletFolder(NamedTuple):
    """A tracklet on disk, before its frames are read."""

    pid: int
    name: str
    path: str


class FolderContent(NamedTuple):
    """The entries of one folder, hidden ones excepted, sorted by name."""

    folders: list[os.DirEntry[str]]  # links to folders included
    ignored_files: list[os.DirEntry[str]]  # regular files with a suffix, links included
    problems: list[str]  # one sentence, with the path, for each other entry


def missing_path_error(path: Path, dataset: str) -> MissingFile:
    """Return the error for a folder or file that a data set must have."""
    kind = "file" if path.suffix in (".mat", ".txt") else "folder"
    message = f"{path} is not a {kind}: set {ROOT_SETTING} to a copy of {dataset}."
    if path.parent.is_dir():
        for entry in path.parent.iterdir():
            if entry.name.lower() == path.name.lower():
                message += f" {entry.name} is spelt otherwise."
            elif os.path.exists(entry / path.name):  # Path.exists raises where a folder may not be searched
                message += f" Did you mean {entry}?"
    return MissingFile(message)


def find_root(root: str | Path, title: str) -> Path:
    """Return the folder of a copy, which must exist."""
    root = Path(root)
    if not root.is_dir():
        raise missing_path_error(root, title)
    return root


def list_subfolders(path: str | Path) -> list[os.DirEntry[str]]:
    """List the folders in a folder, hidden ones excepted, by name; only files with a suffix may be beside them."""
    content = scan_folder(path)
    LOADING.add("unusable entry", *content.problems)
    return content.folders


def scan_folder(path: str | Path) -> FolderContent:
    """List the folders in a folder and the files with a suffix; all other entries become problems."""
    content = FolderContent([], [], [])
    with os.scandir(path) as entries:
        for entry in sorted((entry for entry in entries if not entry.name.startswith(".")), key=attrgetter("name")):
            if problem := _find_problem(entry):
                content.problems.append(problem)
            elif entry.is_dir():
                content.folders.append(entry)
            elif os.path.splitext(entry.name)[1]:
                content.ignored_files.append(entry)
            else:
                content.problems.append(f"{printable(entry.path)} is a file, but a folder is expected here.")
    return content


def list_images(path: str | Path, problems: Problems = LOADING) -> list[str]:
    """List the names of the images in a folder, hidden ones excepted, sorted as strings.

    The folder itself says what kind of file an entry is, so only links cost a call each (and everything on the few
    file systems that do not keep the kind in the folder). An image that is neither a regular file nor a link to one is
    a fault; a folder with the name of an image is listed, and cannot be read.
    """
    with os.scandir(path) as entries:
        images = sorted((entry for entry in entries if is_image_name(entry.name)), key=attrgetter("name"))
        unusable = {entry.name: problem for entry in images if (problem := _find_problem(entry))}
    problems.add("unusable entry", *unusable.values())
    if not images:
        text = f"{printable(path)}: this tracklet has no frames ({', '.join(IMAGE_SUFFIXES)})."
        problems.add("empty folder", text)
    return [entry.name for entry in images if entry.name not in unusable]


def is_image_name(name: str) -> bool:
    """Whether a file name is that of an image, and not hidden."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def _find_problem(entry: os.DirEntry[str]) -> str | None:
    """Describe an entry that is neither a folder nor a regular file, directly or through links; else return None."""
    try:
        if entry.is_file() or entry.is_dir():
            return None
        kind = _KINDS.get(stat.S_IFMT(entry.stat().st_mode), "of an unknown kind")
    except FileNotFoundError:
        kind = "a link whose target is missing" if entry.is_symlink() else "gone since its folder was listed"
    except OSError as error:
        return f"{printable(entry.path)} cannot be examined: {error.strerror}."
    else:
        kind = f"a link to {kind}" if entry.is_symlink() else kind
    return f"{printable(entry.path)} is {kind}: expected a folder or a regular file."


def list_split(
    split: Path, dataset: str, problems: Problems = LOADING
) -> tuple[list[TrackletFolder], list[os.DirEntry[str]]]:
    """List the tracklets of a split that is laid out as ``{identity}/{tracklet}/``.

    Faults are an entry that is neither a folder nor a file with a suffix; an identity that is not a number, beyond 64
    bits, there twice, or without tracklets; and a tracklet name that cannot be written to a ranking file, as those
    separate names by spaces and are UTF-8. Such tracklets are listed nevertheless.

    Returns:
        The tracklets, sorted by pid, then name; and the files with a suffix beside identity and tracklet folders.
    """
    if not split.is_dir():
        raise missing_path_error(split, dataset)
    content = scan_folder(split)
    problems.add("unusable entry", *content.problems)
    ignored_files = content.ignored_files
    pid_of: dict[str, int] = {}  # by path
    path_of: dict[int, str] = {}
    for identity in content.folders:
        path = printable(identity.path)
        if re.fullmatch(r"\d+", identity.name, re.ASCII) is None:
            problems.add("identity folder", f"{path}: an identity folder must be named by a number.")
            continue
        pid = int(identity.name)
        if pid > LARGEST_PID:
            problems.add("identity folder", f"{path}: an identity number must be at most {LARGEST_PID} (64 bits).")
            continue
        if pid in path_of:
            problems.add("identity folder", f"{path} and {path_of[pid]} are the same identity, {pid}.")
        path_of[pid] = path
        pid_of[identity.path] = pid
    tracklets: list[TrackletFolder] = []
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        contents = list(pool.map(scan_folder, pid_of))
    for (path, pid), content in zip(pid_of.items(), contents, strict=True):
        ignored_files += content.ignored_files
        problems.add("unusable entry", *content.problems)
        if not content.folders:
            problems.add("identity folder", f"{printable(path)}: this identity has no tracklet folder.")
        for tracklet in content.folders:
            fault = "" if is_utf8(tracklet.name) else "must be UTF-8"
            if tracklet.name.split() != [tracklet.name]:
                fault = "must not contain spaces, which separate the names in ranking files"
            if fault:
                problems.add("tracklet name", f"{printable(tracklet.path)}: the name of a tracklet folder {fault}.")
            tracklets.append(TrackletFolder(pid, tracklet.name, tracklet.path))
    if not pid_of:
        problems.add("identity folder", f"{printable(split)}: this split has no identity folder.")
    return sorted(tracklets), ignored_files


def is_utf8(name: str) -> bool:
    """Return whether a name from disk is UTF-8; Python shows other bytes as surrogates."""
    return os.fsencode(name) == name.encode(errors="replace")


def frame_order(name: str) -> tuple[object, ...]:
    """Return the key by which the frames of a tracklet are sorted, whatever the data set.

    A number at the end that an F announces, as in ``..E152K7F7528.jpg`` or ``frame_12.png``, comes first; the rest is
    natural order, in which 9 comes before 10.
    """
    match = _FRAME_NUMBER.search(os.path.splitext(name)[0])
    return int(match[1]) if match else -1, natural_key(name)


def last_integer(name: str) -> int:
    """Return the last run of digits in a file name, its suffix excepted; -1 without one."""
    match = _LAST_INTEGER.search(os.path.splitext(name)[0])
    return int(match[1]) if match else -1


def sort_frames(folder: str | Path, names: Iterable[str]) -> tuple[str, ...]:
    """Return paths of frames in their order in time."""
    return tuple(os.path.join(folder, name) for name in sorted(names, key=frame_order))


class WalkedFolder(NamedTuple):
    """A folder below a root."""

    path: str
    place: str  # the same, relative to the root, with ``/``; '.' is the root
    names: list[str]  # files in it, links included, in the order of frames

    @property
    def images(self) -> list[str]:
        """The names of images."""
        return [name for name in self.names if is_image_name(name)]


def walk_folders(root: str | Path) -> tuple[list[WalkedFolder], list[str]]:
    """Walk through a folder of any layout, in natural order.

    Links to folders are followed, but not in a circle. Hidden files and folders are left out. Returns the folder itself
    and all below it; and one sentence for each folder that cannot be listed, innermost folder without images, and link
    that leads nowhere, with its path relative to the root.
    """
    folders: list[WalkedFolder] = []
    problems: list[str] = []
    above: dict[str, frozenset[tuple[int, int]]] = {os.fspath(root): frozenset()}  # device and inode of those above

    def locate(path: str) -> str:
        return os.path.relpath(path, root).replace(os.sep, "/")

    def note_error(error: OSError) -> None:
        problems.append(f"{printable(locate(error.filename))}: it cannot be listed: {error.strerror}.")

    for path, subfolders, names in os.walk(root, onerror=note_error, followlinks=True):
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if identity in above[path]:
            subfolders.clear()
            continue
        subfolders[:] = sorted((name for name in subfolders if not name.startswith(".")), key=natural_key)
        for subfolder in subfolders:
            above[os.path.join(path, subfolder)] = above[path] | {identity}
        visible = sorted((name for name in names if not name.startswith(".")), key=frame_order)
        folder = WalkedFolder(path, locate(path), visible)
        folders.append(folder)
        problems += [
            f"{printable(locate(os.path.join(path, name)))}: this link leads nowhere."
            for name in visible
            if not is_image_name(name) and not os.path.exists(os.path.join(path, name))
        ]
        if not folder.images and not subfolders:
            problems.append(f"{printable(folder.place)}: this folder has no images.")
    return folders, sorted(problems, key=natural_key)
