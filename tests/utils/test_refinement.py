"""Refined features against slow loops over pairs and groups."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from utils.refinement import add_mutual_neighbours, expand_queries, standardize_groups


@pytest.fixture
def sides():
    generator = torch.Generator().manual_seed(0)
    return (F.normalize(torch.randn(n, 5, generator=generator)) for n in (6, 11))


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_expansion_agrees_with_a_loop(k, alpha, sides):
    query, gallery = sides
    for own, expanded in zip(query, expand_queries(query, gallery, k, alpha), strict=True):
        nearest = sorted(gallery, key=lambda feature: float((feature - own).square().sum()))[:k]
        weights = [max(float(feature @ own), 0) ** alpha for feature in nearest]
        total = own + sum(weight * feature for weight, feature in zip(weights, nearest, strict=True))
        torch.testing.assert_close(expanded, total / (1 + sum(weights)))


def nearest_others(features, own, k):
    distances = (features - features[own]).square().sum(dim=1).tolist()
    return sorted((i for i in range(len(features)) if i != own), key=distances.__getitem__)[:k]


@pytest.mark.parametrize(("k1", "k2"), [(2, 2), (3, 1), (1, 4), (50, 50)])
def test_mutual_neighbours_agree_with_a_loop(k1, k2, sides):
    _, features = sides
    features = torch.cat([features, features[:3]])  # three duplicates
    expected = features.clone()
    for own in range(len(features)):
        for other in nearest_others(features, own, k1):
            if own in nearest_others(features, other, k2):
                expected[own] += features[other]
    torch.testing.assert_close(add_mutual_neighbours(features, k1, k2), expected)


def test_who_is_nobodys_neighbour_stays_alone():
    """On a line: 0 and 1 are each other's nearest, 3 prefers 1, which prefers 0."""
    features = torch.tensor([[0.0], [1.0], [3.0]])
    assert add_mutual_neighbours(features, 1, 1).flatten().tolist() == [1.0, 1.0, 3.0]
    assert add_mutual_neighbours(features[:1]).tolist() == [[0.0]]


def test_every_camera_gets_mean_0_and_deviation_1():
    features = torch.randn(40, 3) * torch.tensor([1.0, 5.0, 0.1]) + 7
    cameras = np.arange(40) % 4
    result = standardize_groups(features, cameras, features, cameras)
    for camera in range(4):
        own = result[torch.from_numpy(cameras == camera)]
        torch.testing.assert_close(own.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(own.std(dim=0, correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_unknown_and_rare_cameras_are_normalised_by_all():
    pool = torch.tensor([[0.0], [2.0], [10.0], [20.0], [4.0]])
    pool_cameras = np.array([3, 3, 5, -1, -1])  # camera 5 has one member; unknown cameras are no group
    features, cameras = torch.tensor([[4.0], [4.0], [4.0], [4.0]]), np.array([3, 5, -1, 8])
    mean, deviation = pool.mean(), pool.std(correction=0)
    expected = torch.tensor([(4 - 1) / 1.0, *[float((4 - mean) / deviation)] * 3])
    torch.testing.assert_close(standardize_groups(features, cameras, pool, pool_cameras).flatten(), expected)


def test_a_number_that_does_not_vary_is_only_centred():
    pool = torch.tensor([[0.1], [0.1], [0.1]])
    result = standardize_groups(torch.tensor([[0.1], [0.6]]), np.array([1, 1]), pool, np.array([1, 1, 1]))
    torch.testing.assert_close(result.flatten(), torch.tensor([0.0, 0.5]))
