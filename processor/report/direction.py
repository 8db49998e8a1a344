"""Collect what the report shows of one direction by one method, in two passes over the distances, on their device.

Distances are computed again whenever they are looked at, which is most of the report's time.

Axes: Q queries, G galleries.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datasets.tracklet import Case
from utils.distances import Distances, nearest_columns
from utils.metrics import RankingResult
from utils.verification import Verification, count_negatives

from ..evaluation.results import CaseResult, Method
from .submission import AddRanking

NUM_NEAREST = 10  # gallery tracklets that are kept for a query
NUM_BINS = 50  # of the histogram of distances
PART_ELEMENTS = 1 << 22  # distances to rank at a time, which takes some times their memory


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
    queries: list[RankedQuery] = []
    positives: list[np.ndarray] = []
    extremes: list[Tensor] = []
    for rows, part, is_match, left_out in _cut(result, distances):
        if files:
            nearest = nearest_columns(part, length or part.shape[1]).tolist()
            for query, columns in zip(result.case.query[rows], nearest, strict=True):
                names = " ".join(result.case.gallery[other].name for other in columns)
                for add_ranking in files:
                    add_ranking(result.case.name, query.name, names)
        if ranking:
            positives.append(part[is_match & ~left_out].cpu().numpy())
            extremes += part.aminmax()
            if method.uses_pictures:
                queries += _rank_queries(rows, part.masked_fill_(left_out, torch.inf), is_match, ranking)
    if not ranking:
        return None
    lowest, highest = (float(each) for each in torch.stack(extremes).aminmax())
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


def _cut(result: CaseResult, distances: Distances) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Yield some queries, their distances, and which pairs are of one person and which are left out, (R, G) each."""
    step = max(1, PART_ELEMENTS // max(distances.shape[1], 1))
    for rows, block in distances.blocks():
        q_pids, g_pids, q_camids, g_camids = (torch.as_tensor(ids, device=block.device) for ids in result.ids)
        for start, part in zip(range(rows.start, rows.stop, step), block.split(step), strict=True):
            own = slice(start, start + len(part))
            pids, camids = q_pids[own, None], q_camids[own, None]
            yield own, part, pids == g_pids, result.protocol.leaves_out(pids, camids, g_pids, g_camids)


def _rank_queries(rows: slice, distances: Tensor, is_match: Tensor, ranking: RankingResult) -> Iterator[RankedQuery]:
    """Yield those of some queries that count, by distances, (R, G), which are infinite for what is left out."""
    columns = nearest_columns(distances, NUM_NEAREST)
    nearest = columns, distances.gather(1, columns), is_match.gather(1, columns)
    first = distances.masked_fill(~is_match, torch.inf).min(dim=1)
    found = zip(*(each.tolist() for each in (*nearest, first.indices, first.values)), strict=True)
    number = int(ranking.valid_queries[: rows.start].sum())  # in the arrays of queries that count
    for index, (columns_of, distances_of, matches_of, match, distance) in enumerate(found, rows.start):
        if not ranking.valid_queries[index]:
            continue
        precision, first_rank = float(ranking.average_precisions[number]), float(ranking.first_ranks[number])
        number += 1
        ranked = [each for each in zip(columns_of, distances_of, matches_of, strict=True) if isfinite(each[1])]
        places = [Place(rank, *each[:2]) for rank, each in enumerate(ranked, start=1)]
        if isfinite(distance) and not any(is_one for *_, is_one in ranked):
            places.append(Place(first_rank, match, distance))
        yield RankedQuery(index, precision, first_rank, tuple(places))
