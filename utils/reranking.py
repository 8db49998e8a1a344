"""k-reciprocal re-ranking of a retrieval result, on the device of the features.

Works from features, tile by tile, and describes samples by sparse vectors. The matrix of all distances, (Q + G)^2, is
never held, and only its upper half is computed; re-ranked distances, (Q, G), come in blocks. The sets of neighbours,
some whole numbers for each sample, are made on the CPU.
N = Q + G samples, queries first.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from .distances import Distances, RoundedFeatures, column_of, ordered_keys, round_features, squared_tile

# Samples to a side of a tile of distances: smaller tiles skip more of the lower half, larger ones are faster.
_TILE = 2048
_MAX_TILES = 32  # to a side; beyond, tiles grow up to _MAX_TILE (64 MiB, and a few times as much to work with)
_MAX_TILE = 4096
# Elements of temporaries at a time: 8 MiB in the widest type. Eight times as many took a quarter longer.
_BLOCK_ELEMENTS = 1 << 20
_SPARE = 8  # candidates for neighbours beside those that are wanted; more make fewer samples doubtful
_WEIGHT_BITS = 40  # weights are rounded to multiples of 2^-40: their sums, at most 1, are exact in any order


def re_rank(
    query: Tensor | np.ndarray,
    gallery: Tensor | np.ndarray,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> np.ndarray:
    """Compute the whole matrix of re-ranked distances, (Q, G), float32, 0 to 1."""
    query, gallery = torch.as_tensor(query), torch.as_tensor(gallery)
    neighbourhoods = find_neighbourhoods(query, gallery, k1, k2)
    return re_ranked_distances(query, gallery, neighbourhoods, lambda_value).matrix().numpy()


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """What re-ranking knows of the samples, on the CPU, to be sent to other processes."""

    weights: sparse.csr_array  # description of each sample by its neighbours, (N, N), float64; each sums to one
    scales: Tensor  # largest squared distance of each sample, (N,), float64; 1 where all are 0


def find_neighbourhoods(query: Tensor, gallery: Tensor, k1: int = 20, k2: int = 6) -> Neighbourhoods:
    """Describe every sample by its k-reciprocal neighbours.

    Features are (Q, D) and (G, D), normalised if the plain ranking's are. ``k1`` is the size of the neighbourhood whose
    reciprocal members describe a sample, ``k2`` the number of neighbours, with the sample itself, over which its
    description is averaged; both are at least 1.

    Reference:
        Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017. As in the
        authors' code, squared Euclidean distances are divided by the largest distance of each sample. We
        deviate in that a sample is always its own first neighbour, also among exact duplicates.
    """
    features = round_features(torch.cat([query, gallery.to(query)]))
    nearest, scales = _rank_neighbours(features, max(k1, k2 - 1))
    neighbours = nearest.cpu().numpy()
    weights = _encode(features, _expanded_reciprocal_sets(neighbours, k1), scales)
    nearest_few = neighbours[:, :k2]
    weights = ((_indicator(nearest_few) / nearest_few.shape[1]) @ weights).tocsr()  # local query expansion
    weights.data = np.round(weights.data * 2.0**_WEIGHT_BITS) / 2.0**_WEIGHT_BITS
    return Neighbourhoods(weights, scales.cpu())


def re_ranked_distances(
    query: Tensor, gallery: Tensor, neighbourhoods: Neighbourhoods, lambda_value: float = 0.3
) -> Distances:
    """Prepare lambda times the original distances plus (1 - lambda) times the Jaccard distances, Eq. (12) of the paper.

    They are (Q, G), float32, 0 to 1, on the device of the features; ``lambda_value`` is from 0 to 1.
    """
    q, g, (Q, G) = round_features(query), round_features(gallery.to(query)), (len(query), len(gallery))
    scales = neighbourhoods.scales.to(query.device)
    own, by_column = neighbourhoods.weights[:Q], neighbourhoods.weights[Q:].tocsc()
    starts, entries, values = (
        torch.as_tensor(part, device=query.device) for part in (by_column.indptr, by_column.indices, by_column.data)
    )
    hits = np.diff(by_column.indptr)  # gallery entries that are non-zero in a column

    def compute(rows: slice) -> Tensor:
        distances = squared_tile(q.part(rows), g)
        chosen = own[rows]
        for part in _query_parts(np.diff(chosen.indptr), hits[chosen.indices], G):
            shared = _intersect(chosen[part], starts, entries, values, G)
            distances[part] *= (lambda_value / scales[rows][part]).unsqueeze(1)
            # Both descriptions sum to one, so the union is 2 - the intersection.
            distances[part] += (1 - shared.div_(2 - shared)).mul_(1 - lambda_value)
        return distances.float()

    return Distances((Q, G), compute)


def _intersect(queries: sparse.csr_array, starts: Tensor, entries: Tensor, values: Tensor, num_gallery: int) -> Tensor:
    """Sum the smaller weights of what queries and gallery entries share, (R, G), float64; the gallery by columns."""
    columns, weights = (torch.as_tensor(part, device=starts.device) for part in (queries.indices, queries.data))
    row = torch.as_tensor(np.repeat(np.arange(queries.shape[0]), np.diff(queries.indptr)), device=starts.device)
    # Every non-zero of a query meets all gallery entries that are non-zero in the same column.
    first = starts[columns].long()
    hits = starts[columns + 1].long() - first
    meeting = torch.arange(len(columns), device=starts.device).repeat_interleave(hits)
    entry = (first - hits.cumsum(0) + hits).index_select(0, meeting)
    entry += torch.arange(len(meeting), device=starts.device)
    cells = (row * num_gallery).index_select(0, meeting).add_(entries.index_select(0, entry))
    least = torch.minimum(values.index_select(0, entry), weights.index_select(0, meeting))
    shared = torch.bincount(cells, weights=least, minlength=queries.shape[0] * num_gallery)
    return shared.view(-1, num_gallery)


def _rank_neighbours(features: RoundedFeatures, k: int) -> tuple[Tensor, Tensor]:
    """Find the k + 1 nearest samples of every sample, itself first, (N, k + 1), and its largest distance, (N,).

    Candidates are found by approximate distances. Exact ones are computed where the approximate ones leave a doubt: of
    candidates whose order is not certain, and of whole rows whose candidates may lack a neighbour.
    """
    N, device = len(features.values), features.values.device
    numbers, size = torch.arange(N, device=device), min(k + 1, N)
    distances, candidates, errors, farthest = _find_candidates(features.values, min(size + _SPARE, N))
    close = distances.diff(dim=1) <= 2 * errors.unsqueeze(1)
    unsure = F.pad(close, (1, 0)) | F.pad(close, (0, 1))
    starts = F.pad(unsure.sum(dim=1).cumsum(0), (1, 0))
    distances[unsure] = _distances_of(features, starts, candidates[unsure])
    best = ordered_keys(distances, candidates).topk(size, dim=1, largest=False).values
    lacking = close[:, size - 1 :].all(dim=1) & (candidates.shape[1] < N)
    for rows in lacking.nonzero().flatten().split(max(1, _BLOCK_ELEMENTS // N)):
        row = squared_tile(features.part(rows), features).float()
        row[numbers[: len(rows)], rows] = -torch.inf
        best[rows] = ordered_keys(row, numbers).topk(size, dim=1, largest=False).values
    scales = _distances_of(features, torch.arange(N + 1, device=device), farthest).float().double()
    return column_of(best), scales.where(scales > 0, 1.0)


def _find_candidates(values: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Find the samples that seem nearest to every sample, by products in float32; in float64 on a GPU.

    ``values`` are (N, D), float64. Returns approximate squared distances, ascending, of ``number`` samples, and which
    they are, (N, number); the largest error of such a distance, (N,); and the sample that seems farthest, (N,).
    """
    N, width = values.shape
    centred = values - values.mean(dim=0)
    unit = torch.linalg.vector_norm(centred, dim=1).max().clamp_min(1e-100)  # not 0
    points = centred.div_(unit).to(torch.float32 if values.device.type == "cpu" else torch.float64)
    lengths = torch.linalg.vector_norm(points, dim=1)  # at most 1
    squares = lengths.square()
    nearest = points.new_full((N, number), torch.inf), torch.zeros(N, number, dtype=torch.int64, device=values.device)
    farthest = points.new_zeros(N), torch.arange(N, device=values.device)

    def add(rows: slice, first: int, tile: Tensor) -> None:
        """Take distances of samples to those from ``first`` on into account."""
        found = tile.topk(min(number, tile.shape[1]), dim=1, largest=False)
        distances = torch.cat([nearest[0][rows], found.values], dim=1)
        columns = torch.cat([nearest[1][rows], found.indices + first], dim=1)
        nearest[0][rows], chosen = distances.topk(number, dim=1, largest=False)
        nearest[1][rows] = columns.gather(1, chosen)
        largest, column = tile.max(dim=1)
        farther = largest > farthest[0][rows]
        farthest[0][rows] = largest.where(farther, farthest[0][rows])
        farthest[1][rows] = (column + first).where(farther, farthest[1][rows])

    side = min(_MAX_TILE, max(_TILE, -(-N // _MAX_TILES)))
    parts = [slice(start, min(start + side, N)) for start in range(0, N, side)]
    strip, memory = -(-side // 4), points.new_empty(side, -(-side // 64) * 64)  # odd rows took a quarter longer
    for index, rows in enumerate(parts):
        for columns in parts[index:]:
            left, right = points[rows], points[columns].T
            tile = memory[: len(left), : right.shape[1]]
            if rows == columns:  # symmetric: strips from the diagonal on, and their mirror image
                for start in range(0, len(tile), strip):
                    own, later = slice(start, start + strip), slice(start + strip, None)
                    torch.mm(left[own], right[:, start:], out=tile[own, start:])
                    tile[later, own] = tile[own, later].T
                tile.fill_diagonal_(torch.inf)  # at distance -inf, a sample is its own first neighbour
            else:
                torch.mm(left, right, out=tile)
            torch.add(squares[columns], tile, alpha=-2, out=tile).add_(squares[rows].unsqueeze(1))
            add(rows, columns.start, tile)
            if rows != columns:
                add(columns, rows.start, tile.T.contiguous())
    # Of a product, and of rounding and adding up (Higham, "Accuracy and Stability of Numerical Algorithms", 2002,
    # section 3.1).
    errors = 2.0**-23 * (width * lengths + 4 * (lengths + 1).square())
    return nearest[0].double() * unit.square(), nearest[1], errors * unit.square(), farthest[1]


def _expanded_reciprocal_sets(neighbours: np.ndarray, k1: int) -> sparse.csr_array:
    """Compute R*(i, k1) of the paper, Eq. (5), as an indicator matrix, (N, N).

    Every reciprocal neighbour of a sample adds its own half-sized reciprocal set if more than two thirds of that set
    are already in the sample's set.
    """
    full = _reciprocal(neighbours[:, : k1 + 1])
    half = _reciprocal(neighbours[:, : round(k1 / 2) + 1])
    overlap = (full @ half.T).multiply(full).tocoo()  # |R(i) and R_half(c)| for the members c of R(i)
    accepted = 3 * overlap.data > 2 * half.sum(axis=1)[overlap.col]
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


def _encode(features: RoundedFeatures, members: sparse.csr_array, scales: Tensor) -> sparse.csr_array:
    """Describe each sample by its members, weighted by exp(-distance) and summing to one, (N, N)."""
    starts, columns = (torch.as_tensor(part, device=scales.device).long() for part in (members.indptr, members.indices))
    rows = torch.arange(len(scales), device=scales.device).repeat_interleave(starts.diff())
    weights = torch.exp(-_distances_of(features, starts, columns) / scales[rows])
    weights /= torch.zeros_like(scales).index_add_(0, rows, weights)[rows]
    return sparse.csr_array((weights.cpu().numpy(), members.indices, members.indptr), shape=members.shape)


def _distances_of(features: RoundedFeatures, starts: Tensor, columns: Tensor) -> Tensor:
    """Compute squared distances, (n,), float64, of each sample to its ``columns``, (n,), which begin at ``starts``."""
    values, squares = features
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
        zeros = values.new_zeros(len(columns))
        pattern = torch.sparse_csr_tensor(starts, columns, zeros, [len(values)] * 2, check_invariants=False)
        products = torch.sparse.sampled_addmm(pattern, values, values.T).values()
    return squares.repeat_interleave(starts.diff()) + squares[columns] - 2 * products


def _query_parts(num_nonzeros: np.ndarray, hits: np.ndarray, num_gallery: int) -> Iterator[slice]:
    """Cut the queries so that the cells and meetings of a part together fill no more than a block."""
    bounds = np.concatenate([[0], np.cumsum(num_nonzeros)])
    work = np.concatenate([[0], np.cumsum(hits, dtype=np.int64)])[bounds]  # meetings up to each query
    work += num_gallery * np.arange(len(work))
    start = 0
    while start < len(num_nonzeros):
        stop = max(start + 1, int(np.searchsorted(work, work[start] + _BLOCK_ELEMENTS, side="right")) - 1)
        yield slice(start, stop)
        start = stop
