"""Squared distances of features, computed in blocks of rows on the features' device, and the nearest entries of a row.

A distance is computed in float64 and rounded to float32. Before, each feature is rounded to multiples of 2^-25 of its
length (of the nearest power of two). Then every product and every sum of a distance fits into the 53 bits of float64,
in any order: nothing is lost. So a distance has the same bits in any block, in any process and on any device, and equal
features are at equal distances. Of unit features, the rounding changes a squared distance of 2 by about 3e-8, less than
float32 does, and a small distance d by about 2e-8 sqrt(d).

Axes: Q queries, G galleries, D feature width, R rows of a block.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .mistake import Mistake

ALL = slice(None)
# Distances of a block: 256 MiB in float32. Blocks of fewer rows are slower: a matrix product of 50 rows took twice as
# long per row as one of 3,000.
_BLOCK_ELEMENTS = 1 << 26
_TILE_ELEMENTS = 1 << 23  # distances in float64 at a time: 64 MiB
_BITS = 25
_MIN_EXPONENT = -100  # of a length: shorter features, such as zero, are rounded as if they had this one


@dataclass(frozen=True, eq=False)
class Distances:
    """A matrix of distances, (Q, G), of which only blocks of rows are ever held."""

    shape: tuple[int, int]
    # computes those of some queries, (R, G), float32 or float64; the caller's to change
    rows: Callable[[slice], Tensor]

    def blocks(self, within: slice = ALL) -> Iterator[tuple[slice, Tensor]]:
        """Yield the queries of each block, of all or of those ``within``, and their distances, (R, G)."""
        start, stop, _ = within.indices(self.shape[0])
        step = max(1, _BLOCK_ELEMENTS // max(1, self.shape[1]))
        for first in range(start, stop, step):
            rows = slice(first, min(first + step, stop))
            yield rows, self.rows(rows)

    def matrix(self) -> Tensor:
        """Compute the whole matrix, (Q, G), on the CPU."""
        blocks = [block.cpu() for _, block in self.blocks()]
        return torch.cat(blocks) if blocks else torch.empty(self.shape)

    def plus(self, penalty: "Distances") -> "Distances":
        """Return these distances with a penalty, (Q, G), added."""
        return Distances(self.shape, lambda rows: self.rows(rows).add_(penalty.rows(rows)))


class RoundedFeatures(NamedTuple):
    """Features as distances are computed of them."""

    values: Tensor  # (n, D), float64
    squares: Tensor  # their squared lengths, (n,), float64

    def part(self, rows: slice | Tensor) -> "RoundedFeatures":
        """Return some of the features."""
        return RoundedFeatures(self.values[rows], self.squares[rows])


def round_features(features: Tensor) -> RoundedFeatures:
    """Round features, (n, D), of any floating type; Mistake: if they hold NaN or infinity."""
    values = features.detach().double()
    values = values.clone() if values.data_ptr() == features.data_ptr() else values
    lengths = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    if not lengths.isfinite().all():
        raise Mistake("The features hold NaN or infinity: the weights are damaged, or their training diverged.")
    units = torch.exp2(lengths.log2().round().clamp_min(_MIN_EXPONENT) - _BITS)
    shift = 1.5 * 2.0**52 * units  # of a number that it is added to, float64 keeps the multiples of a unit
    values.add_(shift).sub_(shift)
    return RoundedFeatures(values, torch.einsum("nd,nd->n", values, values))


def squared_tile(query: RoundedFeatures, gallery: RoundedFeatures, out: Tensor | None = None) -> Tensor:
    """Compute squared distances, (Q, G), float64, all at once; their float32 is what everything goes by."""
    products = torch.mm(query.values, gallery.values.T, out=out)
    torch.add(gallery.squares, products, alpha=-2, out=products)
    return products.add_(query.squares.unsqueeze(1))


def squared_distances(query: Tensor, gallery: Tensor) -> Distances:
    """Prepare the squared Euclidean distances of (Q, D) and (G, D), float32, at least 0; 0 between equal features."""
    q, g = round_features(query), round_features(gallery)

    def compute(rows: slice) -> Tensor:
        part = q.part(rows)
        block = gallery.new_empty(len(part.values), len(gallery), dtype=torch.float32)
        step = max(1, _TILE_ELEMENTS // max(1, len(block)))
        memory = part.values.new_empty(len(block) * min(step, len(gallery)))  # fresh memory for each tile costs time
        for start in range(0, len(gallery), step):
            tile = g.part(slice(start, start + step))
            out = memory[: len(block) * len(tile.values)].view(len(block), len(tile.values))
            block[:, start : start + step] = squared_tile(part, tile, out)
        return block

    return Distances((len(query), len(gallery)), compute)


def given_distances(matrix: np.ndarray | Tensor) -> Distances:
    """Hand out a matrix of distances, (Q, G), whose numbers stay as they are; Mistake: on NaN."""
    if matrix.ndim != 2:
        raise Mistake(f"distmat must be (Q, G), got {tuple(matrix.shape)}.")

    def copy(rows: slice) -> Tensor:
        part = matrix[rows]
        values = part.detach().clone() if isinstance(part, Tensor) else torch.tensor(part)
        exact = torch.promote_types(values.dtype, torch.float32) if values.is_floating_point() else torch.float64
        values = values.to(exact)
        if num_nan := int(values.isnan().sum()):
            raise Mistake(f"distmat holds NaN: {num_nan} value(s) in rows {rows.start} to {rows.stop - 1}.")
        return values

    return Distances((len(matrix), matrix.shape[1]), copy)


def sort_rows(values: Tensor) -> Tensor:
    """Sort along the last axis; on the CPU by NumPy, whose sort is several times as fast as torch's."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=-1))
    return values.sort(dim=-1).values


def ordered_keys(distances: Tensor, columns: Tensor) -> Tensor:
    """Return whole numbers, (R, G), that order float32 distances, and equal ones by ``columns``, (G,) or (R, G)."""
    bits = distances.to(torch.float32).add(0.0).view(torch.int32)  # -0.0 becomes 0.0
    bits ^= (bits >> 31).bitwise_and_(0x7FFFFFFF)  # negative floats are ordered backwards
    return bits.long().bitwise_left_shift_(32).bitwise_or_(columns)


def column_of(keys: Tensor) -> Tensor:
    """Return the columns that belong to keys of ``ordered_keys``."""
    return keys & 0xFFFFFFFF


def nearest_columns(distances: Tensor, length: int) -> Tensor:
    """Return the columns of each row's smallest distances, (R, length) or all if there are fewer, nearest first.

    Distances are (R, G), or (G,) of one query, float32; equal ones keep the order of the gallery.
    """
    G = distances.shape[-1]
    keys = ordered_keys(distances, torch.arange(G, device=distances.device))
    return column_of(keys.topk(length, largest=False).values if length < G else sort_rows(keys))
