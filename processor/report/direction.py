"""Collect what the report shows of one direction by one method, in two passes over the distances.

Distances are computed again whenever they are looked at, which is most of the report's time.

Axes: Q queries, G galleries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from datasets.tracklet import Case
from utils.distances import nearest_columns
from utils.verification import Verification, count_negatives

from ..evaluation.results import CaseResult, Method
from .submission import AddRanking

NUM_NEAREST = 10  # gallery tracklets that are kept for a query
NUM_BINS = 50  # of the histogram of distances


class Place(NamedTuple):
    """A gallery tracklet in the ranking of a query."""

    rank: float  # from 1
    gallery: int  # index
    distance: float


@dataclass(frozen=True)
class RankedQuery:
    """A query that counts, and its nearest gallery tracklets without those that the protocol leaves out."""

    index: int  # place in the case's queries, from 0
    average_precision: float  # 0..1
    first_rank: float  # rank of the first true match, from 1; infinity without one
    # at most ``NUM_NEAREST``, nearest first; then the first true match, if it is not among them
    places: tuple[Place, ...]


@dataclass(frozen=True, eq=False)
class RankedDirection:
    """A scored direction by one method."""

    case: Case
    method: Method
    cmc: np.ndarray  # share of queries with a true match at rank r or better, rank 1 first
    queries: list[RankedQuery]  # those that count, in query order; none where no pictures were compared
    verification: Verification  # ROC curve of the pairs that the protocol keeps
    edges: np.ndarray  # ends of the histogram's bins, (NUM_BINS + 1,), ascending; each bin holds its upper end
    # pairs of one person, and of two, in each bin, (NUM_BINS,)
    num_true: np.ndarray
    num_false: np.ndarray

    def hardest_people(self, number: int, reverse: bool = False) -> list[RankedQuery]:
        """Return the worst query of each of the people with the lowest average precision, or best and highest."""
        first: dict[int, RankedQuery] = {}
        for query in sorted(self.queries, key=lambda query: query.average_precision, reverse=reverse):
            if query.places:
                first.setdefault(self.case.query[query.index].pid, query)
        return list(first.values())[:number]


def group_by_case(directions: Iterable[RankedDirection]) -> list[list[RankedDirection]]:
    """Return the rankings of each case by all methods, in order."""
    groups: dict[str, list[RankedDirection]] = {}
    for direction in directions:
        groups.setdefault(direction.case.name, []).append(direction)
    return list(groups.values())


def collect_direction(
    result: CaseResult, method: Method, files: Sequence[AddRanking] = (), length: int = 0
) -> RankedDirection | None:
    """Write a direction's rankings, and collect what the report shows of it; None if it has no scores.

    ``files`` are open, and list ``length`` gallery tracklets for a query; 0 for all.
    """
    distances, ranking = result.distances[method], result.rankings.get(method)
    scores = ranking and zip(ranking.average_precisions.tolist(), ranking.first_ranks.tolist(), strict=True)
    queries: list[RankedQuery] = []
    positives: list[np.ndarray] = []
    lowest, highest = np.inf, -np.inf
    rows = (row for _, block in distances.blocks() for row in block.cpu().numpy())
    for index, row in enumerate(rows):
        if files:
            nearest = nearest_columns(torch.from_numpy(row), length or len(row)).tolist()
            names = " ".join(result.case.gallery[other].name for other in nearest)
            for add_ranking in files:
                add_ranking(result.case.name, result.case.query[index].name, names)
        if scores and ranking:
            kept, is_match = result.kept(index), result.matches(index)
            positives.append(row[kept & is_match])
            lowest, highest = min(lowest, float(row.min())), max(highest, float(row.max()))
            if ranking.valid_queries[index] and method.uses_pictures:
                precision, first_rank = next(scores)
                places = _find_places(np.where(kept, row, np.inf), is_match, first_rank)
                queries.append(RankedQuery(index, precision, first_rank, places))
    if not ranking:
        return None
    thresholds, edges = np.sort(np.concatenate(positives)), np.linspace(lowest, highest, NUM_BINS + 1)
    q_pids, g_pids, _, _ = result.ids
    limits = np.concatenate([thresholds, edges[1:-1]])
    counts, num_negatives = count_negatives(distances, limits, q_pids, g_pids)  # the second pass
    num_true = np.searchsorted(thresholds, edges[1:-1], side="right")
    return RankedDirection(
        result.case,
        method,
        ranking.cmc,
        queries,
        Verification(thresholds, counts[: len(thresholds)], num_negatives),
        edges,
        np.diff(num_true, prepend=0, append=len(thresholds)),
        np.diff(counts[len(thresholds) :], prepend=0, append=num_negatives),
    )


def _find_places(distances: np.ndarray, is_match: np.ndarray, first_rank: float) -> tuple[Place, ...]:
    """Find the nearest and the first match by distances, (G,), which are infinite for what is left out."""
    columns = nearest_columns(torch.from_numpy(distances), NUM_NEAREST).tolist()
    nearest = [index for index in columns if np.isfinite(distances[index])]
    places = [Place(rank, index, float(distances[index])) for rank, index in enumerate(nearest, start=1)]
    to_matches = np.where(is_match, distances, np.inf)
    match = int(to_matches.argmin())
    if np.isfinite(to_matches[match]) and not is_match[nearest].any():
        places.append(Place(first_rank, match, float(distances[match])))
    return tuple(places)
