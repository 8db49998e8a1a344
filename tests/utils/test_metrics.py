import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from configs import CHOICES, get_cfg
from utils import metrics
from utils.metrics import (
    ALL_CAMERAS,
    CROSS_CAMERA,
    MARS_OFFICIAL,
    PROTOCOLS,
    Protocol,
    evaluate_ranking,
    merge_rankings,
)


def reference(distmat, q_pids, g_pids, q_camids, g_camids, max_rank):
    """The protocol, one query and one gallery entry at a time."""
    curves, precisions, penalties = [], [], []
    for i in range(len(q_pids)):
        ranked = []
        for j in sorted(range(len(g_pids)), key=lambda j: (distmat[i][j], j)):
            known = q_camids[i] != -1 and g_camids[j] != -1
            if g_pids[j] == q_pids[i] and known and g_camids[j] == q_camids[i]:
                continue
            ranked.append(g_pids[j] == q_pids[i])
        hits = [rank for rank, match in enumerate(ranked, 1) if match]
        if not hits:
            continue
        curves.append([float(hits[0] <= rank) for rank in range(1, max_rank + 1)])
        precisions.append(sum(n / rank for n, rank in enumerate(hits, 1)) / len(hits))
        penalties.append(len(hits) / hits[-1])
    return curves, precisions, penalties


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


def test_queries_without_a_match_are_not_counted():
    distmat = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    # Query 0 has its only match at its own camera, query 1 has none.
    result = evaluate_ranking(distmat, [1, 9, 2], [1, 2], [0, 0, 0], [0, 1])
    assert result.valid_queries.tolist() == [False, False, True]
    assert result.num_valid_queries == 1
    assert result.mAP == 1


def test_unknown_camera_leaves_nothing_out():
    result = evaluate_ranking(np.array([[0.0, 1.0]]), [1], [1, 1], [-1], [-1, -1])
    assert result.num_valid_queries == 1
    assert result.mAP == 1


def test_equal_distances_keep_gallery_order():
    result = evaluate_ranking(np.zeros((1, 4)), [1], [2, 3, 1, 4], [0], [1, 1, 1, 1], max_rank=4)
    np.testing.assert_array_equal(result.cmc, [0, 0, 1, 1])


def test_cmc_is_padded_to_max_rank():
    result = evaluate_ranking(np.array([[0.0, 1.0]]), [1], [2, 1], [0], [1, 1], max_rank=5)
    np.testing.assert_array_equal(result.cmc, [0, 1, 1, 1, 1])


def test_infinite_distances_rank_last():
    result = evaluate_ranking(np.array([[np.inf, 1.0]]), [1], [1, 2], [0], [1, 1], max_rank=2)
    np.testing.assert_array_equal(result.cmc, [0, 1])


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
    curves, precisions, penalties = reference(*problem, max_rank=8)
    if not precisions:
        with pytest.raises(ValueError, match="No query has a true match"):
            evaluate_ranking(*problem, max_rank=8)
        return
    result = evaluate_ranking(*problem, max_rank=8)
    np.testing.assert_allclose(result.average_precisions, precisions)
    np.testing.assert_allclose(result.cmc, np.mean(curves, axis=0))
    assert result.mAP == pytest.approx(np.mean(precisions))
    assert result.mINP == pytest.approx(np.mean(penalties))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_of_queries_and_gallery_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    distmat = rng.permutation(8 * 20).reshape(8, 20).astype(float)  # no ties
    q_pids, g_pids = np.arange(8) % 4, rng.integers(0, 4, 20)
    g_pids[:4] = np.arange(4)
    q_camids, g_camids = np.full(8, 7), rng.integers(0, 3, 20)
    rows, columns = rng.permutation(8), rng.permutation(20)
    plain = evaluate_ranking(distmat, q_pids, g_pids, q_camids, g_camids)
    shuffled = evaluate_ranking(
        distmat[rows][:, columns], q_pids[rows], g_pids[columns], q_camids[rows], g_camids[columns]
    )
    np.testing.assert_allclose(shuffled.cmc, plain.cmc)
    np.testing.assert_allclose(shuffled.average_precisions, plain.average_precisions[rows])
    assert shuffled.mINP == pytest.approx(plain.mINP)


def test_blocks_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(0)
    problem = rng.random((23, 40)), *(rng.integers(0, 5, size) for size in (23, 40, 23, 40))
    whole = evaluate_ranking(*problem)
    monkeypatch.setattr(metrics, "_BLOCK_ELEMENTS", 41)  # one query at a time
    single = evaluate_ranking(*problem)
    np.testing.assert_array_equal(single.average_precisions, whole.average_precisions)
    np.testing.assert_array_equal(single.cmc, whole.cmc)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_accepts_tensors(dtype):
    distmat = torch.tensor([[0.0, 1.0, 2.0]], dtype=dtype)
    result = evaluate_ranking(
        distmat, torch.tensor([1]), torch.tensor([2, 1, 1]), torch.tensor([0]), torch.tensor([1, 1, 1])
    )
    assert result.mAP == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_published_evaluation(shared):
    data = np.load(shared / "parity" / "retrieval.npz")
    query, gallery = data["query"].astype(np.float64), data["gallery"].astype(np.float64)
    distmat = ((query[:, None] - gallery[None]) ** 2).sum(axis=2)
    result = evaluate_ranking(distmat, *(data[name] for name in ("q_pids", "g_pids", "q_camids", "g_camids")))
    np.testing.assert_allclose(result.cmc, data["cmc"], atol=1e-6)
    np.testing.assert_allclose(result.average_precisions, data["all_ap"], atol=1e-6)
    assert result.mAP == pytest.approx(float(data["mAP"]), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distmat": np.zeros(3)}, "distmat must be 2-D"),
        ({"q_pids": [1]}, "q_pids must have shape"),
        ({"g_pids": [1]}, "g_pids must have shape"),
        ({"q_camids": [1]}, "q_camids must have shape"),
        ({"g_camids": [[1, 2, 3]]}, "g_camids must have shape"),
        ({"distmat": np.array([[0, 1, np.nan], [0, 0, 0]])}, "holds NaN: 1"),
        ({"max_rank": 0}, "max_rank must be at least 1"),
        ({"g_pids": [7, 8, 9]}, "No query has a true match"),
        ({"distmat": np.zeros((2, 0)), "g_pids": [], "g_camids": []}, "No query has a true match"),
    ],
)
def test_bad_input(change, message):
    good = {
        "distmat": np.zeros((2, 3)),
        "q_pids": [1, 2],
        "g_pids": [1, 2, 2],
        "q_camids": [0, 0],
        "g_camids": [1, 1, 1],
    }
    with pytest.raises(ValueError, match=message):
        evaluate_ranking(**(good | change))


def test_merge_weighs_by_valid_queries():
    one = evaluate_ranking(np.array([[0.0, 1.0]]), [1], [2, 1], [0], [1, 1], max_rank=2)  # AP 1/2, rank 2
    two = evaluate_ranking(np.array([[0.0, 1.0]] * 3), [2, 2, 9], [2, 1], [0] * 3, [1, 1], max_rank=2)  # AP 1, rank 1
    merged = merge_rankings([one, two])
    assert merged.num_valid_queries == 3
    assert merged.mAP == pytest.approx((0.5 + 2) / 3)
    assert merged.mINP == pytest.approx((0.5 + 2) / 3)
    np.testing.assert_allclose(merged.cmc, [2 / 3, 1])
    np.testing.assert_allclose(merged.average_precisions, [0.5, 1, 1])
    np.testing.assert_allclose(merged.inverse_penalties, [0.5, 1, 1])
    assert merged.first_ranks.tolist() == [2, 1, 1]
    assert merged.valid_queries.tolist() == [True, True, True, False]


def test_merge_rejects_nothing_and_unequal_curves():
    problem = np.array([[0.0]]), [1], [1], [0], [1]
    with pytest.raises(ValueError, match="at least one result"):
        merge_rankings([])
    with pytest.raises(ValueError, match=r"one length, got \[2, 3\]"):
        merge_rankings([evaluate_ranking(*problem, max_rank=2), evaluate_ranking(*problem, max_rank=3)])


def official_mars(distmat, q_pids, g_pids, q_camids, g_camids):
    """The MARS rules written out: junk skipped, trapezoids between neighbouring ranks, all queries divide."""
    total = 0.0
    for i in range(len(q_pids)):
        good = sum(p == q_pids[i] and c != q_camids[i] for p, c in zip(g_pids, g_camids, strict=True))
        recall_before, precision_before, hits, rank, area = 0.0, 1.0, 0, 0, 0.0
        for j in sorted(range(len(g_pids)), key=lambda j: (distmat[i][j], j)):
            if g_pids[j] == q_pids[i] and g_camids[j] == q_camids[i]:
                continue
            rank += 1
            hits += g_pids[j] == q_pids[i]
            recall, precision = hits / max(good, 1), hits / rank
            area += (recall - recall_before) * (precision_before + precision) / 2
            recall_before, precision_before = recall, precision
        total += area
    return total / len(q_pids)


def test_trapezoidal_precision_of_a_hand_worked_case():
    distmat = np.arange(4.0)[None]
    # Matches at ranks 1 and 3: ((1 + 1) / 2 + (1/2 + 2/3) / 2) / 2.
    result = evaluate_ranking(distmat, [1], [1, 2, 1, 3], [0], [1, 1, 1, 1], protocol=MARS_OFFICIAL)
    assert result.mAP == pytest.approx((1 + 7 / 12) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_mars_protocol_agrees_with_its_rules_written_out(seed):
    rng = np.random.default_rng(seed)
    problem = (
        rng.random((6, 15)),
        *(rng.integers(0, 4, size) for size in (6, 15)),
        *(rng.integers(0, 3, size) for size in (6, 15)),
    )
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
    kept = evaluate_ranking(*problem, max_rank=2, protocol=ALL_CAMERAS)
    assert kept.mINP == 1
    with pytest.raises(ValueError, match="No query has a true match"):
        evaluate_ranking(np.zeros((1, 1)), [1], [1], [0], [0])
    assert evaluate_ranking(np.zeros((1, 1)), [1], [1], [0], [0], protocol=ALL_CAMERAS).mAP == 1


def test_config_lists_the_registered_protocols():
    assert CHOICES["TEST.PROTOCOL"] == ("", *PROTOCOLS)
    with pytest.raises(ValueError, match=r"TEST\.PROTOCOL must be one of '', cross-camera, .*, got 'mars'"):
        get_cfg(opts=["TEST.PROTOCOL", "mars"])


def test_unknown_form_of_average_precision():
    with pytest.raises(ValueError, match="average_precision must be one of step, trapezoidal, got 'x'"):
        Protocol("mine", "", average_precision="x")


def test_a_protocol_knows_which_gallery_entries_it_leaves_out():
    g_pids, g_camids = np.array([1, 1, 2, 1]), np.array([0, 1, 0, -1])
    assert CROSS_CAMERA.leaves_out(1, 0, g_pids, g_camids).tolist() == [True, False, False, False]
    assert not CROSS_CAMERA.leaves_out(1, -1, g_pids, g_camids).any()
    assert not ALL_CAMERAS.leaves_out(1, 0, g_pids, g_camids).any()
    queries = np.array([[1], [2]]), np.array([[1], [0]])
    assert MARS_OFFICIAL.leaves_out(*queries, g_pids, g_camids).tolist() == [
        [False, True, False, False],
        [False, False, True, False],
    ]
