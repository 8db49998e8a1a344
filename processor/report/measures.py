"""The measures of a ranking: their means, and their values for each query, which intervals and comparisons need."""

import numpy as np

from utils.bootstrap import bootstrap_interval
from utils.metrics import RankingResult

REPORTED_RANKS = (1, 5, 10, 20)
MEASURES = (*(f"R{rank}" for rank in REPORTED_RANKS), "mAP", "mINP")


def mean_measures(ranking: RankingResult) -> dict[str, float]:
    """Return every measure, in fractions of 1."""
    cmc = {f"R{rank}": float(ranking.cmc[rank - 1]) for rank in REPORTED_RANKS}
    return {**cmc, "mAP": float(ranking.mAP), "mINP": float(ranking.mINP)}


def measures_by_query(
    first_ranks: np.ndarray, average_precisions: np.ndarray, inverse_penalties: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the value of every measure for each query, (V,); the mean over queries is the measure.

    Args:
        first_ranks: Rank of the first true match, from 1, (V,); infinity without a true match.
        average_precisions, inverse_penalties: 0..1, (V,).
    """
    cmc = {f"R{rank}": (first_ranks <= rank).astype(float) for rank in REPORTED_RANKS}
    return {**cmc, "mAP": average_precisions, "mINP": inverse_penalties}


def measure_intervals(ranking: RankingResult, pids: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return the ends of each measure's 95 % interval over people; ``pids`` are those of the valid queries, (V,)."""
    values = measures_by_query(ranking.first_ranks, ranking.average_precisions, ranking.inverse_penalties)
    low, high = bootstrap_interval(np.stack(list(values.values()), axis=1), pids)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(values)}
