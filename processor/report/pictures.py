"""Pictures of rankings: the best and the worst ranked queries, each beside its nearest gallery tracklets."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display on a GPU box
import matplotlib.pyplot as plt
import numpy as np

from datasets import Tracklet
from datasets.clips.decoding import UnreadableFrameError, decode_frame

from ..results import VISUAL, CaseResult

NUM_QUERIES = 8
NUM_RANKS = 8
FRAME_SIZE = (128, 64)  # height and width, pixels


def draw_best_and_worst(result: CaseResult, folder: Path) -> list[Path]:
    """Draw the queries with the highest and the lowest average precision of the visual ranking."""
    ranking = result.rankings[VISUAL]
    queries = np.flatnonzero(ranking.valid_queries)
    best_first = np.argsort(-ranking.average_precisions, kind="stable")
    written = []
    for name, chosen in (("best", best_first), ("worst", best_first[::-1])):
        path = folder / f"ranked_{name}.png"
        _draw_ranked_lists(result, queries[chosen[:NUM_QUERIES]], ranking.average_precisions[chosen], name, path)
        written.append(path)
    return written


def _draw_ranked_lists(
    result: CaseResult, queries: np.ndarray, average_precisions: np.ndarray, name: str, path: Path
) -> None:
    """Draw one row per query: the query, then its nearest gallery tracklets, green if right and red if wrong."""
    case, distmat = result.case, result.distmats[VISUAL]
    g_pids = np.array([tracklet.pid for tracklet in case.gallery])
    g_camids = np.array([tracklet.camid for tracklet in case.gallery])
    figure, axes = plt.subplots(
        len(queries), 1 + NUM_RANKS, figsize=(1.3 * (1 + NUM_RANKS), 2.5 * len(queries)), squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for row, index in enumerate(queries):
        query = case.query[index]
        _draw_tracklet(axes[row, 0], query, f"query AP {average_precisions[row]:.2f}\n", "black")
        nearest = np.argsort(distmat[index], kind="stable")
        left_out = result.protocol.leaves_out(query.pid, query.camid, g_pids[nearest], g_camids[nearest])
        for rank, column in enumerate(nearest[~left_out][:NUM_RANKS], start=1):
            shown = case.gallery[column]
            colour = "tab:green" if shown.pid == query.pid else "tab:red"
            _draw_tracklet(axes[row, rank], shown, f"{rank}: {distmat[index, column]:.2f}\n", colour)
    figure.suptitle(f"{case.title}: the {len(queries)} {name} ranked queries (visual only; number: distance)")
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _draw_tracklet(axis: plt.Axes, tracklet: Tracklet, title: str, colour: str) -> None:
    try:
        frame = decode_frame(tracklet.frame_paths[len(tracklet.frame_paths) // 2], FRAME_SIZE)
        axis.imshow(frame.permute(1, 2, 0).numpy())
    except UnreadableFrameError:  # already warned about when its feature was computed
        axis.text(0.5, 0.5, "unreadable", ha="center", fontsize=7)
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_edgecolor(colour)
        spine.set_linewidth(3)
    axis.set_title(f"{title}{tracklet.pid} C{tracklet.camid}", fontsize=7, color=colour)
