"""What the page shows, as plain records: ``collect_page`` makes them of an evaluation, ``page.py`` draws them.

Axes: Q queries, G galleries, V valid queries, R ranks, T frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datasets import Case

from ..results import VISUAL, CaseResult, Evaluation, Method
from .rankings import find_nearest

NUM_NEAREST = 10  # gallery tracklets shown for a query
NUM_BINS = 50  # of a distance histogram


@dataclass(frozen=True)
class RankedQuery:
    """A query that counts, and what was ranked first for it; entries that the protocol leaves out are not in it.

    Attributes:
        query: Index in the case's queries.
        average_precision: 0..1.
        first_rank: Rank of the first true match, from 1; infinity without one.
        nearest: Indices of gallery tracklets, nearest first, at most ``NUM_NEAREST``.
        distances: Their distances to the query.
    """

    query: int
    average_precision: float
    first_rank: float
    nearest: tuple[int, ...]
    distances: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class PairHistogram:
    """How the distances of query-gallery pairs are spread.

    Attributes:
        edges: Ends of the bins, (NUM_BINS + 1,).
        num_true, num_false: Pairs of one person, and of two, in each bin, (NUM_BINS,).
    """

    edges: np.ndarray
    num_true: np.ndarray
    num_false: np.ndarray


@dataclass(frozen=True, eq=False)
class QueryMaps:
    """What the network looked at in a query; every part may be missing.

    Attributes:
        attention: Weight of each frame of the clip, in time order, at least 0, T of them.
        frames: Frames of the clip with their relevance drawn over them, each (H, W, 3), uint8.
        match: The same for the gallery tracklet that was ranked first, (H, W, 3), uint8.
    """

    attention: tuple[float, ...] = ()
    frames: tuple[np.ndarray, ...] = ()
    match: np.ndarray | None = None


@dataclass(frozen=True)
class DirectionData:
    """One scored direction.

    Attributes:
        case: Its tracklets.
        rankings: The queries that count, in query order, by method.
        cmc: Share of queries with a true match at rank r or better, (R,), by method.
        histogram: Distances of the visual ranking.
        maps: What the network looked at, by the query's index.
    """

    case: Case
    rankings: dict[Method, list[RankedQuery]]
    cmc: dict[Method, np.ndarray]
    histogram: PairHistogram
    maps: dict[int, QueryMaps] = field(default_factory=dict)


@dataclass(frozen=True)
class PageData:
    """Everything on the page.

    Attributes:
        results: What results.json holds: scores, verification, breakdown.
        origin: Where the numbers come from, as above the tables.
        directions: The scored ones.
    """

    results: Mapping[str, Any]
    origin: Mapping[str, str]
    directions: Sequence[DirectionData]


def collect_page(evaluation: Evaluation, results: Mapping[str, Any], origin: Mapping[str, str]) -> PageData:
    """Collect what the page shows of the scored directions; ``results`` is what results.json holds."""
    return PageData(results, origin, [_collect_direction(result) for result in evaluation.scored()])


def _collect_direction(result: CaseResult) -> DirectionData:
    rankings = {method: _rank_queries(result, method) for method in result.rankings}
    cmc = {method: ranking.cmc for method, ranking in result.rankings.items()}
    return DirectionData(result.case, rankings, cmc, _count_pairs(result))


def _rank_queries(result: CaseResult, method: Method) -> list[RankedQuery]:
    ranking, distmat = result.rankings[method], result.distmats[method]
    scores = zip(ranking.average_precisions.tolist(), ranking.first_ranks.tolist(), strict=True)
    ranked = []
    valid = np.flatnonzero(ranking.valid_queries).tolist()
    for index, (average_precision, first_rank) in zip(valid, scores, strict=True):
        distances = np.where(_left_out(result, index), np.inf, distmat[index])
        nearest = find_nearest(distances, NUM_NEAREST)[:NUM_NEAREST]
        nearest = nearest[np.isfinite(distances[nearest])]
        neighbours = tuple(nearest.tolist()), tuple(distances[nearest].tolist())
        ranked.append(RankedQuery(index, average_precision, first_rank, *neighbours))
    return ranked


def _left_out(result: CaseResult, index: int) -> np.ndarray:
    """Mark the gallery entries that the protocol leaves out for a query, (G,)."""
    query, gallery = result.case.query[index], result.case.gallery
    pids = np.fromiter((tracklet.pid for tracklet in gallery), np.int64, len(gallery))
    camids = np.fromiter((tracklet.camid for tracklet in gallery), np.int64, len(gallery))
    return result.protocol.leaves_out(query.pid, query.camid, pids, camids)


def _count_pairs(result: CaseResult) -> PairHistogram:
    """Count the visual distances of the pairs that the protocol keeps, a query at a time."""
    distmat = result.distmats[VISUAL]
    edges = np.linspace(distmat.min(), distmat.max(), NUM_BINS + 1)
    g_pids = np.array([tracklet.pid for tracklet in result.case.gallery])
    counts = np.zeros((2, NUM_BINS), dtype=np.int64)
    for index, query in enumerate(result.case.query):
        kept = ~_left_out(result, index)
        for row, chosen in enumerate((g_pids == query.pid, g_pids != query.pid)):
            counts[row] += np.histogram(distmat[index][kept & chosen], edges)[0]
    return PairHistogram(edges, *counts)
