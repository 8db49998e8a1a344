import numpy as np
import pytest

from utils import verification
from utils.distances import given_distances
from utils.metrics import ALL_CAMERAS, CROSS_CAMERA
from utils.verification import Verification, count_negatives


def problem(seed=0, decimals=8):
    """Distances of 30 queries and 40 galleries; people 6 and 7 have no match; positives are nearer on average."""
    rng = np.random.default_rng(seed)
    q_pids, g_pids = rng.integers(8, size=30), rng.integers(6, size=40)
    distmat = rng.random((30, 40)) - 0.3 * (q_pids[:, None] == g_pids)
    return distmat.round(decimals), q_pids, g_pids, rng.integers(3, size=30), rng.integers(-1, 3, size=40)


def pairs_of(distmat, q_pids, g_pids, q_camids, g_camids, protocol):
    """Distances of positive and negative pairs, one pair at a time."""
    positives, negatives = [], []
    for i, row in enumerate(distmat):
        for j, distance in enumerate(row):
            same = q_pids[i] == g_pids[j]
            if not (protocol.leave_out_same_camera and same and q_camids[i] == g_camids[j]):
                (positives if same else negatives).append(distance)
    return np.array(positives), np.array(negatives)


def verify(distmat, q_pids, g_pids, q_camids, g_camids, protocol=CROSS_CAMERA):
    thresholds = np.sort(pairs_of(distmat, q_pids, g_pids, q_camids, g_camids, protocol)[0])
    return Verification(thresholds, *count_negatives(given_distances(distmat), thresholds, q_pids, g_pids))


@pytest.mark.parametrize("protocol", [CROSS_CAMERA, ALL_CAMERAS], ids=str)
@pytest.mark.parametrize("decimals", [8, 1], ids=["distinct distances", "many ties"])
@pytest.mark.parametrize("block", [1 << 22, 100], ids=["one block", "blocks"])
def test_points_agree_with_every_threshold_tried(protocol, decimals, block, monkeypatch):
    monkeypatch.setattr(verification, "_PART_ELEMENTS", block)
    ids = problem(decimals=decimals)
    positives, negatives = pairs_of(*ids, protocol)
    result = verify(*ids, protocol)
    assert (len(result.thresholds), result.num_negatives) == (len(positives), len(negatives))
    tried = [
        (float((positives <= threshold).mean()), float((negatives <= threshold).mean()), threshold)
        for threshold in (-np.inf, *np.unique(ids[0]))
    ]
    for rate in (0.5, 0.1, 1e-2, 1e-3):
        point = result.at_false_positive_rate(rate)
        best = max(hit for hit, false, _ in tried if false <= rate)
        assert point.true_positive_rate == best
        # The smallest of the thresholds that reach it.
        smallest = min(threshold for hit, _, threshold in tried if hit == best)
        assert point.threshold == (None if smallest == -np.inf else smallest)
        assert point.false_positive_rate == float((negatives <= smallest).mean()) <= rate
    point = result.equal_error()
    rates = (positives > point.threshold).mean(), (negatives <= point.threshold).mean()
    assert point.error_rate == pytest.approx(min(max(1 - hit, false) for hit, false, _ in tried))
    assert point.error_rate == pytest.approx(max(rates))


def test_perfect_and_hopeless_distances():
    perfect = Verification(np.array([0.1, 0.9]), np.zeros(2, dtype=int), 0)
    assert perfect.at_false_positive_rate(0).true_positive_rate == 1
    assert (perfect.equal_error().error_rate, perfect.equal_error().threshold) == (0, 0.9)
    hopeless = Verification(np.ones(2), np.full(2, 2), 2).at_false_positive_rate(0.4)
    assert (hopeless.threshold, hopeless.true_positive_rate, hopeless.false_positive_rate) == (None, 0, 0)
