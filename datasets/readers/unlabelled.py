"""Read tracklets that nobody has labelled, from a folder of any layout or from one still image."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from utils.mistake import MissingFile, Mistake
from utils.unknown import UNKNOWN

from ..problems import printable
from ..tracklet import VIEWS, Tracklet
from .listing import find_images
from .manifest import pack_tracklets
from .names import IMAGE_SUFFIXES, count_kinds, is_utf8

logger = logging.getLogger(__name__)


def read_unlabelled(root: str | Path, camera: int = UNKNOWN) -> tuple[Tracklet, ...]:
    """Read the tracklets of a folder, in natural order, or one still image, a tracklet of one frame.

    The root, and every folder below it, is a tracklet if it directly holds frames. A tracklet's name is its path below
    the root; the root itself has its own name. The records have no identity (-1); their paths are absolute.
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
    return pack_tracklets(
        [Tracklet(name, paths, UNKNOWN, camera, VIEWS[0], altitude=None) for name, paths in frames.items()]
    )
