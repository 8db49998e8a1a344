"""benchmarks/ranking.py: the usual code that it measures against finds the same, and it runs."""

import numpy as np
import pytest
import torch

from benchmarks.ranking import compute_distances_usually, main, make_data, rank_usually
from utils.metrics import evaluate_ranking

SMALL = ["--queries", "40", "--gallery", "90", "--width", "64", "--repeats", "1", "--device", "auto"]


def test_the_peer_finds_the_same_scores():
    query, gallery, ids = make_data(30, 90, 64, torch.device("cpu"))
    distmat = compute_distances_usually(query.numpy(), gallery.numpy())
    cmc, average = rank_usually(distmat, *ids)
    result = evaluate_ranking(distmat, *ids)
    assert 0.05 < result.mAP < 0.95
    assert result.mAP == pytest.approx(average)
    np.testing.assert_allclose(result.cmc, cmc)


def test_every_step_is_timed():
    figures = main(SMALL)
    names = ("distances and ranks", "report", "usual distances and ranks", "times as fast")
    assert min(figures[name] for name in names) > 0
    assert "usual distances and ranks" not in main([*SMALL, "--without_peer"])


def test_re_ranking_finds_what_the_peer_finds():
    assert main([*SMALL, "--re_rank"])["difference"] < 5e-7
