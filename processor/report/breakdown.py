"""Where a ranking fails: R1 and mAP by cameras, altitude, day, tracklet length and attribute of the queries."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from datasets.attributes import AGVPREID_SCHEME, CODES
from datasets.tracklet import Tracklet
from utils.tables import format_table
from utils.unknown import UNKNOWN

from ..evaluation.results import CaseResult, Evaluation, Method

# What a query is grouped by: something to sort by, and its label. A query has no value of a property if it is unknown
# or does not apply, and several for pairs of cameras.
Values = list[tuple[Any, str]]


def break_down(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Score the groups of every method and scored direction; returns plain data, in fractions of 1.

    A query of which a property is unknown, or does not apply, is left out of that property's groups only.
    """
    rows = []
    for method, result, ranking in evaluation.scored_rankings():
        for name, values in _properties(result, method):
            for value in sorted({value for own in values for value in own}):
                group = np.array([value in own for own in values])
                row = {
                    "method": str(method),
                    "direction": result.case.title,
                    "property": name,
                    "value": value[1],
                    "num_queries": int(group.sum()),
                    "R1": float((ranking.first_ranks[group] <= 1).mean()),
                    "mAP": float(ranking.average_precisions[group].mean()),
                }
                rows.append(row)
    return rows


def format_breakdown(rows: Sequence[dict[str, Any]]) -> str:
    """Lay out a table for each method and direction, in percent."""
    tables = []
    for title, own in groupby(rows, lambda row: (row["method"], row["direction"])):
        cells = []
        for row in own:
            measures = [f"{100 * row[name]:.2f}" for name in ("R1", "mAP")]
            cells.append([f"{row['property']}: {row['value']}", *measures, row["num_queries"]])
        tables.append(format_table([", ".join(title), "R1", "mAP", "queries"], cells))
    return "\n\n".join(tables)


def _properties(result: CaseResult, method: Method) -> Iterator[tuple[str, list[Values]]]:
    """Yield every property with its values for each valid query."""
    queries = result.valid_queries(method)
    pairs = list(zip(queries, _true_matches(result, queries), strict=True))
    yield "query camera", [[] if query.camid == UNKNOWN else [(query.camid, str(query.camid))] for query in queries]
    yield "query camera to match camera", [_camera_pairs(*pair) for pair in pairs]
    yield "altitude", [_altitudes(*pair) for pair in pairs]
    yield "day of the true matches", [_days_of_matches(*pair) for pair in pairs]
    yield "frames of the query", _length_quarters(np.array([len(query.frame_paths) for query in queries]))
    if scheme := result.case.scheme:
        for index, column in enumerate(scheme.columns):
            labels = CODES[column] if scheme == AGVPREID_SCHEME else None
            unknown = scheme.unknown[index]
            codes = [query.attributes[index] if query.attributes else unknown for query in queries]
            known = [(code, labels[code] if labels else str(code)) for code in set(codes) - {unknown}]
            values = {value[0]: [value] for value in known}
            yield column, [values.get(code, []) for code in codes]


def _true_matches(result: CaseResult, queries: Sequence[Tracklet]) -> list[list[Tracklet]]:
    """Return the gallery tracklets that the protocol counts as matches of each query."""
    by_pid = defaultdict(list)
    for tracklet in result.case.gallery:
        by_pid[tracklet.pid].append(tracklet)
    matches = []
    for query in queries:
        same = by_pid[query.pid]
        pids, camids = np.full(len(same), query.pid), np.array([tracklet.camid for tracklet in same])
        left_out = result.protocol.leaves_out(query.pid, query.camid, pids, camids)
        matches.append([tracklet for tracklet, out in zip(same, left_out, strict=True) if not out])
    return matches


def _camera_pairs(query: Tracklet, matches: Sequence[Tracklet]) -> Values:
    """Pair the query's camera with every camera that has a true match of it."""
    cameras = {match.camid for match in matches} - {UNKNOWN}
    return [((query.camid, camera), f"{query.camid} to {camera}") for camera in cameras if query.camid != UNKNOWN]


def _altitudes(query: Tracklet, matches: Sequence[Tracklet]) -> Values:
    """Return the altitude of an aerial query, or those of a ground query's aerial matches, which may be several."""
    aerial = [query] if query.view == "aerial" else [match for match in matches if match.view == "aerial"]
    metres = tuple(sorted({tracklet.altitude for tracklet in aerial if tracklet.altitude is not None}))
    return [(metres, f"{', '.join(map(str, metres))} m")] if metres else []


def _days_of_matches(query: Tracklet, matches: Sequence[Tracklet]) -> Values:
    """Say whether the true matches are of the query's day."""
    days = {match.day for match in matches}
    if query.day is None or None in days or not days:
        return []
    if query.day not in days:
        return [(2, "another")]
    return [(0, "the same")] if len(days) == 1 else [(1, "the same and others")]


def _length_quarters(lengths: np.ndarray) -> list[Values]:
    """Divide the queries into quarters by their number of frames; equal lengths stay together."""
    quarters = np.searchsorted(np.quantile(lengths, [0.25, 0.5, 0.75]), lengths)
    ends = {quarter: lengths[quarters == quarter] for quarter in set(quarters.tolist())}
    return [[(quarter, f"{ends[quarter].min()} to {ends[quarter].max()}")] for quarter in quarters.tolist()]
