"""Distances with a penalty added, block by block."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from datasets import Tracklet
from utils.distances import DistanceBlock, Distances

# Returns the penalties of some queries, (q, G), float32.
Penalty = Callable[[Sequence[Tracklet]], np.ndarray]


class MaskedDistances(Distances):
    """Distances plus penalties; the sums, in float32, count as exact.

    Args:
        distances: (Q, G).
        query: The Q tracklets.
        penalty: Called with the queries of a block.
    """

    def __init__(self, distances: Distances, query: Sequence[Tracklet], penalty: Penalty) -> None:
        self.shape = distances.shape
        self._distances, self._query, self._penalty = distances, query, penalty

    def blocks(self) -> Iterator[DistanceBlock]:
        """Compute all rows, in order."""
        for rows, block in self._distances.values():
            yield DistanceBlock(rows, block + torch.from_numpy(self._penalty(self._query[rows])).to(block), None)

    def part(self, rows: slice) -> "MaskedDistances":
        """Return the distances of some queries."""
        return MaskedDistances(self._distances.part(rows), self._query[rows], self._penalty)
