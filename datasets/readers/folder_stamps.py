"""Stamps of folders, by which a later run sees that a folder has changed since it was listed."""

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .listing import NUM_THREADS

UNSETTLED = -1  # replaces the change time of a folder that may change again without a new time; no real time equals it


def stamp_folders(paths: Sequence[str], settled_before: int | None = None) -> np.ndarray:
    """Return the change time and modification time (ns) and the size of each folder, (n, 3), int64.

    Links are followed. A folder that is missing, or cannot be examined, has zeros; listing it raises the error.

    Args:
        paths: Folders, or links to anything.
        settled_before: A change time or modification time (ns) later than this replaces the change time by
            ``UNSETTLED``; None keeps all times.
    """
    result = np.zeros((len(paths), 3), dtype=np.int64)

    def stamp_range(start: int, stop: int) -> None:
        for number in range(start, stop):
            with contextlib.suppress(OSError):
                status = os.stat(paths[number])
                result[number] = status.st_ctime_ns, status.st_mtime_ns, status.st_size

    bounds = np.linspace(0, len(paths), NUM_THREADS + 1).astype(int).tolist()
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        list(pool.map(stamp_range, bounds[:-1], bounds[1:]))
    if settled_before is not None:
        result[result[:, :2].max(axis=1) > settled_before, 0] = UNSETTLED
    return result
