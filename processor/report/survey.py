"""What the report needs of a direction's distances by one method, collected in two passes over them.

Distances are computed again whenever they are looked at, which is most of the report's time: everything that is written
about a direction is made of this.

Axes: Q queries, G galleries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.tracklet import Case
from utils.nearest import find_nearest
from utils.verification import Verification, count_negatives

from ..evaluation.results import CaseResult, Method
from .rankings import RankingFile, add_ranking

NUM_NEAREST = 10  # gallery tracklets that are kept for a query
NUM_BINS = 50  # of a distance histogram


@dataclass(frozen=True)
class RankedQuery:
    """A query that counts, and what was ranked first for it; entries that the protocol leaves out are not in it.

    Attributes:
        index: Place in the case's queries, from 0.
        average_precision: 0..1.
        first_rank: Rank of the first true match, from 1; infinity without one.
        nearest: Indices of gallery tracklets, nearest first, at most ``NUM_NEAREST``.
        distances: Their distances to the query.
        late_match: Index and distance of the first true match, if it is not among the nearest.
    """

    index: int
    average_precision: float
    first_rank: float
    nearest: tuple[int, ...]
    distances: tuple[float, ...]
    late_match: tuple[int, float] | None = None

    def places(self) -> list[tuple[float, int, float]]:
        """Return rank, index and distance of the nearest, then those of the late match."""
        near = zip(self.nearest, self.distances, strict=True)
        nearest = [(float(rank), *place) for rank, place in enumerate(near, start=1)]
        return nearest if self.late_match is None else [*nearest, (self.first_rank, *self.late_match)]


@dataclass(frozen=True, eq=False)
class PairHistogram:
    """How the distances of query-gallery pairs are spread.

    Attributes:
        edges: Ends of the bins, (NUM_BINS + 1,), ascending; each bin holds its upper end.
        num_true, num_false: Pairs of one person, and of two, in each bin, (NUM_BINS,).
    """

    edges: np.ndarray
    num_true: np.ndarray
    num_false: np.ndarray


@dataclass(frozen=True, eq=False)
class Survey:
    """A scored direction by one method.

    Attributes:
        case: The direction's tracklets.
        method: The method.
        ranked: The queries that count, in query order; none where no pictures were compared, because most distances are
            equal then, and their order means nothing.
        verification: ROC curve of the pairs that the protocol keeps.
        histogram: Distances of these pairs.
    """

    case: Case
    method: Method
    ranked: list[RankedQuery]
    verification: Verification
    histogram: PairHistogram

    def one_of_each_person(self, queries: Iterable[RankedQuery]) -> list[RankedQuery]:
        """Return the first of the queries of each person, in order."""
        first: dict[int, RankedQuery] = {}
        for query in queries:
            first.setdefault(self.case.query[query.index].pid, query)
        return list(first.values())


def survey_distances(result: CaseResult, method: Method, files: Sequence[RankingFile], length: int) -> Survey:
    """Survey a scored direction, and list its rankings in files on the way.

    Args:
        result: The direction.
        method: The method.
        files: As in ``add_ranking``.
        length: As in ``add_ranking``.
    """
    distances, ranking = result.distances[method], result.rankings[method]
    scores = zip(ranking.average_precisions.tolist(), ranking.first_ranks.tolist(), strict=True)
    ranked: list[RankedQuery] = []
    positives: list[np.ndarray] = []
    lowest, highest = np.inf, -np.inf
    for index, row in enumerate(distances.iterate_rows()):
        add_ranking(files, result.case, result.case.query[index], row, length)
        kept, is_match = result.kept(index), result.matches(index)
        positives.append(row[kept & is_match])
        lowest, highest = min(lowest, float(row.min())), max(highest, float(row.max()))
        if ranking.valid_queries[index] and method.ranking.uses_pictures:
            ranked.append(_rank_query(index, next(scores), np.where(kept, row, np.inf), is_match))
    thresholds, edges = np.sort(np.concatenate(positives)), np.linspace(lowest, highest, NUM_BINS + 1)
    q_pids, g_pids, _, _ = result.ids
    limits = np.concatenate([thresholds, edges[1:-1]])
    counts, num_negatives = count_negatives(distances, limits, q_pids, g_pids)  # the second pass
    verification = Verification(thresholds, counts[: len(thresholds)], num_negatives)
    histogram = PairHistogram(
        edges,
        np.diff(np.searchsorted(thresholds, edges[1:-1], side="right"), prepend=0, append=len(thresholds)),
        np.diff(counts[len(thresholds) :], prepend=0, append=num_negatives),
    )
    return Survey(result.case, method, ranked, verification, histogram)


def _rank_query(index: int, scores: tuple[float, float], distances: np.ndarray, is_match: np.ndarray) -> RankedQuery:
    """Find the nearest and the first match by distances, (G,), which are infinite for what is left out."""
    nearest = find_nearest(distances, NUM_NEAREST)
    nearest = nearest[np.isfinite(distances[nearest])]
    match = int(np.where(is_match, distances, np.inf).argmin())
    is_late = is_match[match] and np.isfinite(distances[match]) and not is_match[nearest].any()
    late_match = (match, float(distances[match])) if is_late else None
    return RankedQuery(index, *scores, tuple(nearest.tolist()), tuple(distances[nearest].tolist()), late_match)
