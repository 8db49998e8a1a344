import math

import numpy as np
import pytest
import torch

from utils import reranking
from utils.metrics import evaluate_ranking
from utils.reranking import find_neighbourhoods, re_rank, re_ranked_distances


def reference(query, gallery, k1, k2, lambda_value):
    """The paper with sets and dictionaries, one pair at a time."""
    features = np.concatenate([query, gallery]).astype(np.float64)
    N, Q = len(features), len(query)
    dist = [[float(((a - b) ** 2).sum()) for b in features] for a in features]
    dist = [[value / max(row) for value in row] for row in dist]
    ranked = [sorted(range(N), key=lambda j, i=i: (j != i, dist[i][j])) for i in range(N)]

    def reciprocal(i, k):
        return {j for j in ranked[i][: k + 1] if i in ranked[j][: k + 1]}

    codes = []
    for i in range(N):
        members = set(base := reciprocal(i, k1))
        for j in base:
            other = reciprocal(j, round(k1 / 2))
            if len(other & base) > 2 / 3 * len(other):
                members |= other
        total = sum(math.exp(-dist[i][j]) for j in members)
        codes.append({j: math.exp(-dist[i][j]) / total for j in members})
    averaged = [
        {j: sum(codes[n].get(j, 0) for n in ranked[i][:k2]) / len(ranked[i][:k2]) for j in range(N)} for i in range(N)
    ]
    final = np.empty((Q, N - Q))
    for i in range(Q):
        for g in range(Q, N):
            low = sum(min(averaged[i][j], averaged[g][j]) for j in range(N))
            high = sum(max(averaged[i][j], averaged[g][j]) for j in range(N))
            final[i, g - Q] = lambda_value * dist[i][g] + (1 - lambda_value) * (1 - low / high)
    return final


@pytest.mark.parametrize(
    ("k1", "k2", "lambda_value"), [(6, 3, 0.3), (5, 1, 0.0), (3, 2, 1.0), (2, 5, 0.5), (99, 9, 0.3)]
)
def test_agrees_with_sets(k1, k2, lambda_value):
    rng = np.random.default_rng(k1)
    query, gallery = rng.normal(size=(6, 4)), rng.normal(size=(17, 4))
    result = re_rank(query, gallery, k1, k2, lambda_value)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, reference(query, gallery, k1, k2, lambda_value), rtol=0, atol=5e-7)


@pytest.mark.parametrize("tile", [1, 9, 100])
@pytest.mark.parametrize("spare", [0, 1, 100])
@pytest.mark.parametrize("noise", [1.0, 1e-4, 0.0])
def test_blocks_and_candidates_do_not_change_the_result(monkeypatch, tile, spare, noise):
    """Of little noise, float32 products find wrong neighbours: all distances of a row are computed exactly then."""
    torch.manual_seed(0)
    centres = torch.randn(3, 64)
    query, gallery = (centres.repeat(n, 1) + noise * torch.randn(3 * n, 64) for n in (3, 10))
    monkeypatch.setattr(reranking, "_SPARE", 100)  # everything is a candidate
    whole = re_rank(query, gallery, k1=7, k2=3)
    assert np.isfinite(whole).all()  # also of duplicates
    monkeypatch.setattr(reranking, "_SPARE", spare)
    monkeypatch.setattr(reranking, "_BLOCK_ELEMENTS", 50)
    monkeypatch.setattr(reranking, "_MAX_TILE", tile)
    np.testing.assert_array_equal(re_rank(query, gallery, k1=7, k2=3), whole)


def test_some_queries_have_the_bits_that_they_have_among_all():
    query, gallery = torch.randn(9, 4), torch.randn(30, 4)
    distances = re_ranked_distances(query, gallery, find_neighbourhoods(query, gallery, k1=7, k2=3))
    assert torch.equal(distances.rows(slice(2, 6)), torch.from_numpy(re_rank(query, gallery, k1=7, k2=3)[2:6]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_re_ranks_as_the_cpu_does():
    query, gallery = torch.randn(40, 64), torch.randn(90, 64)
    np.testing.assert_allclose(re_rank(query.cuda(), gallery.cuda()), re_rank(query, gallery), rtol=0, atol=1e-6)


def test_published_reranking(parity_folder):
    data = np.load(parity_folder / "retrieval.npz")
    k1, k2, lambda_value = data["rerank_args"]
    result = re_rank(torch.from_numpy(data["query"]), data["gallery"], int(k1), int(k2), float(lambda_value))
    np.testing.assert_allclose(result, data["rerank_dist"], atol=2e-3)
    ranking = evaluate_ranking(result, *(data[name] for name in ("q_pids", "g_pids", "q_camids", "g_camids")))
    assert ranking.mAP == pytest.approx(float(data["rerank_mAP"]), abs=2e-3)
    np.testing.assert_allclose(ranking.cmc, data["rerank_cmc"], atol=2 / 180 + 1e-6)  # float16 may swap neighbours
