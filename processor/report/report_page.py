"""The page, report.html: one file that needs no network and shows the results, and queries with their rankings.

page.js reads the data, which are embedded as JSON: a tracklet and a picture once, and named by their numbers elsewhere.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from jinja2.utils import htmlsafe_json_dumps

from datasets.clips.decoding import THUMBNAIL_HW, encode_thumbnail, read_thumbnail
from datasets.tracklet import Case
from utils import html_page
from utils.commands import going_on_without
from utils.unknown import UNKNOWN

from ..evaluation.results import NO_MASK, Method
from .direction import RankedDirection, RankedQuery, group_by_case
from .figures import PageFigure, write_figures
from .tables import MEASURES

TEMPLATES = Path(__file__).parent / "page_template"
PAGE_NAME = "report.html"
FIGURES_FOLDER = "figures"
ESCAPES = "backslashreplace"  # of characters that are not UTF-8, as in the log
# Queries of a direction: those with the lowest average precision, and others at equal steps of it.
NUM_WORST, NUM_OTHERS = 300, 100
# Of these, the worst so many show so many frames; the others only the one in the middle.
NUM_WITH_FRAMES, NUM_FRAMES = 100, 6
DIGITS = 5  # significant, of precisions, distances and weights

Json = dict[str, Any]
Item = TypeVar("Item")


def write_page(
    directions: Sequence[RankedDirection], results: Mapping[str, Any], provenance: Mapping[str, str], folder: Path
) -> None:
    """Write the page and its figures into a folder.

    Args:
        directions: All scored ones by all methods, the visual one first.
        results: What results.json holds.
        provenance: Where the numbers come from.
        folder: Where to write.
    """
    figures: list[PageFigure] = []
    with going_on_without(FIGURES_FOLDER):
        figures = write_figures(directions, results["verification"], folder / FIGURES_FOLDER)
    (folder / PAGE_NAME).write_text(render_page(directions, results, provenance, figures), "utf-8", ESCAPES)


def render_page(
    directions: Sequence[RankedDirection],
    results: Mapping[str, Any],
    provenance: Mapping[str, str],
    figures: Sequence[PageFigure],
) -> str:
    """Return the page as HTML; every string of the data is escaped."""
    methods = list(dict.fromkeys(each.method for each in directions if each.method.ranking.uses_pictures))
    names = [str(method) for method in methods]
    data = _embed(directions, methods)
    titles = [direction["title"] for direction in data["directions"]]
    breakdown = groupby(results["breakdown"], lambda row: (row["method"], row["direction"], row["property"]))
    groups = [
        {"method": names.index(method), "direction": titles.index(title), "property": name, "rows": list(rows)}
        for (method, title, name), rows in breakdown
        if method in names
    ]
    queries = [data["tracklets"][row["query"]] for direction in data["directions"] for row in direction["rankings"][0]]
    cameras = sorted({(query["camera"], query["view"]) for query in queries})
    altitudes = sorted({query["altitude"] for query in queries} - {None})
    return html_page.render_page(
        TEMPLATES / "page.html",
        title="Evaluation results",
        provenance=provenance,
        results=results,
        measures=MEASURES,
        has_mask=any(method.mask != NO_MASK for method in methods),
        figures=figures,
        methods=names,
        directions=data["directions"],
        groups=groups,
        cameras=[(number, f"{'unknown' if number == UNKNOWN else number}, {view}") for number, view in cameras],
        altitudes=[(metres, f"{metres} m") for metres in altitudes],
        enumerate=enumerate,
        num_worst=NUM_WORST,
        num_others=NUM_OTHERS,
        embedded=htmlsafe_json_dumps(data, separators=(",", ":"), allow_nan=False),
        script=(TEMPLATES / "page.js").read_text(encoding="utf-8"),
    )


class _Embedded:
    """The tracklets and pictures on the page; each is embedded once and known by its number."""

    def __init__(self) -> None:
        self.tracklets: list[Json] = []
        self.pictures: list[str] = []
        self._added: dict[tuple[str, str, int], Json] = {}
        self._frames: dict[str, int | None] = {}

    def add_tracklet(self, case: Case, side: str, index: int) -> Json:
        """Add the tracklet of a case, if it is new; returns what is embedded of it."""
        place = (case.name, side, index)
        if place not in self._added:
            tracklet = getattr(case, side)[index]
            self._added[place] = {
                "number": len(self.tracklets),
                "key": tracklet.key,
                "person": tracklet.pid,
                "camera": tracklet.camid,
                "view": tracklet.view,
                "altitude": tracklet.altitude,
                "day": tracklet.day,
                "numFrames": len(tracklet.frame_paths),
                "picture": self.add_frame(tracklet.middle_frame),
            }
            self.tracklets.append(self._added[place])
        return self._added[place]

    def add_frame(self, path: str) -> int | None:
        """Add a frame, if it is new; returns its number, or None if it cannot be read."""
        if path not in self._frames:
            picture = read_thumbnail(path)
            self._frames[path] = None if picture is None else self.add_picture(picture)
        return self._frames[path]

    def add_picture(self, picture: str) -> int:
        """Add a thumbnail; returns its number."""
        self.pictures.append(picture)
        return len(self.pictures) - 1


def _embed(directions: Sequence[RankedDirection], methods: Sequence[Method]) -> Json:
    """Collect the page's data for its script."""
    embedded = _Embedded()
    rows = []
    for own in group_by_case(directions):
        case, queries = own[0].case, _choose_queries(own[0])
        for query in queries[:NUM_WITH_FRAMES]:
            frames = [embedded.add_frame(path) for path in spread(case.query[query.index].frame_paths, NUM_FRAMES)]
            embedded.add_tracklet(case, "query", query.index)["frames"] = [one for one in frames if one is not None]
        for index, own_maps in own[0].maps.items():
            embedded.add_tracklet(case, "query", index)["maps"] = {
                "weights": [_short(weight) for weight in own_maps.weights],
                "frames": [embedded.add_picture(encode_thumbnail(pixels)) for pixels in own_maps.frames],
                "match": embedded.add_picture(encode_thumbnail(own_maps.match)),
            }
        chosen = {query.index for query in queries}
        rankings = {
            methods.index(direction.method): [
                _embed_query(case, query, embedded) for query in direction.queries if query.index in chosen
            ]
            for direction in own
            if direction.method in methods
        }
        rows.append({"title": case.title, "numQueries": len(own[0].queries), "rankings": rankings})
    height, width = THUMBNAIL_HW
    return {
        "methods": [str(method) for method in methods],
        "directions": rows,
        "tracklets": embedded.tracklets,
        "pictures": embedded.pictures,
        "height": height,
        "width": width,
    }


def _choose_queries(direction: RankedDirection) -> list[RankedQuery]:
    """Return the queries to show, the worst first: all if they are few, and in any case those that have maps."""
    queries = sorted(direction.queries, key=lambda query: query.average_precision)
    chosen = [*queries[:NUM_WORST], *spread(queries[NUM_WORST:], NUM_OTHERS)]
    indices = {query.index for query in chosen}.union(direction.maps)
    return [query for query in queries if query.index in indices]


def _embed_query(case: Case, query: RankedQuery, embedded: _Embedded) -> Json:
    return {
        "query": embedded.add_tracklet(case, "query", query.index)["number"],
        "precision": _short(query.average_precision),
        "rank": query.first_rank if math.isfinite(query.first_rank) else None,
        "places": [
            (rank, embedded.add_tracklet(case, "gallery", index)["number"], _short(distance))
            for rank, index, distance in query.places
        ],
    }


def spread(items: Sequence[Item], number: int) -> list[Item]:
    """Return items at equal steps, ``number`` of them or all if there are fewer."""
    number = min(number, len(items))
    return [items[(2 * step + 1) * len(items) // (2 * number)] for step in range(number)]


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
