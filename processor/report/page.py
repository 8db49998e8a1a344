"""The page, report.html: one file that needs no network and shows the results and every query with its ranking.

The data are embedded as JSON in short rows, because there may be thousands of queries; page.js in the template's folder
names their columns. A picture is embedded once and named by its index.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from datasets.clips.thumbnails import THUMBNAIL_HW, encode_thumbnail, read_thumbnail
from datasets.tracklet import Case, Tracklet
from utils.commands import going_on_without
from utils.html_page import render_page as render_html

from ..evaluation.results import VISUAL, Method
from .figures import PageFigure, write_figures
from .measures import MEASURES
from .page_data import DirectionData, PageData
from .survey import RankedQuery

TEMPLATES = Path(__file__).parent / "page_template"
PAGE_NAME = "report.html"
FIGURES_FOLDER = "figures"
MAX_BYTES = 19_500_000  # of the page: the pictures get what the rest leaves
# Share of these bytes, about, that the data without pictures may take; beyond it, the last rankings are left out.
ROWS_SHARE = 0.6
NUM_FRAMES = 6  # of such a query
ESCAPES = "backslashreplace"  # of characters that are not UTF-8, as in the log
DIGITS = 5  # significant, of precisions and weights
DISTANCE_DIGITS = 4

Json = dict[str, Any]


@dataclass
class PictureTable:
    """Pictures, each held once and named by its index, as many as ``max_bytes`` hold."""

    max_bytes: int
    pictures: list[str] = field(default_factory=list)
    _indices: dict[str, int | None] = field(default_factory=dict)  # by the frame's path

    def add_frame(self, path: str) -> int | None:
        """Add a frame, if it is new; returns its index, or None if it cannot be read or there is no room left."""
        if path not in self._indices and self._has_room():
            self._indices[path] = self._add(read_thumbnail(path))
        return self._indices.get(path)

    def add_pixels(self, pixels: np.ndarray) -> int | None:
        """Add an image, (H, W, 3), uint8; returns its index, or None without room."""
        return self._add(encode_thumbnail(pixels)) if self._has_room() else None

    def _has_room(self) -> bool:
        return sum(map(len, self.pictures)) < self.max_bytes

    def _add(self, picture: str | None) -> int | None:
        if picture is None:
            return None
        self.pictures.append(picture)
        return len(self.pictures) - 1


def spread_frames(tracklet: Tracklet, number: int) -> list[str]:
    """Return the paths of frames at equal steps in time order, ``number`` of them or all if there are fewer."""
    count = len(tracklet.frame_paths)
    number = min(number, count)
    return [tracklet.frame_paths[(2 * step + 1) * count // (2 * number)] for step in range(number)]


class _ShownTracklets:
    """The tracklets on the page, numbered: the queries that count and what is ranked first for them."""

    def __init__(self, directions: Sequence[DirectionData], methods: Sequence[Method]) -> None:
        self.tracklets: list[Tracklet] = []
        self._places: dict[tuple[str, str, int], int] = {}
        for direction in directions:
            ranked = [query for method in methods for query in direction.rankings.get(method, ())]
            self._add(direction.case, "query", sorted({query.index for query in ranked}))
            self._add(direction.case, "gallery", sorted({index for query in ranked for _, index, _ in query.places()}))

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
    figures: list[PageFigure] = []
    written: list[Path] = []
    with going_on_without(FIGURES_FOLDER):
        figures, written = write_figures(data, folder / FIGURES_FOLDER)
    path = folder / PAGE_NAME
    path.write_text(render_page(data, figures), "utf-8", ESCAPES)
    return [*written, path]


def render_page(data: PageData, figures: Sequence[PageFigure]) -> str:
    """Return the page as HTML; every string of the data is escaped."""
    methods = list(dict.fromkeys(method for direction in data.directions for method in direction.rankings))
    rows, shown = _embed_rows(data, methods, len(methods))
    size, max_size = len(_as_json(rows)), ROWS_SHARE * MAX_BYTES
    if size > max_size:
        rows, shown = _embed_rows(data, methods, max(1, int(len(methods) * max_size / size)))
        size = len(_as_json(rows))
    render = partial(
        render_html,
        TEMPLATES / "page.html",
        title="Evaluation results",
        origin=data.origin,
        results=data.results,
        measures=MEASURES,
        figures=figures,
        left_out=[str(methods[place]) for place in rows["left_out"]],
        script=(TEMPLATES / "page.js").read_text(encoding="utf-8"),
    )
    room = MAX_BYTES - size - len(render(embedded="").encode("utf-8", ESCAPES))
    return render(embedded=_as_json(_embed_pictures(rows, data, shown, room)))


def _embed_rows(data: PageData, methods: Sequence[Method], number: int) -> tuple[Json, _ShownTracklets]:
    """Collect the page's data for its script without pictures, and the tracklets in it.

    Args:
        data: What the page shows.
        methods: Its methods.
        number: How many of them have their rankings embedded, the first ones.
    """
    shown = _ShownTracklets(data.directions, methods[:number])
    rows = {
        "methods": [str(method) for method in methods],
        "directions": [
            {
                "title": direction.case.title,
                "rankings": {
                    place: [_row_of_query(direction.case, query, shown) for query in direction.rankings[method]]
                    for place, method in enumerate(methods[:number])
                    if method in direction.rankings
                },
            }
            for direction in data.directions
        ],
        "left_out": list(range(number, len(methods))),
        "breakdown": data.results["breakdown"],
        "tracklets": [_row_of_tracklet(tracklet) for tracklet in shown.tracklets],
    }
    return rows, shown


def _embed_pictures(rows: Json, data: PageData, shown: _ShownTracklets, room: int) -> Json:
    """Add as many pictures to the page's data as there is room for, in bytes."""
    pictures = PictureTable(room)
    tracklets = [
        [*row, pictures.add_frame(tracklet.middle_frame)]
        for row, tracklet in zip(rows["tracklets"], shown.tracklets, strict=True)
    ]
    maps = dict(_rows_of_maps(data.directions, shown, pictures))
    frames = dict(_rows_of_frames(data.directions, shown, pictures))
    height, width = THUMBNAIL_HW
    return {
        **rows,
        "tracklets": tracklets,
        "maps": maps,
        "frames": frames,
        "pictures": pictures.pictures,
        "height": height,
        "width": width,
    }


def _row_of_query(case: Case, query: RankedQuery, shown: _ShownTracklets) -> list[Any]:
    return [
        shown.query(case, query.index),
        _short(query.average_precision),
        query.first_rank if math.isfinite(query.first_rank) else None,
        [shown.gallery(case, index) for index in query.nearest],
        [_short(distance, DISTANCE_DIGITS) for distance in query.distances],
        query.late_match and [shown.gallery(case, query.late_match[0]), _short(query.late_match[1], DISTANCE_DIGITS)],
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
        paths = spread_frames(case.query[query.index], NUM_FRAMES)
        if frames := _known([pictures.add_frame(path) for path in paths]):
            yield shown.query(case, query.index), frames


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


def _short(value: float, digits: int = DIGITS) -> float:
    return float(f"{value:.{digits}g}")
