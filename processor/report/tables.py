"""The scores of an evaluation as plain data, in fractions of 1, and as text, in percent."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from utils.bootstrap import mean_over_people
from utils.metrics import RankingResult
from utils.text import format_table, percent

from ..evaluation.features import describe_unread
from ..evaluation.results import RERANKED, Evaluation, Method
from .breakdown import break_down, format_interval
from .direction import RankedDirection

REPORTED_RANKS = (1, 5, 10, 20)
SCORES = ("average_precision", "first_match_rank", "inverse_negative_penalty")  # of a query, in queries.csv
MEASURES = (*(f"R{rank}" for rank in REPORTED_RANKS), "mAP", "mINP")
FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
# Where results.json shows the ROC curve: five points for each factor of ten.
CURVE_RATES = tuple(10 ** (exponent / 5) for exponent in range(-25, 1))
Row = dict[str, Any]


def measures_by_query(
    average_precisions: np.ndarray, first_ranks: np.ndarray, inverse_penalties: np.ndarray
) -> dict[str, np.ndarray]:
    """Return every measure for each query, (V,), given arrays of ``RankingResult``; the mean is the measure."""
    cmc = {f"R{rank}": (first_ranks <= rank).astype(float) for rank in REPORTED_RANKS}
    return {**cmc, "mAP": average_precisions, "mINP": inverse_penalties}


def score_methods(evaluation: Evaluation) -> list[Row]:
    """Score every method, with 95 % intervals over people: the directions that it ranked, then overall."""
    rows = []
    for method in evaluation.methods():
        scored = [result for result in evaluation.scored() if method in result.rankings]
        pids = [np.array([query.pid for query in result.valid_queries(method)]) for result in scored]
        for result, own_pids in zip(scored, pids, strict=True):
            title, protocol = result.case.title, result.case.protocol
            rows.append(_score(method, title, protocol, result.rankings[method], own_pids))
        if len(scored) == len(evaluation.cases) > 1:
            names = ", ".join(protocol.name for protocol in evaluation.protocols())
            rows.append(_score(method, "overall", names, evaluation.overall(method), np.concatenate(pids)))
    return rows


def _score(method: Method, direction: str, protocol: str, ranking: RankingResult, pids: np.ndarray) -> Row:
    """Score a ranking; ``pids`` are those of its valid queries, (V,)."""
    values = measures_by_query(ranking.average_precisions, ranking.first_ranks, ranking.inverse_penalties)
    return {
        "direction": direction,
        "method": str(method),
        "re_ranked": method.ranking == RERANKED,
        "uses_whole_query_set": method.ranking.uses_query_set,
        "annotated_attributes": method.mask.annotated,
        "protocol": protocol,
        "num_valid_queries": ranking.num_valid_queries,
        "num_queries_without_match": ranking.num_unmatched,
        "mAP@20": ranking.mAP_at_20,
        **mean_over_people(values, pids),
    }


def verify_pairs(directions: Sequence[RankedDirection]) -> list[Row]:
    """Collect the verification of query-gallery pairs (one person or two?) of every method and scored direction."""
    rows = []
    for direction in directions:
        verification = direction.verification
        equal, at_rate = verification.equal_error(), verification.at_false_positive_rate
        row = {
            "method": str(direction.method),
            "direction": direction.case.title,
            "num_positive_pairs": len(verification.thresholds),
            "num_negative_pairs": verification.num_negatives,
            "equal_error_rate": equal.error_rate,
            "equal_error_threshold": equal.threshold,
            "operating_points": [{"at_most": rate, **asdict(at_rate(rate))} for rate in FALSE_POSITIVE_RATES],
            "roc": [asdict(at_rate(rate)) for rate in CURVE_RATES],
        }
        rows.append(row)
    return rows


def collect_results(
    evaluation: Evaluation,
    origin: Mapping[str, str],
    scores: Sequence[Row],
    directions: Sequence[RankedDirection] = (),
) -> Row:
    """Collect what results.json holds."""
    return {
        **origin,
        "protocols": {protocol.name: protocol.description for protocol in evaluation.protocols()},
        "unit_length": evaluation.unit_length,
        "remarks": list_remarks(evaluation),
        "identities_masked": bool(evaluation.masked()),
        "unreadable_tracklets_left_out": {result.case.title: result.num_left_out for result in evaluation.cases},
        "unreadable_frames": {result.case.title: result.num_unreadable for result in evaluation.cases},
        "results": list(scores),
        "verification": verify_pairs(directions),
        "breakdown": break_down(evaluation),
    }


def format_results(evaluation: Evaluation, scores: Sequence[Row]) -> str:
    """Lay out the rules and remarks, the scores and their intervals, given the rows of ``score_methods``."""
    means, intervals = [], []
    for row in scores:
        title = (title_of(row), row["direction"])
        ends = [format_interval(row, name) for name in MEASURES]
        means.append((*title, *(percent(row[name]) for name in MEASURES), row["num_valid_queries"]))
        intervals.append((*title, *ends, row["num_people"]))
    align = "<<" + ">" * (len(MEASURES) + 1)
    rules = [*(f"protocol: {protocol}" for protocol in evaluation.protocols()), *list_remarks(evaluation)]
    tables = (
        "\n".join(rules),
        format_table(["method", "direction", *MEASURES, "queries"], means, align),
        format_table(["95 % interval over people", "direction", *MEASURES, "people"], intervals, align),
    )
    return "\n\n".join(tables)


def title_of(row: Row) -> str:
    """Return the method of a row of ``score_methods``, and whether a query's ranking depends on the other queries."""
    return f"{row['method']} (uses the whole query set)" if row["uses_whole_query_set"] else row["method"]


def list_remarks(evaluation: Evaluation) -> list[str]:
    """Say what could not be read, what has no scores, and how scores must be read."""
    unread = ((each.case.title, describe_unread(each.num_left_out, each.num_unreadable)) for each in evaluation.cases)
    lines = [f"{title}: {text}" for title, text in unread if text]
    if masked := evaluation.masked():
        names = ", ".join(result.case.title for result in masked)
        lines.append(f"not scored, because their test identities are masked: {names}")
    elif len(evaluation.cases) > 1:
        lines.append("overall weighs directions by their numbers of counted queries")
    people = {query.person for result in evaluation.scored() for query in result.case.query}
    if choosers := people & set(evaluation.chosen_on):
        lines.append(f"{len(choosers)} of the {len(people)} people scored chose the checkpoint: expect less on others")
    return lines


def format_verification(rows: Sequence[Row]) -> str:
    """Lay out the rates of ``verify_pairs``, each with its distance threshold in brackets."""
    titles = [f"TPR at FPR {rate:.0e}" for rate in FALSE_POSITIVE_RATES] + ["equal error rate"]
    cells = []
    for row in rows:
        rates = [(point["true_positive_rate"], point["threshold"]) for point in row["operating_points"]]
        rates.append((row["equal_error_rate"], row["equal_error_threshold"]))
        texts = [f"{percent(rate)} ({'-' if threshold is None else f'{threshold:.4g}'})" for rate, threshold in rates]
        cells.append([row["method"], row["direction"], *texts])
    return format_table(["verification (threshold)", "direction", *titles], cells, "<<" + ">" * len(titles))
