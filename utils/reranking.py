"""k-reciprocal re-ranking of a retrieval result.

Works from features, block by block, and describes samples by sparse vectors. The largest array in memory is the (Q, G)
result; the matrix of all distances, (Q + G)^2, is never held. N = Q + G samples, queries first.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse

from .distances import distance_blocks

# Elements of temporaries at a time: about 100 MiB in the widest type.
_BLOCK_ELEMENTS = 1 << 23


def re_rank(
    query: torch.Tensor | np.ndarray,
    gallery: torch.Tensor | np.ndarray,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> np.ndarray:
    """Compute distances that also count the neighbours which query and gallery entries share.

    Args:
        query: Query features, (Q, D); normalise them first if the plain ranking does.
        gallery: Gallery features, (G, D).
        k1: Size of the neighbourhood whose reciprocal members describe a sample.
        k2: Number of neighbours, with the sample itself, over which its description is averaged; 1 for no average.
        lambda_value: Weight of the original distance, 0 to 1, beside the Jaccard distance.
    Returns:
        Distances, (Q, G), float32, 0 to 1.
    Raises:
        ValueError: On shapes that do not fit, non-finite features, or an argument out of range.
    Reference:
        Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017. As in the
        authors' code, squared Euclidean distances are divided by the largest distance of each sample. We
        deviate in that a sample is always its own first neighbour, also among exact duplicates.
    """
    query, gallery = _as_features("query", query), _as_features("gallery", gallery)
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(f"query and gallery must have one width, got {tuple(query.shape)} and {tuple(gallery.shape)}.")
    if k1 < 1 or k2 < 1:
        raise ValueError(f"k1 and k2 must be at least 1, got k1={k1}, k2={k2}.")
    if not 0 <= lambda_value <= 1:
        raise ValueError(f"lambda_value must be between 0 and 1, got {lambda_value}.")

    Q, G = len(query), len(gallery)
    features = torch.cat([query, gallery.to(query)])
    result = np.empty((Q, G), dtype=np.float32)
    neighbours, scales = _rank_neighbours(features, max(k1, k2 - 1), result)

    members = _expanded_reciprocal_sets(neighbours, k1)
    weights = _encode(features, members, scales)
    nearest = neighbours[:, :k2]
    weights = (_indicator(nearest).astype(np.float32) / nearest.shape[1]) @ weights  # local query expansion
    _blend(result, weights, lambda_value)
    return result


def _as_features(name: str, values: torch.Tensor | np.ndarray) -> torch.Tensor:
    features = torch.as_tensor(values).detach()
    if features.ndim != 2 or not len(features):
        raise ValueError(f"{name} must be a non-empty matrix (samples, width), got shape {tuple(features.shape)}.")
    if not torch.isfinite(features).all():
        raise ValueError(f"{name} holds NaN or infinite features.")
    return features


def _rank_neighbours(features: torch.Tensor, k: int, original: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the k + 1 nearest samples of every sample, itself first, (N, k + 1), and its largest distance, (N,).

    Also fills ``original``, (Q, G), with the normalised distances of queries to galleries.
    """
    N, Q = len(features), len(original)
    size = min(k + 1, N)
    neighbours = np.empty((N, size), dtype=np.int32)
    scales = np.empty(N, dtype=np.float32)
    for rows, block in distance_blocks(features, features):
        for start in range(rows.start, rows.stop, step := max(1, _BLOCK_ELEMENTS // N)):
            part = slice(start, min(start + step, rows.stop))
            distances = block[part.start - rows.start : part.stop - rows.start].cpu().numpy().astype(np.float32)
            largest = distances.max(axis=1)
            scales[part] = np.where(largest > 0, largest, 1)  # all samples alike: leave the zeros alone
            queries = slice(part.start, min(part.stop, Q))
            num_queries = max(0, queries.stop - queries.start)
            original[queries] = distances[:num_queries, Q:] / scales[queries, None]

            distances[np.arange(len(distances)), np.arange(part.start, part.stop)] = -1
            closest = np.argpartition(distances, size - 1, axis=1)[:, :size]
            closest.sort(axis=1)  # then a stable sort by distance: equal distances go by index
            order = np.argsort(np.take_along_axis(distances, closest, axis=1), axis=1, kind="stable")
            neighbours[part] = np.take_along_axis(closest, order, axis=1)
    return neighbours, scales


def _expanded_reciprocal_sets(neighbours: np.ndarray, k1: int) -> sparse.csr_array:
    """Compute R*(i, k1) of the paper, Eq. (5), as an indicator matrix, (N, N).

    Every reciprocal neighbour of a sample adds its own half-sized reciprocal set if more than two thirds of that set
    are already in the sample's set.
    """
    full = _reciprocal(neighbours[:, : k1 + 1])
    half = _reciprocal(neighbours[:, : round(k1 / 2) + 1])
    overlap = (full @ half.T).multiply(full).tocoo()  # |R(i) and R_half(c)| for the members c of R(i)
    half_sizes = half.sum(axis=1)
    accepted = 3 * overlap.data > 2 * half_sizes[overlap.col]
    contributors = sparse.csr_array(
        (overlap.data[accepted], (overlap.row[accepted], overlap.col[accepted])), shape=full.shape
    )
    members = (full + contributors @ half).tocsr()
    members.sort_indices()
    return members


def _reciprocal(neighbours: np.ndarray) -> sparse.csr_array:
    near = _indicator(neighbours)
    return near.multiply(near.T).tocsr()


def _indicator(neighbours: np.ndarray) -> sparse.csr_array:
    N, k = neighbours.shape
    return sparse.csr_array(
        (np.ones(N * k, dtype=np.int32), neighbours.ravel(), np.arange(0, N * k + 1, k)), shape=(N, N)
    )


def _encode(features: torch.Tensor, members: sparse.csr_array, scales: np.ndarray) -> sparse.csr_array:
    """Describe each sample by its members, weighted by exp(-distance) and summing to one, (N, N)."""
    N, D = features.shape
    rows = np.repeat(np.arange(N), np.diff(members.indptr))
    columns = members.indices
    values = np.empty(len(rows), dtype=np.float32)
    step = max(1, _BLOCK_ELEMENTS // D)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        left = features[torch.as_tensor(rows[part], device=features.device)]
        right = features[torch.as_tensor(columns[part], device=features.device, dtype=torch.long)]
        distances = (left.float() - right.float()).square().sum(dim=1).cpu().numpy()
        values[part] = np.exp(-distances / scales[rows[part]])
    values /= np.bincount(rows, weights=values, minlength=N)[rows]
    return sparse.csr_array((values, columns, members.indptr), shape=(N, N))


def _blend(distances: np.ndarray, weights: sparse.csr_array, lambda_value: float) -> None:
    """Replace ``distances``, (Q, G), by lambda times them plus (1 - lambda) times the Jaccard distance, Eq. (12)."""
    Q, G = distances.shape
    queries = weights[:Q]
    gallery = weights[Q:].tocsc()
    lengths = np.diff(gallery.indptr)
    for part in _query_parts(np.diff(queries.indptr), lengths[queries.indices], G):
        chunk = queries[part]
        row = np.repeat(np.arange(chunk.shape[0]), np.diff(chunk.indptr))
        # Every non-zero of a query meets all gallery entries that are non-zero in the same column.
        hits = lengths[chunk.indices]
        ends = np.cumsum(hits)
        entry = np.arange(hits.sum()) + np.repeat(gallery.indptr[chunk.indices] - (ends - hits), hits)
        shared = np.minimum(gallery.data[entry], np.repeat(chunk.data, hits))
        cell = np.repeat(row, hits) * G + gallery.indices[entry]
        intersection = np.bincount(cell, weights=shared, minlength=chunk.shape[0] * G).reshape(-1, G)
        # Both descriptions sum to one, so the union is 2 - intersection.
        jaccard = 1 - intersection / (2 - intersection)
        distances[part] = lambda_value * distances[part] + (1 - lambda_value) * jaccard


def _query_parts(num_nonzeros: np.ndarray, hits: np.ndarray, num_gallery: int) -> Iterator[slice]:
    """Cut the queries so that the cells and meetings of a part together fill no more than a block."""
    bounds = np.concatenate([[0], np.cumsum(num_nonzeros)])
    work = np.concatenate([[0], np.cumsum(hits, dtype=np.int64)])[bounds]  # meetings up to each query
    work += num_gallery * np.arange(len(work))
    start = 0
    while start < len(num_nonzeros):
        stop = int(np.searchsorted(work, work[start] + _BLOCK_ELEMENTS, side="right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop
