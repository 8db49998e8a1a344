"""The results as text and as plain data for JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.metrics import RankingResult
from utils.tables import format_table

from ..evaluation.results import RERANKED, Evaluation, Method
from .measures import MEASURES, mean_measures, measure_intervals


@dataclass(frozen=True)
class _Row:
    """A row of the results.

    Attributes:
        method: The one that ranked.
        direction: Title of the case, or 'overall'.
        protocol: Names of the protocols that scored it.
        ranking: Scores.
        pids: Identities of the valid queries, (V,).
    """

    method: Method
    direction: str
    protocol: str
    ranking: RankingResult
    pids: np.ndarray

    @property
    def num_people(self) -> int:
        """Number of different people among the valid queries."""
        return len(np.unique(self.pids))


def format_results(evaluation: Evaluation) -> str:
    """Lay out the rules, the scores and their intervals as text."""
    return "\n\n".join((format_protocols(evaluation), format_scores(evaluation), format_intervals(evaluation)))


def format_protocols(evaluation: Evaluation) -> str:
    """State the rules behind the scores, one protocol a line, and what has no scores."""
    lines = [f"protocol: {protocol}" for protocol in evaluation.protocols()]
    lines += [
        f"left out of {result.case.title}, because none of their frames can be read: {result.num_left_out} tracklets"
        for result in evaluation.cases
        if result.num_left_out
    ]
    if masked := evaluation.masked():
        names = ", ".join(result.case.title for result in masked)
        lines.append(f"not scored, because their test identities are masked: {names}")
    elif len(evaluation.cases) > 1:
        lines.append("overall weighs directions by their numbers of counted queries")
    return "\n".join(lines)


def format_scores(evaluation: Evaluation) -> str:
    """Lay out the scores in percent: for each method one row a direction, and overall when there are several."""
    rows = [
        [row.method.heading, row.direction, *_percent(mean_measures(row.ranking)), row.ranking.num_valid_queries]
        for row in _rows(evaluation)
    ]
    return _format_table("method", "queries", rows)


def format_intervals(evaluation: Evaluation) -> str:
    """Lay out the 95 % intervals of the scores, in percent, with the number of people that they are drawn from."""
    rows = []
    for row in _rows(evaluation):
        intervals = measure_intervals(row.ranking, row.pids).values()
        cells = [f"{100 * low:.1f}-{100 * high:.1f}" for low, high in intervals]
        rows.append([row.method.heading, row.direction, *cells, row.num_people])
    return _format_table("95 % interval over people", "people", rows)


def _percent(measures: Mapping[str, float]) -> list[str]:
    return [f"{100 * value:.2f}" for value in measures.values()]


def _format_table(title: str, count: str, rows: Sequence[Sequence[object]]) -> str:
    """Lay out rows of a method, a direction, a cell for each measure, and a number of something."""
    return format_table([title, "direction", *MEASURES, count], rows, align="<<" + ">" * (len(MEASURES) + 1))


def results_as_dict(evaluation: Evaluation, origin: Mapping[str, str]) -> dict[str, Any]:
    """Collect the results as plain data, in fractions of 1; every row says what it uses."""
    return {
        **origin,
        "protocols": {protocol.name: protocol.description for protocol in evaluation.protocols()},
        "identities_masked": bool(evaluation.masked()),
        "unreadable_tracklets_left_out": {result.case.title: result.num_left_out for result in evaluation.cases},
        "results": [_row_as_dict(row) for row in _rows(evaluation)],
    }


def _row_as_dict(row: _Row) -> dict[str, Any]:
    measures: dict[str, float] = {}
    intervals = measure_intervals(row.ranking, row.pids)
    for name, value in mean_measures(row.ranking).items():
        low, high = intervals[name]
        measures |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return {
        "direction": row.direction,
        "method": str(row.method),
        "re_ranked": row.method.ranking == RERANKED,
        "uses_whole_query_set": row.method.ranking.uses_query_set,
        "annotated_attributes": row.method.mask.annotated,
        "protocol": row.protocol,
        "num_valid_queries": row.ranking.num_valid_queries,
        "num_queries_without_match": row.ranking.num_unmatched,
        "num_people": row.num_people,
        **measures,
        f"mAP@{row.ranking.k}": row.ranking.mAP_at_k,
    }


def _rows(evaluation: Evaluation) -> Iterator[_Row]:
    """Yield the rows of every method: the directions that it ranked, then overall, if it ranked several and all."""
    for method in evaluation.methods():
        scored = [result for result in evaluation.scored() if method in result.rankings]
        pids = [np.array([query.pid for query in result.valid_queries(method)]) for result in scored]
        for result, own_pids in zip(scored, pids, strict=True):
            yield _Row(method, result.case.title, result.case.protocol, result.rankings[method], own_pids)
        if len(scored) == len(evaluation.cases) > 1:
            names = ", ".join(protocol.name for protocol in evaluation.protocols())
            yield _Row(method, "overall", names, evaluation.overall(method), np.concatenate(pids))
