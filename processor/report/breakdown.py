"""Where a ranking fails: R1 and mAP by cameras, altitude, day, tracklet length and attribute of the queries."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from datasets.attributes import AGVPREID_SCHEME, CODES, AttributeScheme
from datasets.tracklet import Tracklet
from utils.metrics import RankingResult
from utils.tables import format_table
from utils.unknown import UNKNOWN

from ..evaluation.results import CaseResult, Evaluation, Method
from .measures import measures_by_query

# What queries are grouped by: something to sort by, and its label.
Value = tuple[Any, str]
# The values that a query has: none if it is unknown or does not apply; several for pairs of cameras.
Values = tuple[Value, ...]


def break_down(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Score the groups of every method and scored direction; returns plain data, in fractions of 1.

    A query of which a property is unknown, or does not apply, is left out of that property's groups only.
    """
    rows = []
    for method, result, ranking in evaluation.scored_rankings():
        title = {"method": str(method), "direction": result.case.title}
        for name, values in _properties(result, method):
            for label, group in _group(values):
                rows.append({**title, "property": name, "value": label, **_score(ranking, group)})
    return rows


def format_breakdown(rows: Sequence[dict[str, Any]]) -> str:
    """Lay out a table for each method and direction, in percent."""
    tables = defaultdict(list)
    for row in rows:
        cells = [f"{row['property']}: {row['value']}", f"{100 * row['R1']:.2f}", f"{100 * row['mAP']:.2f}"]
        tables[row["method"], row["direction"]].append([*cells, row["num_queries"]])
    return "\n\n".join(
        format_table([", ".join(title), "R1", "mAP", "queries"], cells) for title, cells in tables.items()
    )


def _properties(result: CaseResult, method: Method) -> Iterator[tuple[str, list[Values]]]:
    """Yield every property with its values for each valid query."""
    queries = result.valid_queries(method)
    matches = _true_matches(result, queries)
    yield "query camera", [_camera(query) for query in queries]
    yield "query camera to match camera", [_camera_pairs(*pair) for pair in zip(queries, matches, strict=True)]
    yield "altitude", [_altitude(*pair) for pair in zip(queries, matches, strict=True)]
    yield "day of the true matches", [_days_of_matches(*pair) for pair in zip(queries, matches, strict=True)]
    yield "frames of the query", _length_quarters([len(query.frame_paths) for query in queries])
    if scheme := result.case.scheme:
        for index, column in enumerate(scheme.columns):
            yield column, [_attribute(query, scheme, index) for query in queries]


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


def _camera(query: Tracklet) -> Values:
    return () if query.camid == UNKNOWN else ((query.camid, str(query.camid)),)


def _camera_pairs(query: Tracklet, matches: Sequence[Tracklet]) -> Values:
    """Pair the query's camera with every camera that has a true match of it."""
    cameras = {match.camid for match in matches} - {UNKNOWN}
    if query.camid == UNKNOWN:
        return ()
    return tuple(((query.camid, camera), f"{query.camid} to {camera}") for camera in sorted(cameras))


def _altitude(query: Tracklet, matches: Sequence[Tracklet]) -> Values:
    """Return the altitude of an aerial query, or those of a ground query's aerial matches, which may be several."""
    aerial = [query] if query.view == "aerial" else [match for match in matches if match.view == "aerial"]
    metres = tuple(sorted({tracklet.altitude for tracklet in aerial if tracklet.altitude is not None}))
    return ((metres, f"{', '.join(map(str, metres))} m"),) if metres else ()


def _days_of_matches(query: Tracklet, matches: Sequence[Tracklet]) -> Values:
    """Say whether the true matches are of the query's day."""
    days = {match.day for match in matches}
    if query.day is None or None in days or not days:
        return ()
    if query.day not in days:
        return ((2, "another"),)
    return ((0, "the same"),) if len(days) == 1 else ((1, "the same and others"),)


def _length_quarters(lengths: Sequence[int]) -> list[Values]:
    """Divide the queries into quarters by their number of frames; equal lengths stay together."""
    quarters = np.searchsorted(np.quantile(lengths, [0.25, 0.5, 0.75]), lengths)
    ends = {int(quarter): np.array(lengths)[quarters == quarter] for quarter in np.unique(quarters)}
    return [((quarter, f"{ends[quarter].min()} to {ends[quarter].max()}"),) for quarter in quarters.tolist()]


def _attribute(query: Tracklet, scheme: AttributeScheme, index: int) -> Values:
    if query.attributes is None or query.attributes[index] == scheme.unknown[index]:
        return ()
    code = query.attributes[index]
    return ((code, CODES[scheme.columns[index]][code] if scheme == AGVPREID_SCHEME else str(code)),)


def _group(values: Sequence[Values]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the label of every value, in order, and which queries have it, (V,), bool."""
    for value in sorted({value for own in values for value in own}):
        yield value[1], np.array([value in own for own in values])


def _score(ranking: RankingResult, group: np.ndarray) -> dict[str, float]:
    values = measures_by_query(ranking.first_ranks, ranking.average_precisions, ranking.inverse_penalties)
    return {
        "num_queries": int(group.sum()),
        "R1": float(values["R1"][group].mean()),
        "mAP": float(values["mAP"][group].mean()),
    }
