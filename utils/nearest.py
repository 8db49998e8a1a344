"""The nearest gallery entries of every query, found block by block."""

from collections.abc import Iterator

import numpy as np

from .distances import Distances


def iterate_nearest(distances: Distances, length: int) -> Iterator[np.ndarray]:
    """Yield for each query the indices of its nearest gallery entries, as ``find_nearest`` returns them.

    Args:
        distances: (Q, G).
        length: How many, at least 1; a gallery that is smaller is listed whole.
    """
    for row in distances.iterate_rows():
        yield find_nearest(row, length)


def find_nearest(distances: np.ndarray, length: int) -> np.ndarray:
    """Return the indices of the smallest distances, (length,) or all if there are fewer, nearest first.

    Equal distances keep the order of the gallery. Only the distances up to the last one wanted are sorted.
    """
    if length >= len(distances):
        return np.argsort(distances, kind="stable")
    candidates = np.flatnonzero(distances <= np.partition(distances, length - 1)[length - 1])
    return candidates[np.argsort(distances[candidates], kind="stable")[:length]]
