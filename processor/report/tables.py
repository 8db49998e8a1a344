"""The results as text and as plain data for JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

from utils.metrics import RankingResult
from utils.tables import format_table

from ..results import Evaluation, Method

REPORTED_RANKS = (1, 5, 10, 20)


def format_results(evaluation: Evaluation) -> str:
    """Lay out the rules and the scores as text."""
    return f"{format_protocols(evaluation)}\n\n{format_scores(evaluation)}"


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
    measures = [f"R{rank}" for rank in REPORTED_RANKS] + ["mAP", "mINP"]
    header = ["method", "direction", *measures, "queries"]
    rows = [
        [method, direction, *(f"{100 * value:.2f}" for value in _measures(ranking).values()), ranking.num_valid_queries]
        for method, direction, _, ranking in _rows(evaluation)
    ]
    return format_table(header, rows, align="<<" + ">" * (len(header) - 2))


def results_as_dict(evaluation: Evaluation, origin: Mapping[str, str]) -> dict[str, Any]:
    """Collect the results as plain data, in fractions of 1; every row says whether annotated attributes were used."""
    return {
        **origin,
        "protocols": {protocol.name: protocol.description for protocol in evaluation.protocols()},
        "identities_masked": bool(evaluation.masked()),
        "unreadable_tracklets_left_out": {result.case.title: result.num_left_out for result in evaluation.cases},
        "results": [
            {
                "direction": direction,
                "method": str(method),
                "re_ranked": method.reranked,
                "annotated_attributes": method.annotated_attributes,
                "protocol": protocol,
                "num_valid_queries": ranking.num_valid_queries,
                "num_queries_without_match": ranking.num_unmatched,
                **_measures(ranking),
            }
            for method, direction, protocol, ranking in _rows(evaluation)
        ],
    }


def _rows(evaluation: Evaluation) -> Iterator[tuple[Method, str, str, RankingResult]]:
    """Yield method, direction, name of the protocol, and scores."""
    for method in evaluation.methods():
        scored = [result for result in evaluation.scored() if method in result.rankings]
        for result in scored:
            yield method, result.case.title, result.case.protocol, result.rankings[method]
        if len(scored) == len(evaluation.cases) > 1:
            names = ", ".join(protocol.name for protocol in evaluation.protocols())
            yield method, "overall", names, evaluation.overall(method)


def _measures(ranking: RankingResult) -> dict[str, float]:
    cmc = {f"R{rank}": float(ranking.cmc[rank - 1]) for rank in REPORTED_RANKS}
    return {**cmc, "mAP": float(ranking.mAP), "mINP": float(ranking.mINP)}
