"""Find the distance threshold that says "the same person", and the errors that it makes. Arrays in, numbers out.

A ranking always has a first entry; a threshold says when even that one is nobody. A pair is accepted if its distance is
at most the threshold. Only thresholds at the distance of a positive pair matter: between two of them nothing is gained,
and more negative pairs are accepted. So the positives are sorted, and the negatives are only counted.

Axes: Q queries, G galleries, P positive pairs.
"""

from dataclasses import dataclass

import numpy as np
import torch

from .distances import Distances, sort_rows

_PART_ELEMENTS = 1 << 22  # distances sorted at a time


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold achieves."""

    threshold: float | None  # largest distance that is accepted; None if no pair may be accepted
    true_positive_rate: float  # share of the positive pairs that are accepted, 0..1
    false_positive_rate: float  # share of the negative pairs that are accepted, 0..1

    @property
    def error_rate(self) -> float:
        """The share of positives missed, or that of negatives accepted, whichever is larger, 0..1."""
        return max(1 - self.true_positive_rate, self.false_positive_rate)


@dataclass(frozen=True, eq=False)
class Verification:
    """The exact ROC curve: one operating point for each positive pair, of which there is at least one."""

    thresholds: np.ndarray  # distances of the positive pairs, ascending, (P,)
    false_positives: np.ndarray  # negative pairs at or below each threshold, (P,), int64
    num_negatives: int

    def at_false_positive_rate(self, rate: float) -> OperatingPoint:
        """Return the point with the highest true positive rate whose false positive rate is at most ``rate``."""
        return self._point(int((self._false_positive_rates() <= rate).sum()))

    def equal_error(self) -> OperatingPoint:
        """Return the point with the smallest ``error_rate``, which is the equal error rate."""
        missed = 1 - np.arange(1, len(self.thresholds) + 1) / len(self.thresholds)
        return self._point(int(np.maximum(missed, self._false_positive_rates()).argmin()) + 1)

    def _false_positive_rates(self) -> np.ndarray:
        return self.false_positives / max(self.num_negatives, 1)

    def _point(self, num_accepted: int) -> OperatingPoint:
        """Return the point that accepts this many of the positive pairs."""
        if num_accepted == 0:
            return OperatingPoint(None, 0.0, 0.0)
        last = num_accepted - 1
        rates = num_accepted / len(self.thresholds), float(self._false_positive_rates()[last])
        return OperatingPoint(float(self.thresholds[last]), *rates)


def count_negatives(
    distances: Distances, limits: np.ndarray, q_pids: np.ndarray, g_pids: np.ndarray
) -> tuple[np.ndarray, int]:
    """Count the negative pairs at or below each limit, (n,) in any order, and all of them.

    No protocol leaves a negative pair out, and queries without a true match have negative pairs, too.
    """
    counts, total = np.zeros(len(limits), dtype=np.int64), 0
    step = max(1, _PART_ELEMENTS // max(distances.shape[1], 1))
    for rows, block in distances.blocks():
        queries, gallery, edges = (
            torch.as_tensor(each, device=block.device) for each in (q_pids[rows], g_pids, limits)
        )
        for part, pids in zip(block.split(step), queries.split(step), strict=True):
            negatives = sort_rows(part[pids.unsqueeze(1) != gallery])
            counts += torch.searchsorted(negatives.double(), edges.double(), right=True).cpu().numpy()
            total += len(negatives)
    return counts, total
