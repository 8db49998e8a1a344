import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from configs import CHOICES, get_cfg
from utils import distances, metrics
from utils.distances import squared_distances
from utils.metrics import (
    ALL_CAMERAS,
    MARS_OFFICIAL,
    PROTOCOLS,
    evaluate_ranking,
    merge_rankings,
    score_queries,
)
from utils.processes import Processes


def evaluate_features(query, gallery, *args, **options):
    return evaluate_ranking(squared_distances(query, gallery), *args, **options)


def reference(distmat, q_pids, g_pids, q_camids, g_camids, max_rank):
    """The protocol by sorting, one query at a time: with true matches first among equals, with them last, and between.

    Returns:
        For each query with a match its CMC curve, AP, trapezoidal AP, inverse negative penalty and AP@20.
    """
    scores = []
    for i in range(len(q_pids)):
        known = [q_camids[i] != -1 and camid != -1 for camid in g_camids]
        own = [pid == q_pids[i] for pid in g_pids]
        kept = [j for j in range(len(g_pids)) if not (own[j] and known[j] and g_camids[j] == q_camids[i])]
        best = sorted(kept, key=lambda j: (distmat[i][j], not own[j]))
        worst = sorted(kept, key=lambda j: (distmat[i][j], own[j]))
        ranks = [[rank for rank, j in enumerate(order, 1) if own[j]] for order in (best, worst)]
        hits = [(low + high) / 2 for low, high in zip(*ranks, strict=True)]
        if not hits:
            continue
        precisions = [n / rank for n, rank in enumerate(hits, 1)]
        before = [(n - 1) / (rank - 1) if rank > 1 else 1.0 for n, rank in enumerate(hits, 1)]
        curve = [float(hits[0] <= rank) for rank in range(1, max_rank + 1)]
        at_20 = sum(p for p, rank in zip(precisions, hits, strict=True) if rank <= 20) / min(len(hits), 20)
        trapezoidal = (sum(precisions) + sum(before)) / 2 / len(hits)
        scores.append((curve, sum(precisions) / len(hits), trapezoidal, len(hits) / hits[-1], at_20, hits[0]))
    return [list(column) for column in zip(*scores, strict=True)] or [[]] * 6


def test_hand_worked_case():
    distmat = np.array([[0.1, 0.4, 0.2, 0.3], [0.9, 0.1, 0.2, 0.3]])
    # Query 0: entry 0 is left out (same person, same camera); then 2 (other), 3 (match), 1 (match): AP =
    # (1/2+2/3)/2. Query 1: person 2 only at entry 2: entries 1, 2, ...: AP = 1/2.
    result = evaluate_ranking(distmat, [1, 2], [1, 1, 2, 1], [0, 0], [0, 1, 1, 1], max_rank=3)
    np.testing.assert_allclose(result.average_precisions, [7 / 12, 1 / 2])
    np.testing.assert_allclose(result.cmc, [0, 1, 1])
    assert result.mAP == pytest.approx(13 / 24)
    assert result.first_ranks.tolist() == [2, 2]
    np.testing.assert_allclose(result.inverse_penalties, [2 / 3, 1 / 2])
    assert result.mINP == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert result.num_valid_queries == 2


def test_a_rank_among_equal_distances_is_the_mean_of_the_best_and_the_worst():
    # Ranks 1 to 4 are possible: 2.5. Among two matches and two others: 1 to 3 for the first, 2 to 4 for the second.
    one = evaluate_ranking(np.zeros((1, 4)), [1], [2, 3, 1, 4], [0], [1, 1, 1, 1], max_rank=4)
    two = evaluate_ranking(np.zeros((1, 4)), [1], [2, 1, 1, 4], [0], [1, 1, 1, 1], max_rank=4)
    assert (one.first_ranks.tolist(), two.first_ranks.tolist()) == ([2.5], [2.0])
    assert (one.mAP, two.mAP) == pytest.approx((1 / 2.5, (1 / 2 + 2 / 3) / 2))
    assert (one.mINP, two.mINP) == pytest.approx((1 / 2.5, 2 / 3))
    np.testing.assert_array_equal(one.cmc, [0, 0, 1, 1])
    np.testing.assert_array_equal(two.cmc, [0, 1, 1, 1])
    # At infinity, what is left out does not count.
    far = evaluate_ranking(np.full((1, 4), np.inf), [1], [1, 1, 2, 1], [0], [0, 0, 0, 1])
    assert far.first_ranks.tolist() == [1.5]


def test_precision_at_20_of_hand_worked_cases():
    # Matches at ranks 1, 3 and 21; then 21 matches and another person at rank 2.
    few, many = [1, 2, 1, *[2] * 17, 1], [1, 2, *[1] * 20]
    few, many = (evaluate_ranking(np.arange(len(g))[None], [1], g, [0], [1] * len(g)) for g in (few, many))
    assert few.mAP_at_20 == pytest.approx((1 + 2 / 3) / 3)
    assert many.mAP_at_20 == pytest.approx((1 + sum((rank - 1) / rank for rank in range(3, 21))) / 20)


@st.composite
def problems(draw):
    num_query, num_gallery = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    ids = lambda size, top: hnp.arrays(np.int64, size, elements=st.integers(-1, top))  # noqa: E731
    distmat = draw(hnp.arrays(np.float64, (num_query, num_gallery), elements=st.integers(0, 9).map(float)))
    pids = draw(ids(num_query, 3)), draw(ids(num_gallery, 3))
    return distmat, *pids, draw(ids(num_query, 2)), draw(ids(num_gallery, 2))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_agrees_with_the_obvious_reference(problem):
    curves, precisions, trapezoidal, penalties, at_20, first_ranks = reference(*problem, max_rank=8)
    if not precisions:
        with pytest.raises(ValueError, match="No query has a true match"):
            evaluate_ranking(*problem, max_rank=8)
        return
    result = evaluate_ranking(*problem, max_rank=8)
    np.testing.assert_allclose(result.average_precisions, precisions)
    np.testing.assert_allclose(result.cmc, np.mean(curves, axis=0))
    np.testing.assert_array_equal(result.first_ranks, first_ranks)
    assert (result.mAP, result.mINP) == pytest.approx((np.mean(precisions), np.mean(penalties)))
    assert result.mAP_at_20 == pytest.approx(np.mean(at_20))
    mars = evaluate_ranking(*problem, protocol=MARS_OFFICIAL)
    np.testing.assert_allclose(mars.average_precisions[mars.first_ranks < np.inf], trapezoidal)


def assert_same_bits(one, other, queries=slice(None)):
    """Two results are equal to the last bit; ``queries`` orders the valid ones of the second."""
    assert (one.mAP_at_20, one.num_valid_queries) == (other.mAP_at_20, other.num_valid_queries)
    for name in ("cmc", "average_precisions", "first_ranks"):
        part = slice(None) if name == "cmc" else queries
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[part])


def make_features(rng, num_query=40, num_gallery=150, width=64):
    """Features of 12 people with entries that occur twice, nearly twice, and on both sides; and their ids."""
    gallery = rng.normal(size=(num_gallery, width)).astype(np.float32)
    gallery[50:90] = gallery[:40]
    gallery[90:110] = gallery[:20] + np.float32(1e-4) * rng.normal(size=(20, width)).astype(np.float32)
    query = rng.normal(size=(num_query, width)).astype(np.float32)
    query[:10], query[10:20] = gallery[:10], gallery[40:50] + np.float32(1e-3)
    ids = [rng.integers(-1, 12, size) for size in (num_query, num_gallery)]
    cameras = [rng.integers(-1, 4, size) for size in (num_query, num_gallery)]
    return torch.from_numpy(query), torch.from_numpy(gallery), [*ids, *cameras]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("seed", range(3))
def test_features_are_ranked_by_their_exact_distances(seed, name):
    protocol = PROTOCOLS[name]
    query, gallery, ids = make_features(np.random.default_rng(seed))
    exact = (query.double().unsqueeze(1) - gallery.double()).square().sum(dim=2)
    result = evaluate_features(query, gallery, *ids, protocol=protocol)
    assert_same_bits(result, evaluate_ranking(exact, *ids, protocol=protocol))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_gallery_changes_no_bit(seed):
    rng = np.random.default_rng(seed)
    query, gallery, (q_pids, g_pids, q_camids, g_camids) = make_features(rng)
    ties = rng.integers(0, 5, (len(query), len(gallery))).astype(np.float32)
    by_features = evaluate_features(query, gallery, q_pids, g_pids, q_camids, g_camids)
    by_distances = evaluate_ranking(ties, q_pids, g_pids, q_camids, g_camids)
    for _ in range(3):
        order = rng.permutation(len(gallery))
        ids = q_pids, g_pids[order], q_camids, g_camids[order]
        assert_same_bits(evaluate_features(query, gallery[order], *ids), by_features)
        assert_same_bits(evaluate_ranking(ties[:, order], *ids), by_distances)


@pytest.mark.parametrize("elements", [1, 500])
def test_blocks_do_not_change_the_result(monkeypatch, elements):
    query, gallery, ids = make_features(np.random.default_rng(0))
    distmat = squared_distances(query, gallery).matrix()
    whole = evaluate_features(query, gallery, *ids), evaluate_ranking(distmat, *ids)
    monkeypatch.setattr(distances, "_BLOCK_ELEMENTS", elements)
    assert_same_bits(evaluate_features(query, gallery, *ids), whole[0])
    assert_same_bits(evaluate_ranking(distmat, *ids), whole[1])


def test_counting_and_both_ways_of_sorting_agree(monkeypatch):
    query, gallery, ids = make_features(np.random.default_rng(0))
    monkeypatch.setattr(metrics, "_MIN_SORTED", 1000)
    counted = evaluate_features(query, gallery, *ids)
    monkeypatch.setattr(metrics, "_MIN_SORTED", 1)
    assert_same_bits(evaluate_features(query, gallery, *ids), counted)
    monkeypatch.setattr(metrics, "_count_on_cpu", metrics._count_by_sorting)  # what a GPU does
    assert_same_bits(evaluate_features(query, gallery, *ids), counted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_ranks_as_the_cpu_does():
    query, gallery, ids = make_features(np.random.default_rng(0))
    assert_same_bits(evaluate_features(query.cuda(), gallery.cuda(), *ids), evaluate_features(query, gallery, *ids))


def test_shares_of_queries_are_scored_as_all_at_once():
    query, gallery, (q_pids, g_pids, q_camids, g_camids) = make_features(np.random.default_rng(0))
    processes = [Processes(rank, 3) for rank in range(3)]
    shares = [process.share(len(query)) for process in processes]
    whole_distances = squared_distances(query, gallery)
    parts = [score_queries(whole_distances, q_pids, g_pids, q_camids, g_camids, within=rows) for rows in shares]
    whole = evaluate_features(query, gallery, q_pids, g_pids, q_camids, g_camids)
    assert_same_bits(merge_rankings(parts), whole)


def test_published_evaluation(parity_folder):
    data = np.load(parity_folder / "retrieval.npz")
    query, gallery = data["query"].astype(np.float64), data["gallery"].astype(np.float64)
    distmat = ((query[:, None] - gallery[None]) ** 2).sum(axis=2)
    result = evaluate_ranking(distmat, *(data[name] for name in ("q_pids", "g_pids", "q_camids", "g_camids")))
    np.testing.assert_allclose(result.cmc, data["cmc"], atol=1e-6)
    np.testing.assert_allclose(result.average_precisions, data["all_ap"], atol=1e-6)
    assert result.mAP == pytest.approx(float(data["mAP"]), abs=1e-6)


def official_mars(distmat, q_pids, g_pids, q_camids, g_camids):
    """The MARS rules written out: junk skipped, trapezoids between neighbouring ranks, all queries divide."""
    total = 0.0
    for row, pid, camid in zip(distmat, q_pids, q_camids, strict=True):
        good = (g_pids == pid) & (g_camids != camid)
        kept = good | (g_pids != pid)
        hits = np.cumsum(good[kept][np.argsort(row[kept])])
        recall, precision = hits / max(good.sum(), 1), hits / np.arange(1, len(hits) + 1)
        before = np.concatenate([[1.0], precision[:-1]])
        total += (np.diff(recall, prepend=0) * (before + precision) / 2).sum()
    return total / len(q_pids)


@pytest.mark.parametrize("seed", range(5))
def test_mars_protocol_agrees_with_its_rules_written_out(seed):
    rng = np.random.default_rng(seed)
    problem = rng.random((6, 15)), *(rng.integers(0, top, size) for top in (4, 3) for size in (6, 15))
    result = evaluate_ranking(*problem, protocol=MARS_OFFICIAL)
    assert result.mAP == pytest.approx(official_mars(*problem))
    assert result.num_valid_queries == 6


def test_unmatched_queries_count_as_zero_or_not_at_all():
    problem = np.array([[0.0, 1.0], [1.0, 0.0]]), [1, 9], [1, 2], [0, 0], [1, 1]
    skipped = evaluate_ranking(*problem, max_rank=2)
    counted = evaluate_ranking(*problem, max_rank=2, protocol=MARS_OFFICIAL)
    assert (skipped.num_valid_queries, skipped.num_unmatched, skipped.mAP) == (1, 1, 1)
    assert (counted.num_valid_queries, counted.num_unmatched, counted.mAP, counted.mINP) == (2, 1, 0.5, 0.5)
    np.testing.assert_array_equal(counted.cmc, [0.5, 0.5])
    np.testing.assert_array_equal(counted.average_precisions, [1, 0])
    merged = merge_rankings([counted, skipped])
    assert (merged.num_valid_queries, merged.num_unmatched) == (3, 2)
    assert merged.mAP == pytest.approx(2 / 3)


def test_same_camera_stays_when_the_protocol_says_so():
    problem = np.array([[0.0, 1.0]]), [1], [1, 1], [0], [0, 1]
    assert evaluate_ranking(*problem, max_rank=2).average_precisions.tolist() == [1]
    assert evaluate_ranking(*problem, max_rank=2, protocol=ALL_CAMERAS).mINP == 1
    with pytest.raises(ValueError, match="No query has a true match"):
        evaluate_ranking(np.zeros((1, 1)), [1], [1], [0], [0])
    assert evaluate_ranking(np.zeros((1, 1)), [1], [1], [0], [0], protocol=ALL_CAMERAS).mAP == 1


def test_config_lists_the_registered_protocols():
    assert CHOICES["TEST.PROTOCOL"] == ("", *PROTOCOLS)
    with pytest.raises(ValueError, match=r"TEST\.PROTOCOL must be one of '', cross-camera, .*, got 'mars'"):
        get_cfg(opts=["TEST.PROTOCOL", "mars"])
