"""Write everything about an evaluation into its results folder."""

import json
from collections.abc import Mapping
from pathlib import Path

from ..results import CaseResult, Evaluation
from .pictures import draw_best_and_worst
from .rankings import write_distances, write_rankings
from .tables import format_results, results_as_dict

OUTPUTS = ("results.*", "submission*.csv", "tracklet_rankings*.csv", "distmat*.npz", "ranked_*.png")


def write_report(evaluation: Evaluation, folder: Path, ranking_length: int, origin: Mapping[str, str]) -> list[Path]:
    """Write tables, ranking files and pictures; files of an earlier evaluation in the folder are deleted.

    Args:
        evaluation: What to write. Scores and pictures are left out where identities are masked.
        folder: A single direction is written into it; several directions into a folder each, with the merged
            submission in ``folder`` itself.
        ranking_length: Gallery tracklets per query in the ranking files; 0 for all.
        origin: Where the numbers come from (checkpoint, data set, ...), written above them.
    Returns:
        The files written.
    """
    _delete_outputs(folder)
    written = []
    if evaluation.scored():
        header = "".join(f"{name}: {value}\n" for name, value in origin.items())
        data = json.dumps(results_as_dict(evaluation, origin), indent=2)
        (folder / "results.txt").write_text(f"{header}{format_results(evaluation)}\n", encoding="utf-8")
        (folder / "results.json").write_text(f"{data}\n", encoding="utf-8")
        written += [folder / "results.txt", folder / "results.json"]
    several = len(evaluation.cases) > 1
    for result in evaluation.cases:
        case_folder = folder / result.case.name if several else folder
        case_folder.mkdir(parents=True, exist_ok=True)
        written += _write_case(result, case_folder, ranking_length)
    if several:
        written += _write_submissions(evaluation, folder, ranking_length)
    return written


def _delete_outputs(folder: Path) -> None:
    """Delete what an earlier evaluation wrote, so that it is not mistaken for this one's."""
    for pattern in OUTPUTS:
        for path in (*folder.glob(pattern), *folder.glob(f"case*/{pattern}")):
            path.unlink()


def _write_case(result: CaseResult, folder: Path, ranking_length: int) -> list[Path]:
    written = []
    for method, distmat in result.distmats.items():
        rankings = folder / f"tracklet_rankings{method.slug}.csv"
        write_rankings(rankings, [(result.case, distmat)], ranking_length)
        distances = folder / f"distmat{method.slug}.npz"
        write_distances(distances, result.case, distmat)
        written += [rankings, distances]
    if result.rankings:
        written += draw_best_and_worst(result, folder)
    return written


def _write_submissions(evaluation: Evaluation, folder: Path, ranking_length: int) -> list[Path]:
    """Write the rankings of all directions as one file, for each method that ranked them all."""
    written = []
    for method in evaluation.methods():
        ranked = evaluation.ranked_by(method)
        if len(ranked) == len(evaluation.cases):  # a challenge wants all directions
            path = folder / f"submission{method.slug}.csv"
            write_rankings(path, [(result.case, result.distmats[method]) for result in ranked], ranking_length)
            written.append(path)
    return written
