"""Reads tracklets that nobody has labelled, from a folder of any layout or from one still image."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from utils.mistake import MissingFile, Mistake
from utils.text import natural_key
from utils.unknown import UNKNOWN

from ..tracklet import VIEWS, Tracklet
from .listing import IMAGE_SUFFIXES, is_image_name, printable
from .manifest import pack_tracklets

logger = logging.getLogger(__name__)

MAX_LISTED = 20  # empty folders that the warning names
_EXPECTED = f"a folder with frames ({', '.join(IMAGE_SUFFIXES)}) in it or below it, or one such image"


def read_unlabelled(root: str | Path, camera: int = UNKNOWN) -> tuple[Tracklet, ...]:
    """Read the tracklets of a folder, in natural order: 2 before 10.

    The root, and every folder below it, is a tracklet if it directly holds frames. A tracklet's name is its path below
    the root; the root itself has its own name. Links to folders are followed, but not in a circle. Hidden files and
    folders are left out; so are empty folders, with a warning. One still image is a tracklet of one frame.

    Args:
        root: The folder, or an image.
        camera: Camera of all tracklets, as annotated; -1 if unknown.
    Returns:
        Records without identity (-1); their paths are absolute.
    Raises:
        FileNotFoundError: If there is no such folder or image, or no frame in it.
        ValueError: If a name is not UTF-8, or two tracklets have one name.
    """
    path = os.path.abspath(root)
    if os.path.isfile(path) and path.lower().endswith(IMAGE_SUFFIXES):
        frames: dict[str, Sequence[str]] = {os.path.basename(path): (path,)}
    else:
        frames = _list_folders(path) if os.path.isdir(path) else {}
    if not frames:
        kind = "has no frames" if os.path.isdir(path) else "cannot be used" if os.path.exists(path) else "is missing"
        raise MissingFile(f"{printable(path)} {kind}: expected {_EXPECTED}.")
    for paths in frames.values():
        _check_encoding(paths)
    logger.info("%d tracklets with %d frames in %s", len(frames), sum(map(len, frames.values())), path)
    return pack_tracklets(
        [Tracklet(name, paths, UNKNOWN, camera, VIEWS[0], altitude=None) for name, paths in frames.items()]
    )


def _list_folders(root: str) -> dict[str, Sequence[str]]:
    """Return the paths of the frames of each folder that holds any, by the name of the tracklet."""
    frames: dict[str, Sequence[str]] = {}
    empty: list[str] = []
    above: dict[str, frozenset[tuple[int, int]]] = {root: frozenset()}  # device and inode of the folders above
    for folder, subfolders, names in os.walk(root, onerror=_warn_of_error, followlinks=True):
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in above[folder]:  # a link to a folder above
            subfolders.clear()
            continue
        subfolders[:] = sorted((name for name in subfolders if not name.startswith(".")), key=natural_key)
        for subfolder in subfolders:
            above[os.path.join(folder, subfolder)] = above[folder] | {identity}
        if images := [name for name in names if is_image_name(name)]:
            name = os.path.basename(root) if folder == root else os.path.relpath(folder, root)
            if name in frames:
                raise Mistake(f"{root} and {folder} would have the same name: move the frames out of {root}.")
            frames[name] = tuple(os.path.join(folder, image) for image in sorted(images, key=natural_key))
        elif not subfolders:
            empty.append(printable(folder))
    if empty and frames:
        listed = ", ".join(empty[:MAX_LISTED]) + (", ..." if len(empty) > MAX_LISTED else "")
        logger.warning("%d folders hold no frames and are left out: %s", len(empty), listed)
    return frames


def _warn_of_error(error: OSError) -> None:
    logger.warning("%s cannot be listed (%s) and is left out.", printable(error.filename), error.strerror)


def _check_encoding(paths: Sequence[str]) -> None:
    """Refuse names that a file of described tracklets could not hold."""
    try:
        "".join(paths).encode()
    except UnicodeEncodeError:
        raise Mistake(f"{printable(paths[0])}: names of folders and frames must be UTF-8; rename them.") from None
