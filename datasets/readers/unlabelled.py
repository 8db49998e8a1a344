"""Walks through folders of any layout, and reads tracklets that nobody has labelled from them."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from utils.mistake import MissingFile, Mistake
from utils.text import natural_key
from utils.unknown import UNKNOWN

from ..problems import printable
from ..tracklet import VIEWS, Tracklet
from .manifest import pack_tracklets
from .names import IMAGE_SUFFIXES, frame_order, is_hidden, is_image_name, is_utf8

logger = logging.getLogger(__name__)

MAX_LISTED = 20  # problems that the warning names


class WalkedFolder(NamedTuple):
    """A folder below a root."""

    path: str
    place: str  # the same, relative to the root, with ``/``; '.' is the root
    names: list[str]  # files in it, links included, in the order of frames
    is_innermost: bool


def walk_folders(root: str | Path) -> tuple[list[WalkedFolder], list[str]]:
    """Return a folder of any layout and all below it, in natural order, and sentences about what cannot be read.

    Links to folders are followed, but not in a circle. Hidden files and folders are left out.
    """
    folders: list[WalkedFolder] = []
    problems: list[str] = []

    def locate(path: str) -> str:
        return os.path.relpath(path, root).replace(os.sep, "/")

    def note_error(error: OSError) -> None:
        problems.append(f"{printable(locate(error.filename))}: it cannot be listed: {error.strerror}.")

    for path, subfolders, names in os.walk(root, onerror=note_error, followlinks=True):
        if os.path.islink(path) and any(parent.samefile(path) for parent in Path(path).parents):
            subfolders.clear()
            continue
        subfolders[:] = sorted((name for name in subfolders if not is_hidden(name)), key=natural_key)
        names = sorted((name for name in names if not is_hidden(name)), key=frame_order)
        folders.append(WalkedFolder(path, locate(path), names, not subfolders))
        problems += [
            f"{printable(locate(os.path.join(path, name)))}: this link leads nowhere."
            for name in names
            if not is_image_name(name) and not os.path.exists(os.path.join(path, name))
        ]
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
    return {place: names for place, names in images.items() if names}, sorted(problems, key=natural_key)


def read_unlabelled(root: str | Path, camera: int = UNKNOWN) -> tuple[Tracklet, ...]:
    """Read the tracklets of a folder, in natural order: 2 before 10.

    The root, and every folder below it, is a tracklet if it directly holds frames. A tracklet's name is its path below
    the root; the root itself has its own name. Empty folders are left out, with a warning. One still image is a
    tracklet of one frame. The records have no identity (-1) and one camera (-1 if unknown); their paths are absolute.
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
            listed = " ".join(problems[:MAX_LISTED]) + (" ..." if len(problems) > MAX_LISTED else "")
            logger.warning("%s: left out (%d): %s", path, len(problems), listed)
    if not frames:
        kind = "has no frames" if os.path.isdir(path) else "cannot be used" if os.path.exists(path) else "is missing"
        expected = f"a folder with frames ({', '.join(IMAGE_SUFFIXES)}) in it or below it, or one such image"
        raise MissingFile(f"{printable(path)} {kind}: expected {expected}.")
    for paths in frames.values():
        if not is_utf8("".join(paths)):  # a feature file could not hold other names
            raise Mistake(f"{printable(paths[0])}: names of folders and frames must be UTF-8; rename them.")
    logger.info("%d tracklets with %d frames in %s", len(frames), sum(map(len, frames.values())), path)
    return pack_tracklets(
        [Tracklet(name, paths, UNKNOWN, camera, VIEWS[0], altitude=None) for name, paths in frames.items()]
    )
