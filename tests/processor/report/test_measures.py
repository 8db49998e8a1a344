"""Measures query by query."""

import numpy as np
import pytest

from processor.report.measures import MEASURES, mean_measures, measure_intervals, measures_by_query
from utils.metrics import PROTOCOLS, evaluate_ranking


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
def test_the_mean_over_queries_is_the_measure(protocol):
    rng = np.random.default_rng(0)
    q_pids, g_pids = rng.integers(9, size=40), rng.integers(7, size=60)  # people 7 and 8 have no match
    q_camids, g_camids = rng.integers(2, size=40), rng.integers(2, size=60)
    ranking = evaluate_ranking(rng.random((40, 60)), q_pids, g_pids, q_camids, g_camids, protocol=protocol)
    values = measures_by_query(ranking.first_ranks, ranking.average_precisions, ranking.inverse_penalties)
    means = mean_measures(ranking)
    assert tuple(values) == tuple(means) == MEASURES
    assert {name: value.mean() for name, value in values.items()} == pytest.approx(means)
    for name, (low, high) in measure_intervals(ranking, q_pids[ranking.valid_queries]).items():
        assert 0 <= low <= means[name] <= high <= 1
