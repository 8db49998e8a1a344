"""Distances with a penalty added, block by block."""

from collections.abc import Iterator

from utils.distances import DistanceBlock, Distances

from ..attributes.masks import Penalty


class MaskedDistances(Distances):
    """Distances plus penalties; the sums, in float32, count as exact.

    Args:
        distances: (Q, G).
        penalty: (Q, G).
    """

    def __init__(self, distances: Distances, penalty: Penalty) -> None:
        self.shape = distances.shape
        self._distances, self._penalty = distances, penalty

    def blocks(self) -> Iterator[DistanceBlock]:
        """Compute all rows, in order."""
        for rows, block in self._distances.values():
            yield DistanceBlock(rows, block.add_(self._penalty.rows(rows).to(block)), None)

    def part(self, rows: slice) -> "MaskedDistances":
        """Return the distances of some queries."""
        return MaskedDistances(self._distances.part(rows), self._penalty.part(rows))
