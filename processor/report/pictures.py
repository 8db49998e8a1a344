"""Pictures of rankings: the best and the worst ranked people, each beside the nearest gallery tracklets."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no display on a GPU box
import matplotlib.pyplot as plt
import numpy as np

from datasets.clips.decoding import UnreadableFrameError, decode_frame
from datasets.tracklet import Case, Tracklet

from .survey import RankedQuery, Survey

NUM_QUERIES = 8
NUM_RANKS = 8
FRAME_SIZE = (128, 64)  # height and width, pixels
MAX_NAME = 24  # characters of a tracklet's name that fit above its picture


def draw_best_and_worst(survey: Survey, folder: Path) -> list[Path]:
    """Draw the people with the highest and the lowest average precision, a query of each."""
    best_first = sorted(survey.ranked, key=lambda query: -query.average_precision)
    written = []
    for name, order in (("best", best_first), ("worst", best_first[::-1])):
        chosen = survey.one_of_each_person(order)[:NUM_QUERIES]
        path = folder / f"ranked_{name}.png"
        with mpl.rc_context({"text.parse_math": False}):  # names may hold dollar signs
            _draw_ranked_lists(survey.case, chosen, name, path)
        written.append(path)
    return written


def _draw_ranked_lists(case: Case, queries: Sequence[RankedQuery], name: str, path: Path) -> None:
    """Draw one row per query: the query, then its nearest gallery tracklets, green if right and red if wrong.

    If all of these are wrong, the last place shows the first right one instead.
    """
    figure, axes = plt.subplots(
        len(queries), 1 + NUM_RANKS, figsize=(1.3 * (1 + NUM_RANKS), 2.8 * len(queries)), squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for row, query in zip(axes, queries, strict=True):
        tracklet = case.query[query.index]
        _draw_tracklet(row[0], tracklet, f"query, AP {query.average_precision:.2f}", "black")
        places = query.places()
        is_right = np.array([case.gallery[index].pid == tracklet.pid for _, index, _ in places], dtype=bool)
        for axis, place in zip(row[1:], _places_to_show(is_right), strict=False):
            rank, index, distance = places[place]
            verdict, colour = ("right", "tab:green") if is_right[place] else ("wrong", "tab:red")
            _draw_tracklet(axis, case.gallery[index], f"{rank:g}. {verdict}, distance {distance:.2f}", colour)
    figure.suptitle(_printable(f"{case.title}: the {len(queries)} {name} ranked people, a query of each (visual only)"))
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _places_to_show(is_right: np.ndarray) -> list[int]:
    """Return the first places, counted from 0; the last of them is that of the first match if there is none before."""
    places = list(range(min(NUM_RANKS, len(is_right))))
    matches = np.flatnonzero(is_right)
    if len(matches) and matches[0] >= NUM_RANKS:
        places[-1] = int(matches[0])
    return places


def _draw_tracklet(axis: plt.Axes, tracklet: Tracklet, title: str, colour: str) -> None:
    try:
        frame = decode_frame(tracklet.middle_frame, FRAME_SIZE)
        axis.imshow(frame.permute(1, 2, 0).numpy())
    except UnreadableFrameError:  # already warned about when its feature was computed
        axis.text(0.5, 0.5, "unreadable", ha="center", fontsize=7)
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_edgecolor(colour)
        spine.set_linewidth(3)
    where = tracklet.view if tracklet.altitude is None else f"{tracklet.view}, {tracklet.altitude} m"
    caption = f"{title}\nperson {tracklet.pid}, camera {tracklet.camid}\n{where}\n{tracklet.name[:MAX_NAME]}"
    axis.set_title(_printable(caption), fontsize=6, color=colour)


def _printable(words: str) -> str:
    """Return words that can be drawn: characters that are not UTF-8 become escapes, as in the log."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")
