"""Distances between rows of feature matrices, block by block; the whole matrix only for those who ask for it.

Axes: Q queries, G galleries, D feature width.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from .mistake import Mistake

ALL = slice(None)
METRICS = ("sqeuclidean", "euclidean", "cosine")
# Distances computed at a time: 256 MiB in float32. Blocks of fewer rows are slower: a matrix product of 50 rows took
# twice as long per row as one of 3,000.
_BLOCK_ELEMENTS = 1 << 26
# Numbers of features compared at a time in double precision: 32 MiB.
_PAIR_ELEMENTS = 1 << 22
# Largest error of a squared distance in float32, in units of rounding (2^-24) of |q|^2 + |g|^2. Measured on normal,
# rectified, clustered, low-rank and heavy-tailed features of 16 to 2,048 numbers: at most 13. Features whose products
# all have one sign and size reached 43, so each block is also compared with exact distances on a sample.
_ERROR_UNITS = 16
_SAMPLE = 256
_SAMPLE_STRIDE = 7919  # a prime: the sampled columns spread over the gallery
_SAMPLE_FACTOR = 4  # times the largest error in the sample
# A distance below so many times its possible error is computed again, exactly.
_NEAR = 4096
# Where more than this share of a block is that near, the block is computed again as a matrix product.
_MAX_NEAR = 1 / 64


class DistanceBlock(NamedTuple):
    """Distances of some queries to the whole gallery.

    Attributes:
        rows: Which queries.
        distances: (rows, G).
        margins: How far each row's distances may be from the exact ones, (rows,); None if these are the exact ones.
    """

    rows: slice
    distances: Tensor
    margins: Tensor | None


class Distances(ABC):
    """A matrix of distances, (Q, G), of which only blocks of rows are ever held."""

    shape: tuple[int, int]

    @abstractmethod
    def blocks(self) -> Iterator[DistanceBlock]:
        """Compute all rows, in order; a block is the caller's to change."""

    @abstractmethod
    def part(self, rows: slice) -> "Distances":
        """Return the distances of some queries."""

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Compute single distances, (n,), float64; a pair's has the same bits in any company (on the CPU).

        Where blocks have no margins, their distances are exact, and nobody asks.
        """
        raise NotImplementedError(f"The blocks of {type(self).__name__} have no margins.")

    def values(self) -> Iterator[tuple[slice, Tensor]]:
        """Compute all rows, in order, as they are written to files: at least 0, near-duplicates correct, too.

        Yields:
            The query rows of the block, and their distances, (rows, G).
        """
        yield from ((block.rows, block.distances) for block in self.blocks())

    def matrix(self) -> Tensor:
        """Compute the whole matrix, (Q, G)."""
        return torch.cat([block for _, block in self.values()])

    def iterate_rows(self) -> Iterator[np.ndarray]:
        """Compute the distances of each query, (G,), in order, as ``values`` does."""
        for _, block in self.values():
            yield from block.cpu().numpy()


class SquaredDistances(Distances):
    """Squared Euclidean distances between features, in float32 (float64 if an input is), without TF32.

    The expansion |q|^2 + |g|^2 - 2 q.g is one matrix product, but its error does not shrink with the distance: of unit
    features at a distance of 1e-6, float32 keeps no digit (``test_near_duplicates_in_float32`` shows it). Features are
    shifted by the gallery's mean first, which changes no distance and makes the error smaller; ``exact`` takes
    differences in double precision.

    Args:
        query: (Q, D), any floating type.
        gallery: (G, D), on the same device.
    Raises:
        ValueError: On shapes that do not fit, NaN or infinity.
    """

    def __init__(self, query: Tensor, gallery: Tensor) -> None:
        if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
            raise Mistake(
                f"query and gallery must be (Q, D) and (G, D), got {tuple(query.shape)} and {tuple(gallery.shape)}."
            )
        self.shape = (len(query), len(gallery))
        self._query, self._gallery = query, gallery
        self._dtype = torch.promote_types(torch.promote_types(query.dtype, gallery.dtype), torch.float32)
        self._mean = gallery.detach().mean(dim=0, dtype=self._dtype) if len(gallery) else gallery.new_zeros(1)
        self._left, self._right = query.to(self._dtype) - self._mean, gallery.to(self._dtype) - self._mean
        self._left_norms, self._right_norms = _square(self._left), _square(self._right)  # (Q,) and (G,), float64
        if not (torch.isfinite(self._left_norms).all() and torch.isfinite(self._right_norms).all()):
            raise Mistake("The features hold NaN or infinity: no distance can be computed.")

    def blocks(self) -> Iterator[DistanceBlock]:
        """Compute all rows; a distance near zero may come out negative."""
        Q, G = self.shape
        step = max(1, _BLOCK_ELEMENTS // max(1, G))
        for start in range(0, max(1, Q), step):
            rows = slice(start, min(start + step, Q))
            block = self.tile(rows)
            yield DistanceBlock(rows, block, self._margins(rows, block))

    def part(self, rows: slice) -> "SquaredDistances":
        """Return the distances of some queries; what is known of the gallery is shared."""
        own = copy(self)
        own._query, own._left, own._left_norms = self._query[rows], self._left[rows], self._left_norms[rows]
        own.shape = (len(own._query), self.shape[1])
        return own

    def values(self) -> Iterator[tuple[slice, Tensor]]:
        """Compute all rows, those of near-duplicates, where float32 loses more than about three digits, exactly."""
        for block in self.blocks():
            yield block.rows, _correct(block, self)

    def tile(self, rows: slice, columns: slice = ALL) -> Tensor:
        """Compute a rectangle of the matrix, (rows, columns); a distance near zero may come out negative."""
        left, right = self._left[rows], self._right[columns]
        return self._expand(left, right, self._left_norms[rows], self._right_norms[columns])

    def sparse(self, pattern: sparse.csr_array) -> Tensor:
        """Compute the distances of the pairs that a sparse matrix, (Q, G), stores; (nnz,), in its order, at least 0."""
        device = self._left.device
        rows = torch.as_tensor(np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr)), device=device)
        columns = torch.as_tensor(pattern.indices, device=device, dtype=torch.long)
        starts = torch.as_tensor(pattern.indptr, device=device, dtype=torch.long)
        with _full_precision(device), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
            zeros = torch.sparse_csr_tensor(
                starts, columns, self._left.new_zeros(len(columns)), pattern.shape, check_invariants=False
            )
            products = torch.sparse.sampled_addmm(zeros, self._left, self._right.T).values()
        norms = self._left_norms[rows] + self._right_norms[columns]
        return (norms - 2 * products).clamp_min(0).to(self._dtype)

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Compute single distances from differences in double precision."""
        parts = []
        step = max(1, _PAIR_ELEMENTS // max(1, self._query.shape[1]))
        for start in range(0, max(1, len(rows)), step):
            left, right = self._query[rows[start : start + step]], self._gallery[columns[start : start + step]]
            parts.append(_square(left.double() - right.double()))
        return torch.cat(parts)

    def near_limits(self) -> Tensor:
        """Return the distance of each query below which ``exact`` is worth its time, (Q,), float64."""
        unit = torch.finfo(self._dtype).eps / 2
        return _NEAR * _ERROR_UNITS * unit * (self._left_norms + self._right_norms.max())

    def double(self, rows: slice) -> Tensor:
        """Compute the rows of some queries, (rows, G), by a matrix product in double precision."""
        mean = self._mean.double()
        left, right = self._query[rows].double() - mean, self._gallery.double() - mean
        return self._expand(left, right, _square(left), _square(right))

    @staticmethod
    def _expand(left: Tensor, right: Tensor, left_norms: Tensor, right_norms: Tensor) -> Tensor:
        with _full_precision(left.device):
            block = torch.addmm(right_norms.to(left.dtype), left, right.T, alpha=-2)
        return block.add_(left_norms.to(left.dtype).unsqueeze(1))

    def _margins(self, rows: slice, block: Tensor) -> Tensor:
        """Bound the errors of a block's rows, (rows,), by their size and by a sample of the errors made."""
        if not block.numel():
            return block.new_zeros(len(block))
        sizes = self._left_norms[rows].detach()
        sample = torch.arange(_SAMPLE, device=block.device)
        row, column = sample * len(block) // _SAMPLE, sample * _SAMPLE_STRIDE % block.shape[1]
        errors = (block[row, column] - self.exact(row + rows.start, column)).detach().abs()
        relative = errors / (sizes[row] + self._right_norms[column]).clamp_min(torch.finfo(torch.float64).tiny)
        unit = torch.finfo(self._dtype).eps / 2
        error = torch.clamp_min(_SAMPLE_FACTOR * relative.max(), _ERROR_UNITS * unit)
        return (error * (sizes + self._right_norms.max())).to(self._dtype).detach()


def pairwise_distance(query: Tensor, gallery: Tensor, metric: str = "sqeuclidean") -> Tensor:
    """Compute the distance of every query to every gallery feature.

    Args:
        query: (Q, D), any floating type.
        gallery: (G, D), on the same device.
        metric: 'sqeuclidean', 'euclidean', or 'cosine' (1 - cosine similarity, 0 to 2; a zero vector is at 1
            from all).
    Returns:
        Distances, (Q, G), at least 0; float32, or float64 if an input is float64.
    Raises:
        ValueError: On an unknown metric, shapes that do not fit, NaN or infinity.
    """
    return torch.cat([block for _, block in distance_blocks(query, gallery, metric)])


def distance_blocks(query: Tensor, gallery: Tensor, metric: str = "sqeuclidean") -> Iterator[tuple[slice, Tensor]]:
    """Compute ``pairwise_distance`` in blocks of rows, for matrices that do not fit in memory.

    They are computed as ``SquaredDistances``, and those of near-duplicates, where float32 would lose more than about
    three digits, once more exactly.

    Yields:
        The query rows of the block, and their distances, (rows, G).
    """
    if metric not in METRICS:
        raise Mistake(f"metric must be one of {', '.join(METRICS)}, got {metric!r}.")
    if metric != "cosine":
        squared = SquaredDistances(query, gallery)
    else:  # of vectors of length 1 it is half the squared distance
        squared = SquaredDistances(F.normalize(query.double(), dim=-1), F.normalize(gallery.double(), dim=-1))
    for rows, distances in squared.values():
        if metric == "euclidean":
            distances = distances.sqrt()
        if metric == "cosine":
            zero = (query[rows] == 0).all(dim=1, keepdim=True) | (gallery == 0).all(dim=1)
            distances = (distances / 2).masked_fill(zero, 1).to(torch.promote_types(query.dtype, torch.float32))
        yield rows, distances


def _correct(block: DistanceBlock, squared: SquaredDistances) -> Tensor:
    """Compute the distances of near-duplicates in a block again, exactly."""
    distances = block.distances
    if block.margins is None or not distances.numel():
        return distances
    near = distances.detach() < _NEAR * block.margins.unsqueeze(1)
    if near.sum() > _MAX_NEAR * near.numel():
        return squared.double(block.rows).clamp_min(0).to(distances.dtype)
    row, column = near.nonzero(as_tuple=True)
    if len(row):
        distances[row, column] = squared.exact(row + block.rows.start, column).to(distances.dtype)
    return distances


def _square(features: Tensor) -> Tensor:
    """Compute the squared lengths of the rows of a matrix, in double precision."""
    return torch.linalg.vector_norm(features, dim=1, dtype=torch.float64).square()


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Keep matrix products out of autocast and TF32, whatever the surrounding code chose."""
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]  # set late
    chosen = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, chosen, strict=True):
            backend.fp32_precision = precision
