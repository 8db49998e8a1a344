import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from utils import distances
from utils.distances import distance_blocks, pairwise_distance


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cosine"])
def test_agrees_with_scipy(metric):
    query, gallery = torch.randn(7, 5), torch.randn(11, 5)
    expected = cdist(query.double().numpy(), gallery.double().numpy(), metric)
    result = pairwise_distance(query, gallery, metric)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6, atol=1e-7)


def test_close_pairs_far_from_the_origin_keep_their_digits():
    query = torch.full((1, 512), 10.0)
    gallery = query + 1e-3
    expected = (gallery.double() - query.double()).square().sum()
    assert pairwise_distance(query, gallery).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cosine"])
def test_never_negative(metric):
    features = torch.randn(50, 64) * 100
    result = pairwise_distance(features, features, metric)
    assert (result >= 0).all()
    assert result.diagonal().max() < 1e-3


def test_half_precision_gives_float32():
    result = pairwise_distance(torch.randn(2, 3).half(), torch.randn(4, 3).half())
    assert result.dtype == torch.float32


def test_zero_vector_has_cosine_distance_one():
    assert pairwise_distance(torch.zeros(1, 3), torch.ones(1, 3), "cosine").item() == 1


def test_empty_query_and_gallery():
    assert pairwise_distance(torch.zeros(0, 3), torch.zeros(2, 3)).shape == (0, 2)
    assert pairwise_distance(torch.zeros(2, 3), torch.zeros(0, 3)).shape == (2, 0)


def test_blocks_cover_all_rows(monkeypatch):
    query, gallery = torch.randn(7, 5), torch.randn(4, 5)
    whole = pairwise_distance(query, gallery)
    monkeypatch.setattr(distances, "_BLOCK_ELEMENTS", 9)
    blocks = list(distance_blocks(query, gallery))
    assert [rows for rows, _ in blocks] == [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 7)]
    torch.testing.assert_close(torch.cat([block for _, block in blocks]), whole)


def test_gradient_reaches_both_sides():
    query, gallery = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    pairwise_distance(query, gallery).sum().backward()
    assert query.grad.abs().sum() > 0
    assert gallery.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("query", "gallery", "metric", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3), "manhattan", "metric must be one of .* got 'manhattan'"),
        (torch.zeros(2, 3), torch.zeros(2, 4), "cosine", r"got \(2, 3\) and \(2, 4\)"),
        (torch.zeros(3), torch.zeros(2, 3), "cosine", r"got \(3,\)"),
    ],
)
def test_bad_input(query, gallery, metric, message):
    with pytest.raises(ValueError, match=message):
        pairwise_distance(query, gallery, metric)
