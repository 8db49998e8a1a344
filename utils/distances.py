"""Distances between rows of feature matrices.

Axes: Q queries, G galleries, D feature width.
"""

from collections.abc import Iterator

import torch
from torch.nn import functional as F

METRICS = ("sqeuclidean", "euclidean", "cosine")
# Distances computed at a time: 128 MiB in double precision.
_BLOCK_ELEMENTS = 1 << 24


def pairwise_distance(query: torch.Tensor, gallery: torch.Tensor, metric: str = "sqeuclidean") -> torch.Tensor:
    """Compute the distance of every query to every gallery feature.

    The expansion |q|^2 + |g|^2 - 2 q.g loses all digits of close pairs in float32, and on a GPU it may run in
    TF32 or under autocast. It is therefore computed in double precision, block by block.

    Args:
        query: (Q, D), any floating type.
        gallery: (G, D), on the same device.
        metric: 'sqeuclidean', 'euclidean', or 'cosine' (1 - cosine similarity, 0 to 2; a zero vector is at 1
            from all).
    Returns:
        Distances, (Q, G), at least 0; float32, or float64 if an input is float64.
    Raises:
        ValueError: On an unknown metric or shapes that do not fit.
    """
    return torch.cat([block for _, block in distance_blocks(query, gallery, metric)])


def distance_blocks(
    query: torch.Tensor, gallery: torch.Tensor, metric: str = "sqeuclidean"
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Compute ``pairwise_distance`` in blocks of rows, for matrices that do not fit in memory.

    Yields:
        The query rows of the block, and their distances, (rows, G).
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}.")
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query and gallery must be (Q, D) and (G, D), got {tuple(query.shape)} and {tuple(gallery.shape)}."
        )
    dtype = torch.promote_types(torch.promote_types(query.dtype, gallery.dtype), torch.float32)
    gallery = gallery.double()
    if metric == "cosine":
        gallery = F.normalize(gallery, dim=1)
    gallery_norms = gallery.square().sum(dim=1)  # (G,)
    step = max(1, _BLOCK_ELEMENTS // max(1, len(gallery)))
    for start in range(0, max(1, len(query)), step):
        rows = slice(start, min(start + step, len(query)))
        block = query[rows].double()
        if metric == "cosine":
            distances = 1 - F.normalize(block, dim=1) @ gallery.T
        else:
            distances = block.square().sum(dim=1, keepdim=True) + gallery_norms - 2 * block @ gallery.T
        distances = distances.clamp_min(0)
        if metric == "euclidean":
            distances = distances.sqrt()
        yield rows, distances.to(dtype)
