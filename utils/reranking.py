"""k-reciprocal re-ranking of a retrieval result.

Works from features, tile by tile in float32, and describes samples by sparse vectors. The matrix of all distances,
(Q + G)^2, is never held, and only its upper half is computed; re-ranked distances, (Q, G), come in blocks.
N = Q + G samples, queries first.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse

from .distances import DistanceBlock, Distances, SquaredDistances
from .mistake import Mistake

# Samples to a side of a tile of distances: smaller tiles skip more of the lower half, larger ones are faster.
_TILE = 2048
_MAX_TILES = 32  # to a side; beyond, tiles grow up to _MAX_TILE (64 MiB, and as much for a copy)
_MAX_TILE = 4096
# Elements of temporaries at a time: 8 MiB in the widest type. Eight times as many took a quarter longer.
_BLOCK_ELEMENTS = 1 << 20
_PART_ELEMENTS = 1 << 25  # re-ranked distances at a time: 128 MiB


def re_rank(
    query: torch.Tensor | np.ndarray,
    gallery: torch.Tensor | np.ndarray,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> np.ndarray:
    """Compute the whole matrix of ``prepare_re_ranking``, (Q, G), float32."""
    return prepare_re_ranking(query, gallery, k1, k2, lambda_value).matrix().numpy()


def prepare_re_ranking(
    query: torch.Tensor | np.ndarray,
    gallery: torch.Tensor | np.ndarray,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> "ReRankedDistances":
    """Prepare distances that also count the neighbours which query and gallery entries share.

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
        docs/benchmarks.md states time and memory.
    """
    query, gallery = _as_features("query", query), _as_features("gallery", gallery)
    if query.shape[1] != gallery.shape[1]:
        raise Mistake(f"query and gallery must have one width, got {tuple(query.shape)} and {tuple(gallery.shape)}.")
    if k1 < 1 or k2 < 1:
        raise Mistake(f"k1 and k2 must be at least 1, got k1={k1}, k2={k2}.")
    if not 0 <= lambda_value <= 1:
        raise Mistake(f"lambda_value must be between 0 and 1, got {lambda_value}.")

    Q, gallery = len(query), gallery.to(query)
    features = torch.cat([query, gallery])
    distances = SquaredDistances(features, features)
    neighbours, scales = _rank_neighbours(distances, max(k1, k2 - 1))
    weights = _encode(distances, _expanded_reciprocal_sets(neighbours, k1), scales)
    nearest = neighbours[:, :k2]
    weights = (_indicator(nearest).astype(np.float32) / nearest.shape[1]) @ weights  # local query expansion
    return ReRankedDistances(distances, slice(0, Q), scales, weights[:Q], weights[Q:].tocsc(), lambda_value)


class ReRankedDistances(Distances):
    """Lambda times the original distances plus (1 - lambda) times the Jaccard distances, Eq. (12) of the paper.

    Args:
        distances: Of all samples, (N, N); the gallery entries are the last.
        rows: Which samples are the queries.
        scales: Largest distance of each sample, (N,).
        queries: Descriptions of the queries, (Q, N); each sums to one.
        gallery: Descriptions of the gallery entries, (G, N), likewise.
        lambda_value: Weight of the original distances.
    """

    def __init__(
        self,
        distances: SquaredDistances,
        rows: slice,
        scales: np.ndarray,
        queries: sparse.csr_array,
        gallery: sparse.csc_array,
        lambda_value: float,
    ) -> None:
        self.shape = (queries.shape[0], gallery.shape[0])
        self._distances, self._rows, self._scales = distances, rows, scales
        self._queries, self._gallery = queries, gallery
        self._lambda_value = lambda_value

    def part(self, rows: slice) -> "ReRankedDistances":
        """Return the distances of some queries."""
        start, stop, _ = rows.indices(self.shape[0])
        own = slice(self._rows.start + start, self._rows.start + stop)
        return ReRankedDistances(
            self._distances, own, self._scales, self._queries[rows], self._gallery, self._lambda_value
        )

    def blocks(self) -> Iterator[DistanceBlock]:
        """Compute all rows, in order; the sums, in float32, count as exact."""
        Q, G = self.shape
        step = max(1, _PART_ELEMENTS // G)
        for start in range(0, Q, step):
            rows = slice(start, min(start + step, Q))
            samples = slice(self._rows.start + rows.start, self._rows.start + rows.stop)
            tile = self._distances.tile(samples, slice(len(self._scales) - G, None)).clamp_min_(0)
            distances = tile.float().cpu().numpy()
            distances *= (self._lambda_value / self._scales[samples])[:, None]
            self._add_jaccard(distances, self._queries[rows])
            yield DistanceBlock(rows, torch.from_numpy(distances), None)

    def _add_jaccard(self, distances: np.ndarray, queries: sparse.csr_array) -> None:
        """Add (1 - lambda) times the Jaccard distances of some queries to ``distances``, (queries, G)."""
        G = self.shape[1]
        lengths = np.diff(self._gallery.indptr)
        for part in _query_parts(np.diff(queries.indptr), lengths[queries.indices], G):
            chunk = queries[part]
            row = np.repeat(np.arange(chunk.shape[0]), np.diff(chunk.indptr))
            # Every non-zero of a query meets all gallery entries that are non-zero in the same column.
            hits = lengths[chunk.indices]
            ends = np.cumsum(hits)
            entry = np.arange(hits.sum()) + np.repeat(self._gallery.indptr[chunk.indices] - (ends - hits), hits)
            shared = np.minimum(self._gallery.data[entry], np.repeat(chunk.data, hits))
            cell = np.repeat(row, hits) * G + self._gallery.indices[entry]
            intersection = np.bincount(cell, weights=shared, minlength=chunk.shape[0] * G).reshape(-1, G)
            # Both descriptions sum to one, so the union is 2 - intersection.
            overlap = np.divide(intersection, 2 - intersection, out=intersection)
            distances[part] += (1 - self._lambda_value) * (1 - overlap)


def _as_features(name: str, values: torch.Tensor | np.ndarray) -> torch.Tensor:
    features = torch.as_tensor(values).detach()
    if features.ndim != 2 or not len(features):
        raise Mistake(f"{name} must be a non-empty matrix (samples, width), got shape {tuple(features.shape)}.")
    if not torch.isfinite(features).all():
        raise Mistake(f"{name} holds NaN or infinite features.")
    return features


def _rank_neighbours(distances: SquaredDistances, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the k + 1 nearest samples of every sample, itself first, (N, k + 1), and its largest distance, (N,)."""
    N = distances.shape[0]
    size = min(k + 1, N)
    nearest = _Nearest(N, size)
    side = min(_MAX_TILE, max(_TILE, -(-N // _MAX_TILES)))
    parts = [slice(start, min(start + side, N)) for start in range(0, N, side)]
    for number, rows in enumerate(parts):
        for columns in parts[number:]:
            tile = distances.tile(rows, columns).clamp_min_(0)
            if rows == columns:
                tile.fill_diagonal_(-1)  # a sample is its own first neighbour
            nearest.add(rows, columns, tile)
            if rows != columns:
                nearest.add(columns, rows, tile.T.contiguous())
    return nearest.neighbours(distances)


class _Nearest:
    """The nearest of the samples seen so far, and the largest distance, of every sample."""

    def __init__(self, num_samples: int, size: int) -> None:
        self._values = np.full((num_samples, size), np.inf, dtype=np.float32)
        self._indices = np.zeros((num_samples, size), dtype=np.int32)
        self._largest = np.zeros(num_samples, dtype=np.float32)

    def add(self, rows: slice, columns: slice, tile: torch.Tensor) -> None:
        """Take the distances of the samples ``rows`` to the samples ``columns`` into account."""
        size = self._values.shape[1]
        self._largest[rows] = np.maximum(self._largest[rows], tile.amax(dim=1).cpu().numpy())
        nearest = tile.topk(min(size, tile.shape[1]), dim=1, largest=False)
        found = nearest.indices.int().cpu().numpy() + np.int32(columns.start)
        values = np.concatenate([self._values[rows], nearest.values.cpu().numpy()], axis=1)
        indices = np.concatenate([self._indices[rows], found], axis=1)
        chosen = np.argpartition(values, size - 1, axis=1)[:, :size]
        self._values[rows] = np.take_along_axis(values, chosen, axis=1)
        self._indices[rows] = np.take_along_axis(indices, chosen, axis=1)

    def neighbours(self, distances: SquaredDistances) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest, nearest first, equal ones by index, and the largest distances (1 where all are 0).

        Where float32 has lost the digits of a distance, it is computed again, exactly.
        """
        row, number = np.nonzero((self._values >= 0) & (self._values < distances.near_limits().cpu().numpy()[:, None]))
        pairs = torch.as_tensor(row), torch.as_tensor(self._indices[row, number], dtype=torch.long)
        self._values[row, number] = distances.exact(*pairs).cpu().numpy()
        order = np.lexsort((self._indices, self._values), axis=1)
        scales = np.where(self._largest > 0, self._largest, 1)
        return np.take_along_axis(self._indices, order, axis=1), scales


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


def _encode(distances: SquaredDistances, members: sparse.csr_array, scales: np.ndarray) -> sparse.csr_array:
    """Describe each sample by its members, weighted by exp(-distance) and summing to one, (N, N)."""
    rows = np.repeat(np.arange(len(scales)), np.diff(members.indptr))
    values = np.exp(-distances.sparse(members).cpu().numpy().astype(np.float32) / scales[rows])
    values /= np.bincount(rows, weights=values, minlength=len(scales))[rows]
    return sparse.csr_array((values, members.indices, members.indptr), shape=members.shape)


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
