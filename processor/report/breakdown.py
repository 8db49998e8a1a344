"""Score groups of queries: by camera, altitude, day, tracklet length and attribute."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from datasets.attributes import AGVPREID_SCHEME, CODES, AttributeScheme
from datasets.tracklet import Tracklet
from utils.tables import format_table, percent
from utils.unknown import UNKNOWN

from ..evaluation.results import CaseResult, Evaluation

# What a query is grouped by: something to sort by, and its label. A query has no value of a property if it is unknown
# or does not apply, and several for pairs of cameras.
Values = list[tuple[Any, str]]


def break_down(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Score the groups of every method and scored direction; returns plain data, in fractions of 1.

    A query of which a property is unknown, or does not apply, is left out of that property's groups only.
    """
    rows = []
    for method, result, ranking in evaluation.scored_rankings():
        queries = result.valid_queries(method)
        facts = zip(queries, _true_matches(result, queries), _length_quarters(queries), strict=True)
        known = [_describe_query(*own, result.case.scheme) for own in facts]
        for name in known[0]:
            values = [own[name] for own in known]
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
            measures = [percent(row[name]) for name in ("R1", "mAP")]
            cells.append([f"{row['property']}: {row['value']}", *measures, row["num_queries"]])
        tables.append(format_table([", ".join(title), "R1", "mAP", "queries"], cells))
    return "\n\n".join(tables)


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


def _length_quarters(queries: Sequence[Tracklet]) -> list[Values]:
    """Divide the queries into quarters by their number of frames; equal lengths stay together."""
    lengths = np.array([len(query.frame_paths) for query in queries])
    quarters = np.searchsorted(np.quantile(lengths, [0.25, 0.5, 0.75]), lengths)
    ends = {quarter: lengths[quarters == quarter] for quarter in set(quarters.tolist())}
    return [[(quarter, f"{ends[quarter].min()} to {ends[quarter].max()}")] for quarter in quarters.tolist()]


def _describe_query(
    query: Tracklet, matches: Sequence[Tracklet], length: Values, scheme: AttributeScheme | None
) -> dict[str, Values]:
    """Return the values of each property of a query; its altitude is that of what is aerial, itself or its matches."""
    camera, cameras = query.camid, {match.camid for match in matches} - {UNKNOWN}
    pairs: Values = [((camera, other), f"{camera} to {other}") for other in cameras]
    aerial = [query] if query.view == "aerial" else [match for match in matches if match.view == "aerial"]
    metres = tuple(sorted({tracklet.altitude for tracklet in aerial if tracklet.altitude is not None}))
    days = {match.day for match in matches}
    known_days = bool(days) and None not in (query.day, *days)
    same_day = (0, "the same") if len(days) == 1 else (1, "the same and others")
    day = same_day if query.day in days else (2, "another")
    properties: dict[str, Values] = {
        "query camera": [] if camera == UNKNOWN else [(camera, str(camera))],
        "query camera to match camera": [] if camera == UNKNOWN else pairs,
        "altitude": [(metres, f"{', '.join(map(str, metres))} m")] if metres else [],
        "day of the true matches": [day] if known_days else [],
        "frames of the query": length,
    }
    if scheme:
        codes = query.attributes or scheme.unknown
        for column, code, unknown in zip(scheme.columns, codes, scheme.unknown, strict=True):
            labels = CODES[column] if scheme == AGVPREID_SCHEME else None
            properties[column] = [] if code == unknown else [(code, labels[code] if labels else str(code))]
    return properties
