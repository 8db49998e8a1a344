"""benchmarks/ranking.py: the usual code that it measures against ranks alike, and it runs (tests measure no time)."""

import numpy as np
import pytest
import torch

from benchmarks.ranking import Data, compute_distances_usually, rank_usually, run
from utils.distances import squared_distances
from utils.metrics import evaluate_ranking

SMALL = ["--queries", "30", "--gallery", "90", "--width", "64", "--repeats", "1"]


def test_the_peer_finds_the_same_scores():
    data = Data(30, 90, 64, 5, torch.device("cpu"))
    cmc, average = rank_usually(compute_distances_usually(data.query.numpy(), data.gallery.numpy()), *data.ids)
    result = evaluate_ranking(squared_distances(data.query, data.gallery), *data.ids)
    assert 0.05 < result.mAP < 0.95
    assert result.mAP == pytest.approx(average)
    np.testing.assert_allclose(result.cmc, cmc)


def test_every_step_is_timed():
    figures = run(SMALL)
    steps = ("product", "distances", "ranking", "both", "usual distances", "usual ranking")
    assert all(figures[step] > 0 and figures[f"cpu {step}"] > 0 for step in steps)


def test_a_part_of_the_queries_stands_for_all():
    figures = run([*SMALL, "--measured_queries", "10"])
    assert figures["all"] == pytest.approx(3 * figures["both"])
