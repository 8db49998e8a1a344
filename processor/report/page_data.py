"""What the page shows, as plain records: ``collect_page`` makes them of an evaluation, ``page.py`` draws them.

Axes: Q queries, G galleries, V valid queries, R ranks, T frames.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datasets import Case
from utils.commands import going_on_without
from utils.distances import Distances
from utils.nearest import find_nearest

from ..results import VISUAL, CaseResult, Evaluation, Method

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
        late_match: Index and distance of the first true match, if it is not among the nearest.
    """

    query: int
    average_precision: float
    first_rank: float
    nearest: tuple[int, ...]
    distances: tuple[float, ...]
    late_match: tuple[int, float] | None = None

    @property
    def shown(self) -> tuple[int, ...]:
        """Indices of the gallery tracklets on the page."""
        return self.nearest if self.late_match is None else (*self.nearest, self.late_match[0])


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
    maps: Mapping[int, QueryMaps] = field(default_factory=dict)


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


MakeMaps = Callable[[CaseResult], dict[int, QueryMaps]]


def map_nothing(result: CaseResult) -> dict[int, QueryMaps]:
    """Return no maps: a page needs no network."""
    return {}


def collect_page(
    evaluation: Evaluation, results: Mapping[str, Any], origin: Mapping[str, str], make_maps: MakeMaps = map_nothing
) -> PageData:
    """Collect what the page shows of the scored directions.

    Args:
        evaluation: Its directions.
        results: What results.json holds.
        origin: Where the numbers come from.
        make_maps: Maps some queries of a direction.
    """
    return PageData(results, origin, [_collect_direction(result, make_maps) for result in evaluation.scored()])


def _collect_direction(result: CaseResult, make_maps: MakeMaps) -> DirectionData:
    maps: dict[int, QueryMaps] = {}
    with going_on_without(f"{result.case.title}: the maps of queries"):
        maps = make_maps(result)
    shown = [method for method in result.rankings if method.ranking.uses_pictures]
    rankings = {method: _rank_queries(result, method) for method in shown}
    cmc = {method: ranking.cmc for method, ranking in result.rankings.items()}
    return DirectionData(result.case, rankings, cmc, _count_pairs(result), maps)


def _iterate_rows(distances: Distances) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the index of each query and its distances, (G,)."""
    for rows, block in distances.values():
        yield from enumerate(block.cpu().numpy(), start=rows.start)


def _rank_queries(result: CaseResult, method: Method) -> list[RankedQuery]:
    ranking = result.rankings[method]
    scores = zip(ranking.average_precisions.tolist(), ranking.first_ranks.tolist(), strict=True)
    ranked = []
    for index, row in _iterate_rows(result.distances[method]):
        if ranking.valid_queries[index]:
            distances = np.where(result.kept(index), row, np.inf)
            nearest = find_nearest(distances, NUM_NEAREST)
            nearest = nearest[np.isfinite(distances[nearest])]
            neighbours = tuple(nearest.tolist()), tuple(distances[nearest].tolist())
            is_match = result.gallery_pids == result.case.query[index].pid
            match = int(np.where(is_match, distances, np.inf).argmin())
            is_late = np.isfinite(distances[match]) and is_match[match] and not is_match[nearest].any()
            late_match = (match, float(distances[match])) if is_late else None
            ranked.append(RankedQuery(index, *next(scores), *neighbours, late_match))
    return ranked


def _count_pairs(result: CaseResult) -> PairHistogram:
    """Count the visual distances of the pairs that the protocol keeps."""
    distances = result.distances[VISUAL]
    ends = [(float(block.min()), float(block.max())) for _, block in distances.values()]
    edges = np.linspace(min(low for low, _ in ends), max(high for _, high in ends), NUM_BINS + 1)
    counts = np.zeros((2, NUM_BINS), dtype=np.int64)
    for index, row in _iterate_rows(distances):
        is_same, kept = result.gallery_pids == result.case.query[index].pid, result.kept(index)
        for number, chosen in enumerate((is_same, ~is_same)):
            counts[number] += np.histogram(row[kept & chosen], edges)[0]
    return PairHistogram(edges, *counts)
