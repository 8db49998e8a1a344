"""The nearest gallery entries of a query."""

import numpy as np


def find_nearest(distances: np.ndarray, length: int) -> np.ndarray:
    """Return the indices of the smallest distances, (length,) or all if there are fewer, nearest first.

    Equal distances keep the order of the gallery. Only the distances up to the last one wanted are sorted.
    """
    if length >= len(distances):
        return np.argsort(distances, kind="stable")
    candidates = np.flatnonzero(distances <= np.partition(distances, length - 1)[length - 1])
    return candidates[np.argsort(distances[candidates], kind="stable")[:length]]
