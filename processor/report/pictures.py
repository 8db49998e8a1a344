"""Pictures of rankings: the best and the worst ranked people, each beside the nearest gallery tracklets."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no display on a GPU box
import matplotlib.pyplot as plt
import numpy as np

from datasets import Tracklet
from datasets.clips.decoding import UnreadableFrameError, decode_frame

from ..results import VISUAL, CaseResult

NUM_QUERIES = 8
NUM_RANKS = 8
FRAME_SIZE = (128, 64)  # height and width, pixels
MAX_NAME = 24  # characters of a tracklet's name that fit above its picture


def draw_best_and_worst(result: CaseResult, folder: Path) -> list[Path]:
    """Draw the people with the highest and the lowest average precision of the visual ranking, a query of each."""
    ranking = result.rankings[VISUAL]
    queries = np.flatnonzero(ranking.valid_queries)
    best_first = np.argsort(-ranking.average_precisions, kind="stable")
    written = []
    for name, order in (("best", best_first), ("worst", best_first[::-1])):
        pids = [result.case.query[queries[place]].pid for place in order]
        chosen = order[[pids.index(pid) for pid in dict.fromkeys(pids)][:NUM_QUERIES]]  # the first query of each person
        path = folder / f"ranked_{name}.png"
        with mpl.rc_context({"text.parse_math": False}):  # names may hold dollar signs
            _draw_ranked_lists(result, queries[chosen], ranking.average_precisions[chosen], name, path)
        written.append(path)
    return written


def _draw_ranked_lists(
    result: CaseResult, queries: np.ndarray, average_precisions: np.ndarray, name: str, path: Path
) -> None:
    """Draw one row per query: the query, then its nearest gallery tracklets, green if right and red if wrong.

    If all of these are wrong, the last place shows the first right one instead.
    """
    case = result.case
    g_pids = result.gallery_pids
    figure, axes = plt.subplots(
        len(queries), 1 + NUM_RANKS, figsize=(1.3 * (1 + NUM_RANKS), 2.8 * len(queries)), squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for row, index in enumerate(queries):
        query = case.query[index]
        _draw_tracklet(axes[row, 0], query, f"query, AP {average_precisions[row]:.2f}", "black")
        distances = result.distances[VISUAL].row(index).numpy()
        nearest = np.argsort(distances, kind="stable")
        ranked = nearest[result.kept(index)[nearest]]
        for place, rank in enumerate(_ranks_to_show(g_pids[ranked] == query.pid), start=1):
            column = ranked[rank]
            is_right = g_pids[column] == query.pid
            title = f"{rank + 1}. {'right' if is_right else 'wrong'}, distance {distances[column]:.2f}"
            _draw_tracklet(axes[row, place], case.gallery[column], title, "tab:green" if is_right else "tab:red")
    figure.suptitle(_printable(f"{case.title}: the {len(queries)} {name} ranked people, a query of each (visual only)"))
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _ranks_to_show(is_match: np.ndarray) -> list[int]:
    """Return the first ranks, counted from 0; the last of them is that of the first match if there is none before."""
    ranks = list(range(min(NUM_RANKS, len(is_match))))
    matches = np.flatnonzero(is_match)
    if len(matches) and matches[0] >= NUM_RANKS:
        ranks[-1] = int(matches[0])
    return ranks


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
