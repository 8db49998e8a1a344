"""Draw the best and the worst ranked people, each beside the nearest gallery tracklets."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from datasets.clips.decoding import decode_frame
from datasets.problems import printable
from datasets.tracklet import Tracklet
from utils.pictures import UnreadableFrameError
from utils.text import percent
from utils.unknown import UNKNOWN

from .direction import NUM_NEAREST, RankedDirection

NUM_QUERIES = 8
FRAME_HW = (128, 64)  # pixels
MAX_NAME = 24  # characters of a name that fit above a picture


def draw_best_and_worst(direction: RankedDirection, folder: Path) -> None:
    """Draw the people with the highest and the lowest average precision, a query of each in a row."""
    case = direction.case
    for name in ("best", "worst"):
        queries = direction.hardest_people(NUM_QUERIES, reverse=name == "best")
        num_columns = 1 + NUM_NEAREST + 1
        figure = Figure(figsize=(1.3 * num_columns, 2.8 * len(queries)), layout="constrained")
        empty: dict[str, object] = {"frame_on": False, "xticks": [], "yticks": []}
        grid = figure.subplots(len(queries), num_columns, squeeze=False, subplot_kw=empty)
        with mpl.rc_context({"text.parse_math": False}):  # names may hold dollar signs
            for row, query in zip(grid, queries, strict=True):
                asked = case.query[query.index]
                _draw_tracklet(row[0], asked, f"query, AP {percent(query.average_precision)}", "black")
                for axis, (rank, index, distance) in zip(row[1:], query.places, strict=False):
                    other = case.gallery[index]
                    verdict, colour = ("right", "tab:green") if other.pid == asked.pid else ("wrong", "tab:red")
                    _draw_tracklet(axis, other, f"{rank:g}. {verdict}, distance {distance:.3f}", colour)
            figure.suptitle(printable(f"{case.title}: the {name} ranked people, a query of each (visual only)"))
            figure.savefig(folder / f"ranked_{name}.png", dpi=80)


def _draw_tracklet(axis: Axes, tracklet: Tracklet, title: str, colour: str) -> None:
    try:
        axis.imshow(decode_frame(tracklet.middle_frame, FRAME_HW).permute(1, 2, 0).numpy())
    except UnreadableFrameError:  # already warned about when its feature was computed
        axis.text(0.5, 0.5, "unreadable", ha="center", fontsize=7)
    axis.set_frame_on(True)
    for spine in axis.spines.values():
        spine.set(edgecolor=colour, linewidth=3)
    names = f"person {tracklet.person}", describe_camera(tracklet), describe_view(tracklet), tracklet.name
    axis.set_title("\n".join((title, *(printable(name[:MAX_NAME]) for name in names))), fontsize=6, color=colour)


def describe_camera(tracklet: Tracklet) -> str:
    return "unknown camera" if tracklet.camid == UNKNOWN else f"camera {tracklet.camera}"


def describe_view(tracklet: Tracklet) -> str:
    """Return the view of a tracklet with its altitude, if that is known."""
    return tracklet.view if tracklet.altitude is None else f"{tracklet.view}, {tracklet.altitude} m"
