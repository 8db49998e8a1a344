"""Read tracklets that nobody has labelled, from a folder of any layout or from one still image."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from utils.mistake import MissingFile, Mistake
from utils.unknown import UNKNOWN

from ..tracklet import VIEWS, Tracklet
from .listing import IMAGE_SUFFIXES, is_utf8, printable, walk_folders
from .manifest import pack_tracklets

logger = logging.getLogger(__name__)

MAX_LISTED = 20  # problems that the warning names


def read_unlabelled(root: str | Path, camera: int = UNKNOWN) -> tuple[Tracklet, ...]:
    """Read the tracklets of a folder, in natural order: 2 before 10.

    The root, and every folder below it, is a tracklet if it directly holds frames (``listing.walk_folders``). A
    tracklet's name is its path below the root; the root itself has its own name. Empty folders are left out, with a
    warning. One still image is a tracklet of one frame.

    Returns records without identity (-1), of one camera (-1 if unknown); their paths are absolute.
    """
    path = os.path.abspath(root)
    if os.path.isfile(path) and path.lower().endswith(IMAGE_SUFFIXES):
        frames: dict[str, Sequence[str]] = {os.path.basename(path): (path,)}
    else:
        frames = _list_folders(path) if os.path.isdir(path) else {}
    if not frames:
        kind = "has no frames" if os.path.isdir(path) else "cannot be used" if os.path.exists(path) else "is missing"
        raise MissingFile(
            f"{printable(path)} {kind}: expected a folder with frames ({', '.join(IMAGE_SUFFIXES)}) in it or below it, "
            "or one such image."
        )
    for paths in frames.values():
        if not is_utf8("".join(paths)):  # a file of described tracklets could not hold other names
            raise Mistake(f"{printable(paths[0])}: names of folders and frames must be UTF-8; rename them.")
    logger.info("%d tracklets with %d frames in %s", len(frames), sum(map(len, frames.values())), path)
    return pack_tracklets(
        [Tracklet(name, paths, UNKNOWN, camera, VIEWS[0], altitude=None) for name, paths in frames.items()]
    )


def _list_folders(root: str) -> dict[str, Sequence[str]]:
    """Return the paths of the frames of each folder that holds any, by the name of the tracklet."""
    frames: dict[str, Sequence[str]] = {}
    folders, problems = walk_folders(root)
    for folder in folders:
        if images := folder.images:
            name = os.path.basename(root) if folder.place == "." else folder.place
            if name in frames:
                raise Mistake(f"{root} and {folder.path} would have the same name: move the frames out of {root}.")
            frames[name] = tuple(os.path.join(folder.path, image) for image in images)
    if problems and frames:
        listed = " ".join(problems[:MAX_LISTED]) + (" ..." if len(problems) > MAX_LISTED else "")
        logger.warning("%s: left out (%d): %s", root, len(problems), listed)
    return frames
