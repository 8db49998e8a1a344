"""What an evaluation leaves behind: the table, JSON, rankings, distance matrices, pictures, the submission."""

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display on a GPU box
import matplotlib.pyplot as plt
import numpy as np

from datasets import Case, Tracklet
from datasets.clips.decoding import UnreadableFrameError, decode_frame
from datasets.tracklet import AGVPREID_RANKING, VREID_XFD_RANKING
from utils.metrics import RankingResult

from .evaluate import VISUAL, CaseResult, Evaluation, Method

logger = logging.getLogger(__name__)

REPORTED_RANKS = (1, 5, 10, 20)
OUTPUTS = ("results.*", "submission*.csv", "tracklet_rankings*.csv", "distmat*.npz", "ranked_*.png")
# Of a file of rankings, by its form. AG-VPReID 2025's sample submission numbers the rows of both cases through;
# VReID-XFD names the case instead. Not stated in what we read: how VReID-XFD spells a case (here by its folder), and
# that it, too, puts spaces between gallery tracklets.
RANKING_HEADERS = {
    AGVPREID_RANKING: ("row_id", "query_tracklet", "gallery_tracklets"),
    VREID_XFD_RANKING: ("case", "query_tracklet", "ranked_gallery_tracklets"),
}
PICTURED_QUERIES = 8
PICTURED_RANKS = 8
PICTURE_SIZE = (128, 64)  # height and width, pixels


def format_table(evaluation: Evaluation) -> str:
    """The results as text: for each method one row a direction, and overall when there are several."""
    names = [f"R{rank}" for rank in REPORTED_RANKS] + ["mAP", "mINP"]
    width = max(len(str(method)) for method in evaluation.methods())
    lines = [f"{'method':<{width}}  {'direction':<17}" + "".join(f"{name:>8}" for name in names) + " queries"]
    lines.append("-" * len(lines[0]))
    for method, direction, _, ranking in _rows(evaluation):
        numbers = "".join(f"{100 * value:8.2f}" for value in _measures(ranking).values())
        lines.append(f"{method!s:<{width}}  {direction:<17}{numbers} {ranking.num_valid_queries:7d}")
    return "\n".join(lines)


def format_protocols(evaluation: Evaluation) -> str:
    """The rules behind the numbers, one protocol a line."""
    lines = [f"protocol: {protocol}" for protocol in evaluation.protocols()]
    if len(evaluation.cases) > 1:
        lines.append("overall weighs directions by their numbers of counted queries")
    return "\n".join(lines)


def to_json(evaluation: Evaluation, origin: Mapping[str, str]) -> dict:
    """The results as plain data, fractions of 1; every row says whether annotated attributes were used."""
    return {
        **origin,
        "protocols": {protocol.name: protocol.description for protocol in evaluation.protocols()},
        "identities_masked": evaluation.identities_masked,
        "results": [
            {
                "direction": direction,
                "method": str(method),
                "re_ranked": method.reranked,
                "annotated_attributes": method.annotated_attributes,
                "protocol": protocol,
                "num_valid_queries": ranking.num_valid_queries,
                "num_queries_without_match": ranking.num_unmatched,
                **_measures(ranking),
            }
            for method, direction, protocol, ranking in _rows(evaluation)
        ],
    }


def write_report(
    evaluation: Evaluation, folder: Path, ranking_length: int, origin: Mapping[str, str], pictures: bool = True
) -> list[Path]:
    """Write everything about an evaluation.

    Args:
        evaluation: What to write.
        origin: Where the numbers come from (checkpoint, data set, ...), written above them.
        folder: A single direction is written into it; several directions into a folder each, with the merged
            submission in ``folder`` itself.
        ranking_length: Gallery tracklets per query in the ranking files; 0 for all.
        pictures: Draw the best and worst ranked queries (not possible when identities are masked).
    Returns:
        The files written.
    """
    for pattern in OUTPUTS:  # of an earlier evaluation, which must not be mistaken for this one's
        for path in (*folder.glob(pattern), *folder.glob(f"case*/{pattern}")):
            path.unlink()
    written = []
    if not evaluation.identities_masked:
        header = "".join(f"{name}: {value}\n" for name, value in origin.items()) + format_protocols(evaluation)
        data = json.dumps(to_json(evaluation, origin), indent=2)
        (folder / "results.txt").write_text(f"{header}\n\n{format_table(evaluation)}\n", encoding="utf-8")
        (folder / "results.json").write_text(f"{data}\n", encoding="utf-8")
        written += [folder / "results.txt", folder / "results.json"]
    several = len(evaluation.cases) > 1
    for result in evaluation.cases:
        case_folder = folder / result.case.name if several else folder
        case_folder.mkdir(parents=True, exist_ok=True)
        written += _write_case(result, case_folder, ranking_length, pictures)
    if several:
        for method in evaluation.methods():
            ranked = evaluation.ranked_by(method)
            if len(ranked) == len(evaluation.cases):  # a challenge wants all directions
                path = folder / f"submission{method.slug}.csv"
                write_rankings(path, [(result.case, result.distmats[method]) for result in ranked], ranking_length)
                written.append(path)
    return written


def write_rankings(path: Path, rankings: Sequence[tuple[Case, np.ndarray]], length: int) -> None:
    """Write the CSV of the data set's challenge: one row per query of the directions given, gallery names nearest first
    and separated by spaces.

    Args:
        path: File to write.
        rankings: Directions of one data set, with their distances (Q, G).
        length: Gallery tracklets per query; 0 for all.
    """
    form = rankings[0][0].ranking_form
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(RANKING_HEADERS[form])
        row_id = 0
        for case, distmat in rankings:
            nearest = np.argsort(distmat, axis=1, kind="stable")[:, : length or None]
            for query, order in zip(case.query, nearest, strict=True):
                row_id += 1
                first = row_id if form == AGVPREID_RANKING else case.name
                writer.writerow((first, query.name, " ".join(case.gallery[index].name for index in order)))


def _rows(evaluation: Evaluation) -> Iterator[tuple[Method, str, str, RankingResult]]:
    """Method, direction, name of the protocol, scores."""
    for method in evaluation.methods():
        ranked = evaluation.ranked_by(method)
        for result in ranked:
            yield method, result.case.title, result.case.protocol, result.rankings[method]
        if len(ranked) == len(evaluation.cases) > 1:
            names = ", ".join(protocol.name for protocol in evaluation.protocols())
            yield method, "overall", names, evaluation.overall(method)


def _measures(ranking: RankingResult) -> dict[str, float]:
    cmc = {f"R{rank}": float(ranking.cmc[rank - 1]) for rank in REPORTED_RANKS}
    return {**cmc, "mAP": float(ranking.mAP), "mINP": float(ranking.mINP)}


def _write_case(result: CaseResult, folder: Path, ranking_length: int, pictures: bool) -> list[Path]:
    case, written = result.case, []
    for method, distmat in result.distmats.items():
        rankings = folder / f"tracklet_rankings{method.slug}.csv"
        write_rankings(rankings, [(case, distmat)], ranking_length)
        distances = folder / f"distmat{method.slug}.npz"
        np.savez_compressed(
            distances, distmat=distmat, **_identify("query", case.query), **_identify("gallery", case.gallery)
        )
        written += [rankings, distances]
    if pictures and result.rankings:
        written += draw_best_and_worst(result, folder)
    return written


def _identify(side: str, tracklets: Sequence[Tracklet]) -> dict[str, np.ndarray]:
    """What the rows or columns of a distance matrix stand for, saved beside it."""
    return {
        f"{side}_keys": np.array([tracklet.key for tracklet in tracklets]),
        f"{side}_pids": np.array([tracklet.pid for tracklet in tracklets]),
        f"{side}_camids": np.array([tracklet.camid for tracklet in tracklets]),
    }


def draw_best_and_worst(result: CaseResult, folder: Path) -> list[Path]:
    """Draw the queries with the highest and the lowest average precision of the visual ranking."""
    ranking = result.rankings[VISUAL]
    queries = np.flatnonzero(ranking.valid_queries)
    best_first = np.argsort(-ranking.average_precisions, kind="stable")
    written = []
    for name, chosen in (("best", best_first), ("worst", best_first[::-1])):
        path = folder / f"ranked_{name}.png"
        _draw_ranked_lists(result, queries[chosen[:PICTURED_QUERIES]], ranking.average_precisions[chosen], name, path)
        written.append(path)
    return written


def _draw_ranked_lists(
    result: CaseResult, queries: np.ndarray, average_precisions: np.ndarray, name: str, path: Path
) -> None:
    """One row per query: the query, then its nearest gallery tracklets, green where right and red where wrong."""
    case, distmat = result.case, result.distmats[VISUAL]
    figure, axes = plt.subplots(
        len(queries), 1 + PICTURED_RANKS, figsize=(1.3 * (1 + PICTURED_RANKS), 2.5 * len(queries)), squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for row, index in enumerate(queries):
        query = case.query[index]
        _draw_tracklet(axes[row, 0], query, f"query AP {average_precisions[row]:.2f}\n", "black")
        nearest = np.argsort(distmat[index], kind="stable")
        if result.protocol.leave_out_same_camera:
            nearest = [g for g in nearest if not _is_same_camera(query, case.gallery[g])]
        for rank, column in enumerate(nearest[:PICTURED_RANKS], start=1):
            shown = case.gallery[column]
            colour = "tab:green" if shown.pid == query.pid else "tab:red"
            _draw_tracklet(axes[row, rank], shown, f"{rank}: {distmat[index, column]:.2f}\n", colour)
    figure.suptitle(f"{case.title}: the {len(queries)} {name} ranked queries (visual only; number: distance)")
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _is_same_camera(query: Tracklet, entry: Tracklet) -> bool:
    """Left out by most protocols."""
    return query.pid == entry.pid and query.camid == entry.camid >= 0


def _draw_tracklet(axis: plt.Axes, tracklet: Tracklet, title: str, colour: str) -> None:
    try:
        frame = decode_frame(tracklet.frame_paths[len(tracklet.frame_paths) // 2], PICTURE_SIZE)
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
