"""Verification: are two tracklets of one person, yes or no, by a threshold on their distance? Arrays in, numbers out.

A ranking always has a first entry; a threshold says when even that one is nobody. A pair is accepted if its distance is
at most the threshold. Only thresholds at the distance of a positive pair matter: between two of them nothing is gained,
and more negative pairs are accepted. So the positives are sorted, and the negatives are only counted.

Axes: Q queries, G galleries, P positive pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .distances import Distances
from .metrics import CROSS_CAMERA, Protocol

# Distances looked at a time: about 100 MiB of temporaries.
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold achieves.

    Attributes:
        threshold: Largest distance that is accepted; None if no pair may be accepted.
        true_positive_rate: Share of the positive pairs that are accepted, 0..1.
        false_positive_rate: Share of the negative pairs that are accepted, 0..1.
    """

    threshold: float | None
    true_positive_rate: float
    false_positive_rate: float

    @property
    def error_rate(self) -> float:
        """The larger of the two error rates, 0..1: the share of positives missed, or that of negatives accepted."""
        return max(1 - self.true_positive_rate, self.false_positive_rate)


@dataclass(frozen=True, eq=False)
class Verification:
    """The exact ROC curve: one operating point for each positive pair.

    Attributes:
        thresholds: Distances of the positive pairs in ascending order, (P,).
        false_positives: Number of negative pairs at or below each threshold, (P,), int64.
        num_negatives: Number of negative pairs.
    """

    thresholds: np.ndarray
    false_positives: np.ndarray
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
        return OperatingPoint(
            float(self.thresholds[num_accepted - 1]),
            num_accepted / len(self.thresholds),
            float(self._false_positive_rates()[num_accepted - 1]),
        )


def verify(
    distances: Distances,
    q_pids: np.ndarray,
    g_pids: np.ndarray,
    q_camids: np.ndarray,
    g_camids: np.ndarray,
    protocol: Protocol = CROSS_CAMERA,
) -> Verification:
    """Compute the ROC curve of all query-gallery pairs that the protocol does not leave out.

    Queries without a true match take part: their pairs are negative.

    Args:
        distances: (Q, G); smaller is more alike; without NaN. They are computed twice, block by block.
        q_pids, g_pids: Identities, (Q,) and (G,).
        q_camids, g_camids: Cameras, likewise; -1 is unknown.
        protocol: Says which pairs are left out.
    Raises:
        ValueError: If there is no positive pair.
    """
    ids = (q_pids, g_pids, q_camids, g_camids)
    positives = [_select(part, ids, protocol, rows, positive=True) for rows, part in _parts(distances)]
    thresholds = np.sort(np.concatenate(positives)) if positives else np.empty(0)
    if not len(thresholds):
        raise ValueError("No query-gallery pair is of one person: there is nothing to verify.")
    false_positives = np.zeros(len(thresholds), dtype=np.int64)
    num_negatives = 0
    for rows, part in _parts(distances):
        negatives = np.sort(_select(part, ids, protocol, rows, positive=False))
        false_positives += np.searchsorted(negatives, thresholds, side="right")
        num_negatives += len(negatives)
    return Verification(thresholds, false_positives, num_negatives)


def _parts(distances: Distances) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the distances of a few queries at a time, with the rows that they are."""
    step = max(1, _BLOCK_ELEMENTS // max(distances.shape[1], 1))
    for rows, block in distances.values():
        for start in range(0, len(block), step):
            part = block[start : start + step].cpu().numpy()
            yield slice(rows.start + start, rows.start + start + len(part)), part


def _select(
    part: np.ndarray, ids: tuple[np.ndarray, ...], protocol: Protocol, rows: slice, positive: bool
) -> np.ndarray:
    """Return the distances of the positive, or of the negative, pairs of some queries."""
    q_pids, g_pids, q_camids, g_camids = ids
    kept = ~protocol.leaves_out(q_pids[rows, None], q_camids[rows, None], g_pids, g_camids)
    return part[kept & ((q_pids[rows, None] == g_pids) == positive)]
