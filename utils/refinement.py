"""Refine features before they are compared: by the nearest gallery features, by mutual neighbours, or by camera.

Axes: Q queries, G galleries, N features, D feature width.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .distances import nearest_columns, squared_distances
from .unknown import UNKNOWN

# From features of queries and galleries, and k, to the galleries nearest to each query.
Finder = Callable[[Tensor, Tensor, int], Tensor]

MIN_MEMBERS = 2  # features of a group from which a deviation can be estimated


def find_nearest(query: Tensor, gallery: Tensor, k: int) -> Tensor:
    """Return the indices of the k nearest gallery features of every query, nearest first, (Q, k)."""
    blocks = squared_distances(query, gallery).blocks()
    return torch.cat([nearest_columns(block, k) for _, block in blocks])


def expand_queries(query: Tensor, gallery: Tensor, k: int, alpha: float = 0.0, find: Finder = find_nearest) -> Tensor:
    """Average each query, (Q, D), with its k nearest gallery features, (G, D): query expansion; returns (Q, D).

    No query depends on another one. A gallery feature has the weight s^alpha, where s is its cosine similarity to the
    query, at least 0; the query has the weight 1.

    Reference:
        Chum et al., "Total Recall", ICCV 2007 (alpha 0: average). Radenovic et al., "Fine-tuning CNN Image Retrieval
        with No Human Annotation", TPAMI 2018 (weighted).
    """
    if not len(query):
        return query
    nearest = find(query, gallery, k)
    expanded = torch.empty_like(query)
    for own, columns, result in zip(query, nearest, expanded, strict=True):  # a query at a time holds k features only
        neighbours = gallery[columns]
        weights = F.cosine_similarity(own, neighbours, dim=1).clamp_min(0) ** alpha  # (k,); 0 ** 0 is 1
        result.copy_((own + weights @ neighbours) / (1 + weights.sum()))
    return expanded


def add_mutual_neighbours(features: Tensor, k1: int = 2, k2: int = 2, find: Finder = find_nearest) -> Tensor:
    """Add to each feature, (N, D), those of its mutual nearest neighbours; returns (N, D), of any length.

    Two features are mutual neighbours if the second is among the k1 nearest others of the first, and the first among
    the k2 nearest others of the second.

    Reference:
        Yuan et al., "From Poses to Identity: Training-Free Person Re-Identification via Feature Centralization"
        (Pose2ID), CVPR 2025, neighbour feature centralization, where k1 and k2 are 2.
    """
    N, k = len(features), max(k1, k2)
    own = torch.arange(N, device=features.device).unsqueeze(1)
    nearest = find(features, features, k + 1)
    is_own = (nearest == own).int()
    others = nearest.gather(1, is_own.argsort(dim=1, stable=True))[:, : min(k, N - 1)]  # itself last, and cut off
    pairs = (own * N + others[:, :k1]).sort(dim=1).values  # as numbers
    mutual = torch.isin(pairs, others[:, :k2] * N + own)
    result = features.clone()
    for other, is_mutual in zip((pairs % N).T, mutual.T, strict=True):
        result += features[other] * is_mutual.unsqueeze(1)
    return result


def standardize_groups(features: Tensor, groups: np.ndarray, pool: Tensor, pool_groups: np.ndarray) -> Tensor:
    """Subtract from each feature the mean of its group, such as its camera, and divide by the group's deviation.

    Both are of the group's features in the pool, (M, D); of the whole pool for an unknown group, -1, and for one that
    has fewer than two members there. A number that does not vary in a group is only centred.

    Reference: Song et al., "Exploring the Camera Bias of Person Re-identification", ICLR 2025 (arXiv 2502.10195).
    """
    result = torch.empty_like(features)
    for group in np.unique(groups):
        members = torch.as_tensor(pool_groups == group, device=pool.device)
        chosen = pool if group == UNKNOWN or members.sum() < MIN_MEMBERS else pool[members]
        deviation, mean = torch.std_mean(chosen.double(), dim=0, correction=0)
        varies = deviation > torch.finfo(features.dtype).eps * mean.abs()
        own = torch.as_tensor(groups == group, device=features.device)
        centred = features[own].double() - mean
        result[own] = (centred / deviation.where(varies, 1.0)).to(features.dtype)
    return result
