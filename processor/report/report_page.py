"""The page, report.html: one file that needs no network and shows the results, and queries with their rankings.

page.js reads the data, which are embedded as JSON: a tracklet and a picture once, and named by their numbers elsewhere.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from jinja2.utils import htmlsafe_json_dumps

from datasets.clips.decoding import THUMBNAIL_HW, encode_thumbnail, read_thumbnail
from datasets.tracklet import Tracklet
from utils import html_page
from utils.commands import going_on_without
from utils.text import percent
from utils.unknown import UNKNOWN

from .direction import RankedDirection, RankedQuery, group_by_case
from .figures import write_figures
from .maps import QueryMaps
from .tables import MEASURES

TEMPLATES = Path(__file__).parent / "page_template"
PAGE_NAME = "report.html"
FIGURES_FOLDER = "figures"
ESCAPES = "backslashreplace"  # of characters that are not UTF-8, as in the log
# Queries of a direction: those with the lowest average precision, and others at equal steps of it.
NUM_WORST, NUM_OTHERS = 300, 100
# Of these, the worst so many show so many frames; the others only the one in the middle.
NUM_WITH_FRAMES, NUM_FRAMES = 100, 6
SHOWN = ("key", "pid", "person", "camid", "camera", "view", "altitude", "day")  # of a tracklet
DIGITS = 3  # behind the point, of distances and weights, as in the pictures

Json = dict[str, Any]
Maps = Mapping[str, Mapping[int, QueryMaps]]  # of some queries, by the case's name and the query's index
Item = TypeVar("Item")


def write_page(
    directions: Sequence[RankedDirection], maps: Maps, results: Json, origin: Mapping[str, str], folder: Path
) -> None:
    """Write the page and its figures into a folder, given directions by all methods and what results.json holds."""
    figures: list[tuple[str, str, str]] = []
    with going_on_without(FIGURES_FOLDER):
        figures = write_figures(directions, results["verification"], folder / FIGURES_FOLDER)
    text = render_page(directions, maps, results, origin, figures)
    (folder / PAGE_NAME).write_text(text, "utf-8", ESCAPES)


def render_page(
    directions: Sequence[RankedDirection],
    maps: Maps,
    results: Json,
    origin: Mapping[str, str],
    figures: Sequence[tuple[str, str, str]],
) -> str:
    """Return the page as HTML; every string of the data is escaped."""
    data = _collect([own for own in directions if own.method.uses_pictures], maps)
    breakdown = groupby(results["breakdown"], lambda row: (row["method"], row["direction"], row["property"]))
    queries = [data["tracklets"][row["query"]] for direction in data["directions"] for row in direction["rankings"][0]]
    cameras = sorted({(query["camid"], query["camera"], query["view"]) for query in queries})
    altitudes = sorted({query["altitude"] for query in queries} - {None})
    return html_page.render_page(
        TEMPLATES / "page.html",
        origin,
        title="Evaluation results",
        results=results,
        measures=MEASURES,
        percent=percent,
        figures=figures,
        methods=data["methods"],
        directions=data["directions"],
        groups=[(group, list(rows)) for group, rows in breakdown if group[0] in data["methods"]],
        cameras=[
            (str(camera), f"{'unknown' if camid == UNKNOWN else camera}, {view}") for camid, camera, view in cameras
        ],
        altitudes=[(str(metres), f"{metres} m") for metres in altitudes],
        enumerate=enumerate,
        num_worst=NUM_WORST,
        embedded=htmlsafe_json_dumps(data, separators=(",", ":"), allow_nan=False),
        script=(TEMPLATES / "page.js").read_text(encoding="utf-8"),
    )


def _collect(directions: Sequence[RankedDirection], maps: Maps) -> Json:
    """Collect the page's data."""
    methods = list(dict.fromkeys(str(direction.method) for direction in directions))
    tracklets: dict[int, Json] = {}  # by ``id``
    frames: dict[str, int] = defaultdict(lambda: len(frames))  # number of each by its path

    def add(tracklet: Tracklet) -> Json:
        if id(tracklet) not in tracklets:
            tracklets[id(tracklet)] = {
                **{name: getattr(tracklet, name) for name in SHOWN},
                "number": len(tracklets),
                "numFrames": len(tracklet.frame_paths),
                "picture": frames[tracklet.middle_frame],
            }
        return tracklets[id(tracklet)]

    rows = []
    for own in group_by_case(directions):
        case, own_maps = own[0].case, maps.get(own[0].case.name, {})
        queries = _choose_queries(own[0].queries, own_maps)
        for query in queries[:NUM_WITH_FRAMES]:
            tracklet = case.query[query.index]
            add(tracklet)["frames"] = [frames[path] for path in spread(tracklet.frame_paths, NUM_FRAMES)]
        for index, each in own_maps.items():
            add(case.query[index])["maps"] = {
                "weights": [round(float(weight), DIGITS) for weight in each.weights],
                "pictures": [encode_thumbnail(pixels) for pixels in (*each.frames, each.match)],
            }
        chosen = {query.index for query in queries}
        rankings: dict[int, list[Json]] = {}
        for direction in own:
            rankings[methods.index(str(direction.method))] = [
                {
                    "query": add(case.query[query.index])["number"],
                    "precision": float(percent(query.average_precision)) / 100,
                    "rank": query.first_rank if math.isfinite(query.first_rank) else None,
                    "places": [
                        (rank, add(case.gallery[index])["number"], round(distance, DIGITS))
                        for rank, index, distance in query.places
                    ],
                }
                for query in direction.queries
                if query.index in chosen
            ]
        rows.append({"title": case.title, "numQueries": len(own[0].queries), "rankings": rankings})
    return {
        "methods": methods,
        "directions": rows,
        "tracklets": list(tracklets.values()),
        "pictures": [read_thumbnail(path) for path in frames],  # null for what cannot be read
        "size": THUMBNAIL_HW,
    }


def _choose_queries(queries: Sequence[RankedQuery], maps: Mapping[int, QueryMaps]) -> list[RankedQuery]:
    """Return the queries to show, the worst first: all if they are few, and in any case those that have maps."""
    queries = sorted(queries, key=lambda query: query.average_precision)
    chosen = {query.index for query in (*queries[:NUM_WORST], *spread(queries[NUM_WORST:], NUM_OTHERS))}
    return [query for query in queries if query.index in chosen.union(maps)]


def spread(items: Sequence[Item], number: int) -> list[Item]:
    """Return items at equal steps, ``number`` of them or all if there are fewer."""
    number = min(number, len(items))
    return [items[(2 * step + 1) * len(items) // (2 * number)] for step in range(number)]
