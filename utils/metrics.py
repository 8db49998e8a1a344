"""Retrieval metrics: CMC, mAP, mINP and mAP@k of a ranking by distance, by a named protocol.

The gallery is not sorted: the scores of a query need only the ranks of its true matches. ``match_ranks`` says how they
are counted, and what becomes of equal distances: a rank among them is the mean of the best and the worst possible.

A protocol says how a ranking is scored. The dataset that builds query and gallery decides what is ranked: whether
queries stay in the gallery, and which tracklets are junk.

Axes: Q queries, G galleries, V valid queries, R ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from torch import Tensor

from .distances import Distances, SquaredDistances
from .match_ranks import GivenDistances, rank_matches
from .mistake import Mistake
from .unknown import UNKNOWN

AVERAGE_PRECISIONS = ("step", "trapezoidal")
TOP_K = 20  # of mAP@k: AG-VPReID's challenge scores 20
Ids = Sequence[int] | np.ndarray | Tensor


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
            style code integrates it. AP@k takes steps in any case.
    """

    name: str
    description: str
    leave_out_same_camera: bool = True
    count_unmatched: bool = False
    average_precision: str = "step"

    def __post_init__(self) -> None:
        if self.average_precision not in AVERAGE_PRECISIONS:
            raise Mistake(
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
        mINP: Mean inverse negative penalty: the precision at the last true match, which is the number of true matches
            over its rank (Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021).
        mAP_at_k: Mean over valid queries of AP@k: the sum of the precisions at the true matches of ranks up to k, over
            the number of true matches or k, whichever is smaller.
        k: Of ``mAP_at_k``.
        num_valid_queries: Number of queries that count: those with at least one true match, or all if the protocol
            counts the others as zero.
        average_precisions: One per valid query, in query order, (V,).
        first_ranks: Rank of the first true match of each valid query, (V,); infinity if it has none.
        inverse_penalties: Inverse negative penalty of each valid query, (V,), whose mean is ``mINP``.
        valid_queries: Which queries count, (Q,), bool; ``flatnonzero`` of it joins the arrays of valid queries to
            queries.
        num_unmatched: Number of queries without a true match, counted or not.
    """

    cmc: np.ndarray
    mAP: float  # noqa: N815 - the field's name for it
    mINP: float  # noqa: N815
    mAP_at_k: float  # noqa: N815
    k: int
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
        first_ranks: Rank of the first true match, from 1, (Q,), float64.
        last_precisions: Precision at the last true match, (Q,), float64.
        precisions: Average precision, likewise.
        precisions_at_k: AP@k, likewise.
    """

    num_matches: np.ndarray
    first_ranks: np.ndarray
    last_precisions: np.ndarray
    precisions: np.ndarray
    precisions_at_k: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["QueryScores"]) -> "QueryScores":
        """Join the scores of consecutive queries."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def evaluate_ranking(
    distmat: np.ndarray | Tensor,
    q_pids: Ids,
    g_pids: Ids,
    q_camids: Ids,
    g_camids: Ids,
    max_rank: int = 50,
    protocol: Protocol = CROSS_CAMERA,
    k: int = TOP_K,
) -> RankingResult:
    """Rank the gallery for every query and score the ranking by a protocol.

    Args:
        distmat: Distances, (Q, G); smaller is more alike. Infinity is allowed, NaN is not.
        q_pids: Identities of the queries, (Q,).
        g_pids: Identities of the gallery, (G,).
        q_camids: Cameras of the queries, (Q,). -1 is unknown and equals no camera, not even another unknown one, so
            such a query or gallery entry is never left out.
        g_camids: Cameras of the gallery, (G,).
        max_rank: Length of the CMC curve. Where the gallery is smaller, the curve keeps its last value.
        protocol: Rules of scoring.
        k: Ranks that ``mAP_at_k`` looks at.
    Raises:
        ValueError: On shapes that do not fit, NaN distances, or when no query has a true match.
    """
    scores = score_queries(distmat, q_pids, g_pids, q_camids, g_camids, protocol, k)
    return summarize_scores(scores, len(g_pids), protocol, max_rank, k)


def evaluate_features(
    query: Tensor,
    gallery: Tensor,
    q_pids: Ids,
    g_pids: Ids,
    q_camids: Ids,
    g_camids: Ids,
    max_rank: int = 50,
    protocol: Protocol = CROSS_CAMERA,
    k: int = TOP_K,
) -> RankingResult:
    """Rank the gallery by the squared Euclidean distance of features, without ever holding all distances.

    Features of length 1 are ranked as by cosine. Distances are computed in float32, and those too near to a true
    match's to tell which is smaller again in double precision: on the CPU the result does not depend, to the last bit,
    on the order of the gallery or on how the work is cut into blocks.

    Args:
        query: (Q, D), on the CPU or a GPU; any floating type.
        gallery: (G, D), on the same device.
        Others: As in ``evaluate_ranking``.
    Raises:
        ValueError: On shapes that do not fit, NaN or infinite features, or when no query has a true match.
    """
    scores = score_distances(SquaredDistances(query, gallery), q_pids, g_pids, q_camids, g_camids, protocol, k)
    return summarize_scores(scores, len(g_pids), protocol, max_rank, k)


def score_queries(
    distmat: np.ndarray | Tensor,
    q_pids: Ids,
    g_pids: Ids,
    q_camids: Ids,
    g_camids: Ids,
    protocol: Protocol = CROSS_CAMERA,
    k: int = TOP_K,
) -> QueryScores:
    """Rank the gallery for every query and score each ranking by itself.

    Args and errors: as in ``evaluate_ranking``; there may be no query, or none with a true match.
    """
    if distmat.ndim != 2:
        raise Mistake(f"distmat must be 2-D (queries, galleries), got shape {tuple(distmat.shape)}.")
    return score_distances(GivenDistances(distmat), q_pids, g_pids, q_camids, g_camids, protocol, k)


def score_distances(
    distances: Distances,
    q_pids: Ids,
    g_pids: Ids,
    q_camids: Ids,
    g_camids: Ids,
    protocol: Protocol = CROSS_CAMERA,
    k: int = TOP_K,
) -> QueryScores:
    """Score each query by distances, (Q, G), that come in blocks.

    Args and errors: as in ``score_queries``.
    """
    Q, G = distances.shape
    ids = (
        _check_ids("q_pids", q_pids, Q),
        _check_ids("g_pids", g_pids, G),
        _check_ids("q_camids", q_camids, Q),
        _check_ids("g_camids", g_camids, G),
    )
    if k < 1:
        raise Mistake(f"k of mAP@k must be at least 1, got {k}.")
    query, rank = rank_matches(distances, *ids, protocol.leaves_out)
    return _score_ranks(query, rank, Q, protocol, k)


def _score_ranks(query: np.ndarray, rank: np.ndarray, num_queries: int, protocol: Protocol, k: int) -> QueryScores:
    """Score the ranks of all true matches; arguments as ``rank_matches`` returns them, and Q, the rules and k."""
    counts = np.bincount(query, minlength=num_queries)
    ends = np.cumsum(counts)
    has_match = counts > 0
    number = np.arange(1, len(query) + 1) - (ends - counts)[query]  # 1, 2, ... within each query
    precision = number / rank
    at_k = np.bincount(query, weights=precision * (rank <= k), minlength=num_queries)
    first_ranks, last_precisions = np.zeros(num_queries), np.zeros(num_queries)
    first_ranks[has_match] = rank[(ends - counts)[has_match]]
    last_precisions[has_match] = precision[(ends - 1)[has_match]]
    if protocol.average_precision == "trapezoidal":
        before = np.where(rank > 1, (number - 1) / np.maximum(rank - 1, 0.5), 1.0)  # the next rank after 1 is 1.5
        precision = (before + precision) / 2
    sums = np.bincount(query, weights=precision, minlength=num_queries)
    precisions, precisions_at_k = sums / np.maximum(counts, 1), at_k / np.clip(counts, 1, k)
    return QueryScores(counts, first_ranks, last_precisions, precisions, precisions_at_k)


def summarize_scores(
    scores: QueryScores,
    num_galleries: int,
    protocol: Protocol = CROSS_CAMERA,
    max_rank: int = 50,
    k: int = TOP_K,
) -> RankingResult:
    """Summarise the scores of all queries of a ranking by a protocol.

    Args:
        scores: Of ``score_queries``, of all queries in order.
        num_galleries: G, for the message of the error.
        protocol: The one that the queries were scored by.
        max_rank: As in ``evaluate_ranking``.
        k: The one that the queries were scored with.
    Raises:
        ValueError: If no query has a true match.
    """
    if max_rank < 1:
        raise Mistake(f"max_rank must be at least 1, got {max_rank}.")
    Q = len(scores.num_matches)
    matched = scores.num_matches > 0
    num_unmatched = Q - int(matched.sum())
    if num_unmatched == Q:
        others = " from another camera" if protocol.leave_out_same_camera else ""
        raise Mistake(
            f"No query has a true match: none of the {Q} queries shares its identity with one of the {num_galleries} "
            f"gallery entries{others}. Check that query and gallery number people alike."
        )
    valid = np.ones_like(matched) if protocol.count_unmatched else matched
    num_valid = int(valid.sum())
    ranks = np.minimum(np.ceil(scores.first_ranks[matched]), max_rank + 1).astype(np.int64)
    cmc = np.cumsum(np.bincount(ranks, minlength=max_rank + 2)[1 : max_rank + 1]) / num_valid
    return RankingResult(
        cmc=cmc,
        mAP=float(scores.precisions[valid].mean()),
        mINP=float(scores.last_precisions[valid].mean()),
        mAP_at_k=float(scores.precisions_at_k[valid].mean()),
        k=k,
        num_valid_queries=num_valid,
        average_precisions=scores.precisions[valid],
        first_ranks=np.where(matched, scores.first_ranks, np.inf)[valid],
        inverse_penalties=scores.last_precisions[valid],
        valid_queries=valid,
        num_unmatched=num_unmatched,
    )


def merge_rankings(results: Sequence[RankingResult]) -> RankingResult:
    """Merge the results of several rankings, each weighted by its number of valid queries.

    Args:
        results: At least one result, all with CMC curves of one length and one k. Per-query arrays are joined in
            this order.
    """
    results = list(results)
    if not results:
        raise Mistake("merge_rankings needs at least one result, got none.")
    lengths = {len(result.cmc) for result in results}
    if len(lengths) > 1:
        raise Mistake(f"Results to merge must have CMC curves of one length, got {sorted(lengths)}.")
    ks = {result.k for result in results}
    if len(ks) > 1:
        raise Mistake(f"Results to merge must have mAP@k of one k, got {sorted(ks)}.")
    weights = np.array([result.num_valid_queries for result in results], dtype=np.float64)
    weights /= weights.sum()
    return RankingResult(
        cmc=weights @ np.stack([result.cmc for result in results]),
        mAP=float(weights @ [result.mAP for result in results]),
        mINP=float(weights @ [result.mINP for result in results]),
        mAP_at_k=float(weights @ [result.mAP_at_k for result in results]),
        k=results[0].k,
        num_valid_queries=sum(result.num_valid_queries for result in results),
        average_precisions=np.concatenate([result.average_precisions for result in results]),
        first_ranks=np.concatenate([result.first_ranks for result in results]),
        inverse_penalties=np.concatenate([result.inverse_penalties for result in results]),
        valid_queries=np.concatenate([result.valid_queries for result in results]),
        num_unmatched=sum(result.num_unmatched for result in results),
    )


def _check_ids(name: str, values: Ids, length: int) -> np.ndarray:
    ids = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if ids.shape != (length,):
        raise Mistake(f"{name} must have shape ({length},) to match distmat, got {ids.shape}.")
    return ids
