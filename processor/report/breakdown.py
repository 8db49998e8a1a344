"""Score groups of queries: by camera, pair of cameras, altitude, day, tracklet length and attribute."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import torch

from datasets.attributes import AGVPREID_SCHEME, CODES
from datasets.tracklet import Case, Tracklet
from utils.bootstrap import mean_over_people
from utils.distances import given_distances
from utils.metrics import RankingResult, merge_rankings, score_queries
from utils.text import format_table, percent
from utils.unknown import UNKNOWN

from ..evaluation.results import CaseResult, Evaluation, Method

# What a query is grouped by: something to sort by, and its label; None if it is unknown or does not apply.
Value = tuple[Any, str] | None
# A property, its value, scores, and which of their valid queries share the value, (V,), bool.
Group = tuple[str, str, RankingResult, np.ndarray]


def break_down(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Score the groups of every method and scored direction, with 95 % intervals over people; in fractions of 1.

    A query of which a property is unknown, or does not apply, is left out of that property's groups only.
    """
    rows: list[dict[str, Any]] = []
    for method, result, ranking in evaluation.scored_rankings():
        for name, value, scores, members in (*_pair_cameras(result, method), *_group_queries(result, ranking)):
            row = {
                "method": str(method),
                "direction": result.case.title,
                "property": name,
                "value": value,
                "num_queries": int(members.sum()),
            }
            hits, precisions = (scores.first_ranks <= 1).astype(float), scores.average_precisions
            pids = result.ids[0][scores.valid_queries]
            rows.append(row | mean_over_people({"R1": hits[members], "mAP": precisions[members]}, pids[members]))
    return rows


def format_breakdown(rows: Sequence[dict[str, Any]]) -> str:
    """Lay out a table for each method and direction, in percent."""
    tables = []
    for title, own in groupby(rows, lambda row: (row["method"], row["direction"])):
        cells = []
        for row in own:
            measures = [cell for name in ("R1", "mAP") for cell in (percent(row[name]), format_interval(row, name))]
            cells.append([f"{row['property']}: {row['value']}", *measures, row["num_queries"], row["num_people"]])
        headers = [", ".join(title), "R1", "95 %", "mAP", "95 %", "queries", "people"]
        tables.append(format_table(headers, cells))
    return "\n\n".join(tables)


def format_interval(row: Mapping[str, Any], measure: str) -> str:
    """Lay out the interval of a measure, in percent."""
    return f"{percent(row[f'{measure}_low'])}-{percent(row[f'{measure}_high'])}"


def _group_queries(result: CaseResult, ranking: RankingResult) -> Iterator[Group]:
    """Yield the groups of queries that share a property."""
    case = result.case
    known: list[dict[str, Value]] = []
    indices = np.flatnonzero(ranking.valid_queries).tolist()
    for index, length in zip(indices, _length_quarters([case.query[index] for index in indices]), strict=True):
        matches = [case.gallery[other] for other in np.flatnonzero(result.matches(index) & result.kept(index))]
        known.append(_describe_query(case.query[index], matches, length, case))
    for name in known[0]:
        values = [own[name] for own in known]
        for value in sorted({value for value in values if value}):
            yield name, value[1], ranking, np.array([own == value for own in values])


def _pair_cameras(result: CaseResult, method: Method) -> Iterator[Group]:
    """Yield the queries of each camera, ranked in the gallery of each camera alone if they have a match there."""
    q_pids, g_pids, q_camids, g_camids = result.ids
    columns = {camera: np.flatnonzero(g_camids == camera) for camera in sorted({*g_camids.tolist()} - {UNKNOWN})}
    names = {tracklet.camid: tracklet.camera for tracklet in (*result.case.query, *result.case.gallery)}
    protocol = replace(result.protocol, count_unmatched=False)
    parts: dict[int, list[RankingResult]] = defaultdict(list)
    for rows, block in result.distances[method].blocks():
        for camera, own in columns.items():
            distances = given_distances(block[:, torch.from_numpy(own).to(block.device)])
            ids = q_pids[rows], g_pids[own], q_camids[rows], g_camids[own]
            parts[camera].append(score_queries(distances, *ids, protocol=protocol))
    rankings = {camera: merge_rankings(own) for camera, own in parts.items()}
    for camera in sorted({*q_camids.tolist()} - {UNKNOWN}):
        for other, scores in rankings.items():
            members = (q_camids == camera)[scores.valid_queries]
            if members.any():
                yield "query camera to gallery camera", f"{names[camera]} to {names[other]}", scores, members


def _length_quarters(queries: Sequence[Tracklet]) -> list[Value]:
    """Divide the queries into quarters by their number of frames; equal lengths stay together."""
    lengths = np.array([len(query.frame_paths) for query in queries])
    quarters = np.searchsorted(np.quantile(lengths, [0.25, 0.5, 0.75]), lengths)
    ends = {quarter: lengths[quarters == quarter] for quarter in set(quarters.tolist())}
    return [(quarter, f"{ends[quarter].min()} to {ends[quarter].max()}") for quarter in quarters.tolist()]


def _describe_query(query: Tracklet, matches: Sequence[Tracklet], length: Value, case: Case) -> dict[str, Value]:
    """Return each property of a query; its altitude is that of what is aerial, itself or its matches."""
    aerial = [query] if query.view == "aerial" else [match for match in matches if match.view == "aerial"]
    metres = tuple(sorted({tracklet.altitude for tracklet in aerial if tracklet.altitude is not None}))
    days = {match.day for match in matches}
    known_days = bool(days) and None not in (query.day, *days)
    same_day = (0, "the same") if len(days) == 1 else (1, "the same and others")
    day = same_day if query.day in days else (2, "another")
    properties: dict[str, Value] = {
        "query camera": None if query.camid == UNKNOWN else (query.camid, str(query.camera)),
        "altitude": (metres, f"{', '.join(map(str, metres))} m") if metres else None,
        "day of the true matches": day if known_days else None,
        "frames of the query": length,
    }
    if scheme := case.scheme:
        codes = query.attributes or scheme.unknown
        for column, code, unknown in zip(scheme.columns, codes, scheme.unknown, strict=True):
            words = (
                dict(enumerate(CODES[column])) if scheme == AGVPREID_SCHEME else case.attribute_words.get(column, {})
            )
            properties[column] = None if code == unknown else (code, words.get(code, str(code)))
    return properties
