"""Read tracklets that nobody has labelled, from a folder of any layout or from one still image."""

from pathlib import Path

from utils.unknown import UNKNOWN

from ..tracklet import Tracklet
from .listing import find_tracklets
from .manifest import pack_tracklets


def read_unlabelled(root: str | Path, camera: int = UNKNOWN, view: str = "") -> tuple[Tracklet, ...]:
    """Return the records of ``find_tracklets``, without identities (-1)."""
    found = find_tracklets(root).items()
    return pack_tracklets([Tracklet(name, paths, UNKNOWN, camera, view, altitude=None) for name, paths in found])
