import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch.nn import functional as F

from utils import distances
from utils.distances import SquaredDistances, distance_blocks, pairwise_distance


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


def test_near_duplicates_in_float32():
    """The expansion alone loses all digits of a distance of 1e-6; corrected blocks keep them."""
    torch.manual_seed(0)
    query = F.normalize(torch.randn(8, 2048), dim=1)
    gallery = torch.cat([query + 1e-3 / 2048**0.5 * torch.randn(8, 2048), torch.randn(500, 2048)])
    exact = (query.double() - gallery[:8].double()).square().sum(dim=1)
    (plain,) = SquaredDistances(query, gallery).blocks()
    errors = (plain.distances[:, :8].diagonal() - exact).abs()
    assert exact.max() < 2e-6
    assert errors.max() > 1e-7  # more than a tenth of the distance
    assert (errors <= plain.margins).all()
    torch.testing.assert_close(pairwise_distance(query, gallery)[:, :8].diagonal(), exact.float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["normal", "rectified", "clustered", "constant", "far"])
@pytest.mark.parametrize("width", [16, 2048])
def test_errors_stay_within_the_margins(kind, width):
    torch.manual_seed(0)
    features = torch.randn(700, width)
    if kind == "rectified":
        features = features.relu()
    elif kind == "clustered":
        features = torch.randn(9, width)[torch.arange(700) % 9] + 0.01 * features
    elif kind == "constant":  # every product of two features has one sign and size
        features = features[:, :1].expand(-1, width)
    elif kind == "far":
        features = features + 1000
    query, gallery = features[:100], features[100:]
    exact = (query.double().unsqueeze(1) - gallery.double()).square().sum(dim=2)
    (block,) = SquaredDistances(query, gallery).blocks()
    assert ((block.distances - exact).abs() <= block.margins.unsqueeze(1)).all()


def test_exact_distances_have_the_same_bits_in_any_company():
    torch.manual_seed(0)
    squared = SquaredDistances(torch.randn(30, 515), torch.randn(40, 515))
    row, column = torch.randint(30, (200,)), torch.randint(40, (200,))
    together = squared.exact(row, column)
    alone = torch.cat([squared.exact(row[i : i + 1], column[i : i + 1]) for i in range(200)])
    assert torch.equal(together, alone)
    order = torch.randperm(200)
    assert torch.equal(squared.exact(row[order], column[order]), together[order])


def test_duplicates_throughout_are_computed_in_double_precision():
    features = torch.ones(70, 8) + 1e-4 * torch.rand(70, 8)
    exact = (features.double().unsqueeze(1) - features.double()).square().sum(dim=2)
    torch.testing.assert_close(pairwise_distance(features, features), exact.float(), rtol=1e-5, atol=1e-15)


def test_surrounding_choices_do_not_lower_the_precision():
    query, gallery = torch.randn(9, 64), torch.randn(20, 64)
    plain = pairwise_distance(query, gallery)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(pairwise_distance(query, gallery), plain)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


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
