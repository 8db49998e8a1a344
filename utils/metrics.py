"""Retrieval metrics: CMC, mAP and mINP of a ranking by distance, by a named protocol. Arrays in, numbers out.

A protocol says how a ranking is scored. The dataset that builds query and gallery decides what is ranked: whether
queries stay in the gallery, and which tracklets are junk.

Axes: Q queries, G galleries, V valid queries, R ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from .unknown import UNKNOWN

AVERAGE_PRECISIONS = ("step", "trapezoidal")
# Elements of the distance matrix ranked at a time: with the sort's index array about 200 MiB of temporaries.
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Protocol:
    """The rules by which a ranking is scored.

    Attributes:
        name: As in ``PROTOCOLS`` and TEST.PROTOCOL.
        description: One sentence, printed with every result.
        leave_out_same_camera: Whether gallery entries of the query's identity and camera are left out of its ranking.
        count_unmatched: Whether a query without a true match counts as zero; otherwise it is left out of every mean.
        average_precision: 'step', the mean of the precisions at the true matches, or 'trapezoidal', the mean over the
            true matches of the precisions at and just before them (1 before the first rank), as Oxford-buildings
            style code integrates it.
    """

    name: str
    description: str
    leave_out_same_camera: bool = True
    count_unmatched: bool = False
    average_precision: str = "step"

    def __post_init__(self) -> None:
        if self.average_precision not in AVERAGE_PRECISIONS:
            raise ValueError(
                f"Protocol {self.name}: average_precision must be one of {', '.join(AVERAGE_PRECISIONS)}, "
                f"got {self.average_precision!r}."
            )

    def __str__(self) -> str:
        return f"{self.name}: {self.description}"

    def leaves_out(
        self,
        q_pids: int | np.ndarray,
        q_camids: int | np.ndarray,
        g_pids: np.ndarray,
        g_camids: np.ndarray,
    ) -> np.ndarray:
        """Mark the gallery entries that are removed from the ranking of a query.

        Args:
            q_pids: Identities of the queries; one number, or (Q, 1).
            q_camids: Cameras of the queries, likewise; -1 is unknown and equals no camera.
            g_pids: Identities of the gallery, (G,), or (Q, G) in an order of its own for each query.
            g_camids: Cameras of the gallery, likewise.
        Returns:
            Bool, (G,) for one query, else (Q, G).
        """
        same_camera = (g_camids == q_camids) & (q_camids != UNKNOWN)
        left_out = (g_pids == q_pids) & same_camera
        return left_out if self.leave_out_same_camera else np.zeros_like(left_out)


CROSS_CAMERA = Protocol(
    "cross-camera",
    "gallery tracklets of the query's person and camera are left out; queries without a true match are not counted; "
    "AP is the mean of the precisions at the true matches",
)
ALL_CAMERAS = Protocol(
    "all-cameras",
    "the whole gallery is ranked, the query's camera included; queries without a true match are not counted; AP is "
    "the mean of the precisions at the true matches",
    leave_out_same_camera=False,
)
# Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-identification", ECCV 2016, and its MATLAB code.
MARS_OFFICIAL = Protocol(
    "mars-official",
    "gallery tracklets of the query's person and camera are left out; every query is counted, as zero without a true "
    "match; AP is trapezoidal",
    count_unmatched=True,
    average_precision="trapezoidal",
)
# The challenge's scorer filters by the number in the tracklet's name, not by the camera, so nothing is left out here.
VREID_XFD = Protocol(
    "vreid-xfd",
    "the whole gallery is ranked, the query's camera included; queries without a true match are not counted; AP is "
    "trapezoidal",
    leave_out_same_camera=False,
    average_precision="trapezoidal",
)
# By name, as in TEST.PROTOCOL. Add a new one to the choices of TEST.PROTOCOL in configs/, too; a test compares them.
PROTOCOLS = {protocol.name: protocol for protocol in (CROSS_CAMERA, ALL_CAMERAS, MARS_OFFICIAL, VREID_XFD)}


@dataclass(frozen=True, eq=False)
class RankingResult:
    """Quality of one ranking, in fractions of 1.

    Attributes:
        cmc: Share of valid queries (those that the protocol counts) whose first true match is at rank r or better,
            (R,), rank 1 first.
        mAP: Mean of the average precisions over valid queries.
        mINP: Mean inverse negative penalty: number of true matches over the rank of the last one (Ye et al.,
            "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021).
        num_valid_queries: Number of queries that count: those with at least one true match, or all if the protocol
            counts the others as zero.
        average_precisions: One per valid query, in query order, (V,).
        first_ranks: Rank of the first true match, from 1, of each valid query, (V,), int64; 0 without a true match.
        inverse_penalties: Inverse negative penalty of each valid query, (V,), whose mean is ``mINP``.
        valid_queries: Which queries count, (Q,), bool; ``flatnonzero`` of it joins the arrays of valid queries to
            queries.
        num_unmatched: Number of queries without a true match, counted or not.
    """

    cmc: np.ndarray
    mAP: float  # noqa: N815 - the field's name for it
    mINP: float  # noqa: N815
    num_valid_queries: int
    average_precisions: np.ndarray
    first_ranks: np.ndarray
    inverse_penalties: np.ndarray
    valid_queries: np.ndarray
    num_unmatched: int = 0


@dataclass(frozen=True, eq=False)
class QueryScores:
    """What ranking the gallery found for each query; 0 where it has no true match.

    Attributes:
        num_matches: Number of true matches, (Q,), int64.
        first_ranks: Rank of the first true match, from 1, (Q,), int64.
        last_ranks: Rank of the last true match, likewise.
        precisions: Average precision, (Q,), float64.
    """

    num_matches: np.ndarray
    first_ranks: np.ndarray
    last_ranks: np.ndarray
    precisions: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["QueryScores"]) -> "QueryScores":
        """Join the scores of consecutive queries."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def evaluate_ranking(
    distmat: np.ndarray | torch.Tensor,
    q_pids: Sequence[int] | np.ndarray | torch.Tensor,
    g_pids: Sequence[int] | np.ndarray | torch.Tensor,
    q_camids: Sequence[int] | np.ndarray | torch.Tensor,
    g_camids: Sequence[int] | np.ndarray | torch.Tensor,
    max_rank: int = 50,
    protocol: Protocol = CROSS_CAMERA,
) -> RankingResult:
    """Rank the gallery for every query and score the ranking by a protocol.

    Args:
        distmat: Distances, (Q, G); smaller is more alike. Infinity is allowed, NaN is not. Equal distances
            keep the order of the gallery.
        q_pids: Identities of the queries, (Q,).
        g_pids: Identities of the gallery, (G,).
        q_camids: Cameras of the queries, (Q,). -1 is unknown and equals no camera, not even another unknown one, so
            such a query or gallery entry is never left out.
        g_camids: Cameras of the gallery, (G,).
        max_rank: Length of the CMC curve. Where the gallery is smaller, the curve keeps its last value.
        protocol: Rules of scoring.
    Raises:
        ValueError: On shapes that do not fit, NaN distances, or when no query has a true match.
    """
    if max_rank < 1:
        raise ValueError(f"max_rank must be at least 1, got {max_rank}.")
    scores = score_queries(distmat, q_pids, g_pids, q_camids, g_camids, protocol)
    return summarize_scores(scores, len(g_pids), protocol, max_rank)


def score_queries(
    distmat: np.ndarray | torch.Tensor,
    q_pids: Sequence[int] | np.ndarray | torch.Tensor,
    g_pids: Sequence[int] | np.ndarray | torch.Tensor,
    q_camids: Sequence[int] | np.ndarray | torch.Tensor,
    g_camids: Sequence[int] | np.ndarray | torch.Tensor,
    protocol: Protocol = CROSS_CAMERA,
) -> QueryScores:
    """Rank the gallery for every query and score each ranking by itself.

    Args and errors: as in ``evaluate_ranking``; there may be no query, or none with a true match.
    """
    distmat = _to_numpy(distmat)
    if distmat.ndim != 2:
        raise ValueError(f"distmat must be 2-D (queries, galleries), got shape {distmat.shape}.")
    Q, G = distmat.shape
    q_pids = _check_ids("q_pids", q_pids, Q)
    q_camids = _check_ids("q_camids", q_camids, Q)
    g_pids = _check_ids("g_pids", g_pids, G)
    g_camids = _check_ids("g_camids", g_camids, G)

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
        kept = ~protocol.leaves_out(q_pids[rows, None], q_camids[rows, None], g_pids[order], g_camids[order])
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
        precision = ordinal / found
        if protocol.average_precision == "trapezoidal":
            before = np.where(found > 1, (ordinal - 1) / np.maximum(found - 1, 1), 1.0)
            precision = (before + precision) / 2
        sums = np.bincount(row, weights=precision, minlength=counts.size)
        precisions[rows] = sums / np.maximum(counts, 1)
    return QueryScores(num_matches, first_ranks, last_ranks, precisions)


def summarize_scores(
    scores: QueryScores, num_galleries: int, protocol: Protocol = CROSS_CAMERA, max_rank: int = 50
) -> RankingResult:
    """Summarise the scores of all queries of a ranking by a protocol.

    Args:
        scores: Of ``score_queries``, of all queries in order.
        num_galleries: G, for the message of the error.
        protocol: The one that the queries were scored by.
        max_rank: As in ``evaluate_ranking``.
    Raises:
        ValueError: If no query has a true match.
    """
    Q = len(scores.num_matches)
    matched = scores.num_matches > 0
    num_unmatched = Q - int(matched.sum())
    if num_unmatched == Q:
        others = " from another camera" if protocol.leave_out_same_camera else ""
        raise ValueError(
            f"No query has a true match: none of the {Q} queries shares its identity with one of the {num_galleries} "
            f"gallery entries{others}. Check that query and gallery number people alike."
        )
    valid = np.ones_like(matched) if protocol.count_unmatched else matched
    num_valid = int(valid.sum())
    ranks = np.minimum(scores.first_ranks[matched], max_rank + 1)
    cmc = np.cumsum(np.bincount(ranks, minlength=max_rank + 2)[1 : max_rank + 1]) / num_valid
    penalties = scores.num_matches / np.maximum(scores.last_ranks, 1)  # 0 without a true match
    return RankingResult(
        cmc=cmc,
        mAP=float(scores.precisions[valid].mean()),
        mINP=float(penalties[valid].mean()),
        num_valid_queries=num_valid,
        average_precisions=scores.precisions[valid],
        first_ranks=scores.first_ranks[valid],
        inverse_penalties=penalties[valid],
        valid_queries=valid,
        num_unmatched=num_unmatched,
    )


def merge_rankings(results: Sequence[RankingResult]) -> RankingResult:
    """Merge the results of several rankings, each weighted by its number of valid queries.

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
        first_ranks=np.concatenate([result.first_ranks for result in results]),
        inverse_penalties=np.concatenate([result.inverse_penalties for result in results]),
        valid_queries=np.concatenate([result.valid_queries for result in results]),
        num_unmatched=sum(result.num_unmatched for result in results),
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
