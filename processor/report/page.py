"""The page, report.html: one file without a network that shows the results and every query with its ranking.

The data are embedded as JSON in short rows, because there may be thousands of queries; page.js in the template's folder
names their columns. A picture is embedded once and named by its index.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from datasets import Case, Tracklet
from utils.commands import going_on_without

from ..results import VISUAL
from .figures import PageFigure, write_figures
from .measures import MEASURES
from .page_data import DirectionData, PageData, RankedQuery
from .thumbnails import PictureTable, choose_form, middle_frame, spread_frames

PAGE_NAME = "report.html"
FIGURES_FOLDER = "figures"
TEMPLATES = Path(__file__).parent / "page_template"
MAX_BYTES = 18_000_000  # of the page: the pictures get what the rest leaves
FRAMES_SHARE = 0.2  # of the pictures' bytes, for maps, and more frames of the queries with the lowest average precision
NUM_FRAMES = 6  # of such a query
DIGITS = 5  # significant, of distances, precisions and weights in a query's row

Json = dict[str, Any]


class _ShownTracklets:
    """The tracklets on the page, numbered: the queries that count and what is ranked first for them."""

    def __init__(self, directions: Sequence[DirectionData]) -> None:
        self.tracklets: list[Tracklet] = []
        self._places: dict[tuple[str, str, int], int] = {}
        for direction in directions:
            ranked = [query for queries in direction.rankings.values() for query in queries]
            self._add(direction.case, "query", sorted({query.query for query in ranked}))
            self._add(direction.case, "gallery", sorted({index for query in ranked for index in query.nearest}))

    def _add(self, case: Case, side: str, indices: Sequence[int]) -> None:
        for index in indices:
            self._places[case.name, side, index] = len(self.tracklets)
            self.tracklets.append(getattr(case, side)[index])

    def query(self, case: Case, index: int) -> int:
        """Return the number of a query of a case."""
        return self._places[case.name, "query", index]

    def gallery(self, case: Case, index: int) -> int:
        """Return the number of a gallery tracklet of a case."""
        return self._places[case.name, "gallery", index]


def write_page(data: PageData, folder: Path) -> list[Path]:
    """Write the page and its figures into a folder; returns the files written, the page last."""
    figures, written = [], []
    with going_on_without(FIGURES_FOLDER):
        figures, written = write_figures(data, folder / FIGURES_FOLDER)
    path = folder / PAGE_NAME
    path.write_text(render_page(data, figures), encoding="utf-8")
    return [*written, path]


def render_page(data: PageData, figures: Sequence[PageFigure]) -> str:
    """Return the page as HTML; every string of the data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    return template.render(
        origin=data.origin,
        results=data.results,
        measures=MEASURES,
        figures=figures,
        embedded=_as_json(_embed(data)),
        style=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "page.js").read_text(encoding="utf-8"),
    )


def _embed(data: PageData) -> Json:
    """Collect the page's data for its script, with as many pictures as there is room for."""
    shown = _ShownTracklets(data.directions)
    methods = list(dict.fromkeys(method for direction in data.directions for method in direction.rankings))
    embedded: Json = {
        "methods": [str(method) for method in methods],
        "directions": [
            {
                "title": direction.case.title,
                "rankings": {
                    methods.index(method): [_row_of_query(direction.case, query, shown) for query in queries]
                    for method, queries in direction.rankings.items()
                },
            }
            for direction in data.directions
        ],
        "breakdown": data.results["breakdown"],
        "tracklets": [_row_of_tracklet(tracklet) for tracklet in shown.tracklets],
    }
    room = MAX_BYTES - len(_as_json(embedded))
    pictures = PictureTable(choose_form(shown.tracklets, int((1 - FRAMES_SHARE) * room)), room)
    for row, tracklet in zip(embedded["tracklets"], shown.tracklets, strict=True):
        row.append(pictures.add_frame(middle_frame(tracklet)))
    maps = dict(_rows_of_maps(data.directions, shown, pictures))
    frames = dict(_rows_of_frames(data.directions, shown, pictures))
    height, width = pictures.form.size_hw
    return {
        **embedded,
        "maps": maps,
        "frames": frames,
        "pictures": pictures.pictures,
        "height": height,
        "width": width,
    }


def _row_of_query(case: Case, query: RankedQuery, shown: _ShownTracklets) -> list[Any]:
    return [
        shown.query(case, query.query),
        _short(query.average_precision),
        query.first_rank if math.isfinite(query.first_rank) else None,
        [shown.gallery(case, index) for index in query.nearest],
        [_short(distance) for distance in query.distances],
    ]


def _row_of_tracklet(tracklet: Tracklet) -> list[Any]:
    named = (tracklet.name, tracklet.pid, tracklet.camid, tracklet.view, tracklet.altitude, tracklet.day)
    return [*named, len(tracklet.frame_paths)]


def _rows_of_frames(
    directions: Sequence[DirectionData], shown: _ShownTracklets, pictures: PictureTable
) -> Iterator[tuple[int, list[int]]]:
    """Yield number and frames' pictures of queries, the hardest for the visual ranking first, while there is room."""
    queries = [(direction.case, query) for direction in directions for query in direction.rankings[VISUAL]]
    for case, query in sorted(queries, key=lambda pair: pair[1].average_precision):
        paths = spread_frames(case.query[query.query], NUM_FRAMES)
        if frames := _known([pictures.add_frame(path) for path in paths]):
            yield shown.query(case, query.query), frames


def _rows_of_maps(
    directions: Sequence[DirectionData], shown: _ShownTracklets, pictures: PictureTable
) -> Iterator[tuple[int, Json]]:
    """Yield number, attention and pictures of the queries that have any."""
    for direction in directions:
        for index, maps in direction.maps.items():
            yield (
                shown.query(direction.case, index),
                {
                    "attention": [_short(weight) for weight in maps.attention],
                    "frames": _known([pictures.add_pixels(pixels) for pixels in maps.frames]),
                    "match": None if maps.match is None else pictures.add_pixels(maps.match),
                },
            )


def _known(indices: Sequence[int | None]) -> list[int]:
    return [index for index in indices if index is not None]


def _as_json(data: Json) -> Markup:
    """Return JSON that may stand in a script element: no '<', '>', '&' or apostrophe, whatever the names hold."""
    return htmlsafe_json_dumps(data, separators=(",", ":"), allow_nan=False)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
