"""What the page shows, as plain records: ``collect_page`` makes them of an evaluation, ``page.py`` draws them.

Axes: R ranks, T frames.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datasets.tracklet import Case
from utils.commands import going_on_without

from ..evaluation.results import VISUAL, CaseResult, Evaluation, Method
from .survey import PairHistogram, RankedQuery, Survey


@dataclass(frozen=True, eq=False)
class QueryMaps:
    """What the network looked at in a query; every part may be missing.

    Attributes:
        attention: Weight of each frame of the clip, in time order, at least 0, T of them.
        frames: Frames of the clip with their relevance drawn over them, each (H, W, 3), uint8.
        match: The same for the gallery tracklet that was ranked first, (H, W, 3), uint8.
    """

    attention: tuple[float, ...] = ()
    frames: tuple[np.ndarray, ...] = ()
    match: np.ndarray | None = None


@dataclass(frozen=True)
class DirectionData:
    """One scored direction.

    Attributes:
        case: Its tracklets.
        rankings: The queries that count, in query order, by method.
        cmc: Share of queries with a true match at rank r or better, (R,), by method.
        histogram: Distances of the visual ranking.
        maps: What the network looked at, by the query's index.
    """

    case: Case
    rankings: dict[Method, list[RankedQuery]]
    cmc: dict[Method, np.ndarray]
    histogram: PairHistogram
    maps: Mapping[int, QueryMaps] = field(default_factory=dict)


@dataclass(frozen=True)
class PageData:
    """Everything on the page.

    Attributes:
        results: What results.json holds: scores, verification, breakdown.
        origin: Where the numbers come from, as above the tables.
        directions: The scored ones.
    """

    results: Mapping[str, Any]
    origin: Mapping[str, str]
    directions: Sequence[DirectionData]


MakeMaps = Callable[[Survey], dict[int, QueryMaps]]


def map_nothing(survey: Survey) -> dict[int, QueryMaps]:
    """Return no maps: a page needs no network."""
    return {}


def collect_page(
    evaluation: Evaluation,
    surveys: Sequence[Survey],
    results: Mapping[str, Any],
    origin: Mapping[str, str],
    make_maps: MakeMaps = map_nothing,
) -> PageData:
    """Collect what the page shows of the scored directions.

    Args:
        evaluation: Its directions.
        surveys: Those of every scored direction and method.
        results: What results.json holds.
        origin: Where the numbers come from.
        make_maps: Maps some queries of a direction, given its visual survey.
    """
    directions = [_collect_direction(result, surveys, make_maps) for result in evaluation.scored()]
    return PageData(results, origin, directions)


def _collect_direction(result: CaseResult, surveys: Sequence[Survey], make_maps: MakeMaps) -> DirectionData:
    own = {survey.method: survey for survey in surveys if survey.case.name == result.case.name}
    maps: dict[int, QueryMaps] = {}
    with going_on_without(f"{result.case.title}: the maps of queries"):
        maps = make_maps(own[VISUAL])
    rankings = {method: survey.ranked for method, survey in own.items() if method.ranking.uses_pictures}
    cmc = {method: ranking.cmc for method, ranking in result.rankings.items()}
    return DirectionData(result.case, rankings, cmc, own[VISUAL].histogram, maps)
