"""Retrieval metrics: CMC, mAP and mINP of a ranking by distance. Arrays in, numbers out.

The protocol is 'cross-camera', as in Market-1501 and MARS evaluation code: for each query, gallery entries of
the same identity seen by the same camera are left out of its ranking, and a query without any other entry of
its identity is not counted.

Axes: Q queries, G galleries, V valid queries, R ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

UNKNOWN_CAMERA = -1
# Elements of the distance matrix ranked at a time: with the sort's index array about 200 MiB of temporaries.
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True, eq=False)
class RankingResult:
    """Quality of one ranking, in fractions of 1.

    Attributes:
        cmc: Share of valid queries whose first true match is at rank r or better, (R,), rank 1 first.
        mAP: Mean of the average precisions over valid queries.
        mINP: Mean inverse negative penalty: number of true matches over the rank of the last one (Ye et al.,
            "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021).
        num_valid_queries: Number of queries with at least one true match.
        average_precisions: One per valid query, in query order, (V,).
        valid_queries: Which queries count, (Q,), bool; ``flatnonzero`` of it joins ``average_precisions`` to
            queries.
    """

    cmc: np.ndarray
    mAP: float  # noqa: N815 - the field's name for it
    mINP: float  # noqa: N815
    num_valid_queries: int
    average_precisions: np.ndarray
    valid_queries: np.ndarray


def evaluate_ranking(
    distmat: np.ndarray | torch.Tensor,
    q_pids: Sequence[int] | np.ndarray | torch.Tensor,
    g_pids: Sequence[int] | np.ndarray | torch.Tensor,
    q_camids: Sequence[int] | np.ndarray | torch.Tensor,
    g_camids: Sequence[int] | np.ndarray | torch.Tensor,
    max_rank: int = 50,
) -> RankingResult:
    """Rank the gallery for every query and score the ranking by the cross-camera protocol.

    Args:
        distmat: Distances, (Q, G); smaller is more alike. Infinity is allowed, NaN is not. Equal distances
            keep the order of the gallery.
        q_pids: Identities of the queries, (Q,).
        g_pids: Identities of the gallery, (G,).
        q_camids: Cameras of the queries, (Q,). -1 is 'unknown' and equals no camera, itself included, so
            nothing is left out for such a query or gallery entry.
        g_camids: Cameras of the gallery, (G,).
        max_rank: Length of the CMC curve. Where the gallery is smaller, the curve keeps its last value.
    Raises:
        ValueError: On shapes that do not fit, NaN distances, or when no query has a true match.
    """
    distmat = _to_numpy(distmat)
    if distmat.ndim != 2:
        raise ValueError(f"distmat must be 2-D (queries, galleries), got shape {distmat.shape}.")
    Q, G = distmat.shape
    q_pids = _check_ids("q_pids", q_pids, Q)
    q_camids = _check_ids("q_camids", q_camids, Q)
    g_pids = _check_ids("g_pids", g_pids, G)
    g_camids = _check_ids("g_camids", g_camids, G)
    if max_rank < 1:
        raise ValueError(f"max_rank must be at least 1, got {max_rank}.")

    num_matches = np.zeros(Q, dtype=np.int64)
    first_ranks = np.zeros(Q, dtype=np.int64)
    last_ranks = np.zeros(Q, dtype=np.int64)
    precisions = np.zeros(Q, dtype=np.float64)
    step = max(1, _BLOCK_ELEMENTS // max(G, 1))
    for start in range(0, Q if G else 0, step):
        rows = slice(start, min(start + step, Q))
        block = distmat[rows]
        num_nan = int(np.isnan(block).sum())
        if num_nan:
            raise ValueError(f"distmat holds NaN: {num_nan} value(s) in rows {rows.start} to {rows.stop - 1}.")
        order = np.argsort(block, axis=1, kind="stable")
        same_pid = g_pids[order] == q_pids[rows, None]
        same_camera = (g_camids[order] == q_camids[rows, None]) & (q_camids[rows, None] != UNKNOWN_CAMERA)
        kept = ~(same_pid & same_camera)
        matches = same_pid & kept

        row, column = np.nonzero(matches)  # row by row, best rank first
        counts = matches.sum(axis=1)
        found = np.cumsum(kept, axis=1)[row, column]  # rank of each match among the kept, from 1
        ends = np.cumsum(counts)
        ordinal = np.arange(1, row.size + 1) - np.repeat(ends - counts, counts)  # 1, 2, ... within each query
        has_match = counts > 0
        num_matches[rows] = counts
        first_ranks[rows][has_match] = found[(ends - counts)[has_match]]
        last_ranks[rows][has_match] = found[(ends - 1)[has_match]]
        sums = np.bincount(row, weights=ordinal / found, minlength=counts.size)
        precisions[rows] = sums / np.maximum(counts, 1)

    valid = num_matches > 0
    num_valid = int(valid.sum())
    if not num_valid:
        raise ValueError(
            f"No query has a true match: none of the {Q} queries shares its identity with one of the {G} "
            "gallery entries from another camera. Check that query and gallery number people alike."
        )
    ranks = np.minimum(first_ranks[valid], max_rank + 1)
    cmc = np.cumsum(np.bincount(ranks, minlength=max_rank + 2)[1 : max_rank + 1]) / num_valid
    return RankingResult(
        cmc=cmc,
        mAP=float(precisions[valid].mean()),
        mINP=float((num_matches[valid] / last_ranks[valid]).mean()),
        num_valid_queries=num_valid,
        average_precisions=precisions[valid],
        valid_queries=valid,
    )


def merge_rankings(results: Sequence[RankingResult]) -> RankingResult:
    """One result for several rankings, each weighted by its number of valid queries.

    Args:
        results: At least one result, all with CMC curves of one length. Per-query arrays are joined in this
            order.
    """
    results = list(results)
    if not results:
        raise ValueError("merge_rankings needs at least one result, got none.")
    lengths = {len(result.cmc) for result in results}
    if len(lengths) > 1:
        raise ValueError(f"Results to merge must have CMC curves of one length, got {sorted(lengths)}.")
    weights = np.array([result.num_valid_queries for result in results], dtype=np.float64)
    weights /= weights.sum()
    return RankingResult(
        cmc=weights @ np.stack([result.cmc for result in results]),
        mAP=float(weights @ [result.mAP for result in results]),
        mINP=float(weights @ [result.mINP for result in results]),
        num_valid_queries=sum(result.num_valid_queries for result in results),
        average_precisions=np.concatenate([result.average_precisions for result in results]),
        valid_queries=np.concatenate([result.valid_queries for result in results]),
    )


def _to_numpy(values: Sequence[int] | np.ndarray | torch.Tensor) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        if values.dtype == torch.bfloat16:  # numpy has no such type
            values = values.float()
        return values.numpy()
    return np.asarray(values)


def _check_ids(name: str, values: Sequence[int] | np.ndarray | torch.Tensor, length: int) -> np.ndarray:
    ids = _to_numpy(values)
    if ids.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},) to match distmat, got {ids.shape}.")
    return ids
