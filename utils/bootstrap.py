"""Estimate how sure a mean over queries is: intervals and paired tests that resample people. Arrays in, numbers out.

Queries of one person resemble each other, so an interval that resamples queries is too narrow. Here a person is drawn
or left out with all of their queries (cluster bootstrap: Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8).

Axes: N queries, M measures, P people, R resamples, S seeds.
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
    low: float  # ends of the 95 % interval: the differences whose own p is at least 0.05; infinite if all are
    high: float
    p_value: float  # at least 1 / (R + 1); below 0.05 if, and only if, the interval excludes 0
    by_seed: tuple[float, ...]  # the difference of each pair of runs


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
    """Return the mean of each measure over queries, (N,), its interval as NAME_low and NAME_high, and 'num_people'."""
    low, high = bootstrap_interval(np.stack(list(values.values()), axis=1), pids)
    row: dict[str, float] = {"num_people": len(np.unique(pids))}
    for index, (name, value) in enumerate(values.items()):
        row |= {name: float(value.mean()), f"{name}_low": float(low[index]), f"{name}_high": float(high[index])}
    return row


def compare_paired(
    first: np.ndarray, second: np.ndarray, pids: np.ndarray, num_resamples: int = 9_999, seed: int = 0
) -> PairedDifference:
    """Compare two results over the same queries, (N,), or S pairs of them, (S, N), one for each seed of training.

    ``pids`` says whose query each is. Whether the true difference could be d is tested by a wild cluster bootstrap with
    the null imposed (Cameron, Gelbach and Miller, "Bootstrap-Based Improvements for Inference with Clustered Errors",
    2008): what people, averaged over the seeds, differ from d changes its sign at random. The seeds are too few to be
    drawn: their share is added as Student's t, see ``_spread_of_seeds``. Each resample is as extreme as what was
    observed for the d of one range, and these ranges decide on both interval and p.
    """
    sums, counts = _sum_by_person(np.atleast_2d(second - first).T, pids)  # (P, S), (P,)
    num_people, num_seeds = sums.shape
    size, by_seed, means = counts.sum(), sums.sum(axis=0) / counts.sum(), sums.mean(axis=1)
    spread = size * _spread_of_seeds(sums, counts)
    rng = np.random.default_rng(seed)
    ranges = []
    for block in _blocks(num_resamples, num_people):
        signs = 2.0 * rng.integers(2, size=(block, num_people)) - 1
        drawn = signs @ means + spread * rng.standard_t(max(num_seeds - 1, 1), block)
        weights = signs @ counts
        # |drawn - d weights| >= |total - d size| between these two d; flips that undo one another are ties.
        numerators = np.stack([means.sum() - drawn, means.sum() + drawn])
        numerators[np.abs(numerators) < 1e-12 * np.abs(means).sum()] = 0
        with np.errstate(divide="ignore", invalid="ignore"):
            ranges.append(np.sort(numerators / np.stack([size - weights, size + weights]), axis=0))
    lows, highs = np.concatenate(ranges, axis=1)
    everything = np.isnan(highs)  # 0 / 0: as extreme for every d
    lows, highs = np.sort(np.where(everything, -np.inf, lows)), np.sort(np.where(everything, np.inf, highs))
    p_value = (1 + int(min((lows <= 0).sum(), (highs >= 0).sum()))) / (1 + num_resamples)
    last = round((1 - CONFIDENCE) * (num_resamples + 1)) - 2  # with so many others as extreme, p is below 0.05
    ends = float(lows[last]), float(highs[-1 - last])
    return PairedDifference(float(by_seed.mean()), *ends, p_value, tuple(by_seed.tolist()))


def _spread_of_seeds(sums: np.ndarray, counts: np.ndarray) -> float:
    """Estimate how far the mean over S seeds moves as seeds move all people together; ``sums`` are (P, S).

    It is the standard deviation that the seeds' means show beyond what people's own changes between seeds explain.
    """
    num_people, num_seeds = sums.shape
    if num_seeds == 1:
        return 0.0
    shifts = sums.sum(axis=0) / counts.sum() - sums.mean() * num_people / counts.sum()
    own = sums - sums.mean(axis=1, keepdims=True) - counts[:, None] * shifts
    explained = (own**2).sum() / counts.sum() ** 2 * num_people / max(num_people - 1, 1)
    return float(np.sqrt(max((shifts**2).sum() - explained, 0) / (num_seeds * (num_seeds - 1))))


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
