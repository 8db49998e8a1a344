"""Estimate how sure a mean over queries is: intervals and paired tests that resample people. Arrays in, numbers out.

Queries of one person resemble each other, so an interval that resamples queries is too narrow. Here a person is drawn
or left out with all of their queries (cluster bootstrap: Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8).

Axes: N queries, M measures, P people, R resamples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
# Elements of (R, P) drawn at a time: about 100 MiB of temporaries.
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class PairedDifference:
    """How two results over the same queries differ: the second minus the first."""

    difference: float  # of the means
    low: float  # ends of its 95 % interval
    high: float
    # Probability of a difference at least as large, in either direction, if it were chance which of the two results of
    # a person comes first; at least 1 / (R + 1).
    p_value: float


def bootstrap_interval(
    values: np.ndarray, pids: np.ndarray, num_resamples: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the 95 % interval of the mean over queries by drawing people with replacement.

    ``values`` are one number per query, (N,), or several, (N, M), which see the same draws; ``pids`` says whose query
    each is. Returns the low and the high end, each () or (M,): percentiles of the resampled means.
    """
    sums, counts = _sum_by_person(values, pids)
    rng = np.random.default_rng(seed)
    means = []
    for size in _blocks(num_resamples, len(counts)):
        drawn = rng.integers(len(counts), size=(size, len(counts))) + len(counts) * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=drawn.size)  # how often each person was drawn
        weights = times.reshape(drawn.shape).astype(np.float64)  # (R, P)
        totals = weights @ counts
        means.append(weights @ sums / (totals if sums.ndim == 1 else totals[:, None]))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high


def mean_over_people(values: Mapping[str, np.ndarray], pids: np.ndarray) -> dict[str, float]:
    """Return the mean of each measure over queries, (N,), as ``NAME``, its interval as ``NAME_low`` and ``NAME_high``.

    ``pids`` says whose query each is; ``num_people`` counts them.
    """
    low, high = bootstrap_interval(np.stack(list(values.values()), axis=1), pids)
    row: dict[str, float] = {"num_people": len(np.unique(pids))}
    for index, (name, value) in enumerate(values.items()):
        row |= {name: float(value.mean()), f"{name}_low": float(low[index]), f"{name}_high": float(high[index])}
    return row


def compare_paired(
    first: np.ndarray, second: np.ndarray, pids: np.ndarray, num_resamples: int = 10_000, seed: int = 0
) -> PairedDifference:
    """Compare two results over the same queries, (N,) in one order, by a sign-flip test over people.

    ``pids`` says whose query each is; there are R resamples of the interval and of the test.
    """
    differences = second - first
    low, high = bootstrap_interval(differences, pids, num_resamples, seed)
    sums, _ = _sum_by_person(differences, pids)
    observed = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()  # flips that undo one another are ties, despite rounding
    rng = np.random.default_rng(seed)
    extreme = 0
    for size in _blocks(num_resamples, len(sums)):
        signs = 2.0 * rng.integers(2, size=(size, len(sums))) - 1
        extreme += int((np.abs(signs @ sums) >= observed).sum())
    return PairedDifference(float(differences.mean()), float(low), float(high), (1 + extreme) / (1 + num_resamples))


def _sum_by_person(values: np.ndarray, pids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the values of each person, (P,) or (P, M), and count their queries, (P,)."""
    _, people, counts = np.unique(pids, return_inverse=True, return_counts=True)
    by_person = values[np.argsort(people, kind="stable")]
    starts = np.cumsum(counts) - counts
    return np.add.reduceat(by_person.astype(np.float64), starts, axis=0), counts.astype(np.float64)


def _blocks(num_resamples: int, num_people: int) -> Iterator[int]:
    """Yield numbers of resamples that add up to all and fit into memory."""
    step = max(1, _BLOCK_ELEMENTS // num_people)
    for start in range(0, num_resamples, step):
        yield min(step, num_resamples - start)
