"""Write everything about an evaluation into its results folder."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from utils.commands import going_on_without

from ..results import CaseResult, Evaluation
from .breakdown import break_down, format_breakdown
from .page import ESCAPES, PAGE_NAME, write_page
from .page_data import MakeMaps, collect_page, map_nothing
from .pairs import format_verification, verify_evaluation
from .pictures import draw_best_and_worst
from .queries import write_queries
from .rankings import write_distances, write_rankings
from .tables import format_results, results_as_dict

WRITTEN_LIST = ".written.txt"  # what an evaluation wrote into the folder, a name a line
TEMPORARY = ".results-"  # beginning of the folder that a report is written to first


def write_report(
    evaluation: Evaluation,
    folder: Path,
    ranking_length: int,
    origin: Mapping[str, str],
    save_distances: bool = False,
    make_maps: MakeMaps = map_nothing,
) -> list[Path]:
    """Write tables, ranking files and pictures in place of those of an earlier evaluation.

    All files are written beside the earlier ones first, and moved when they are complete. Of the earlier evaluation's
    files, those that have no successor are deleted; other files in the folder stay. An error in the page, a figure or a
    picture costs that file and a warning, never the numbers.

    Args:
        evaluation: What to write. Scores and pictures are left out where identities are masked.
        folder: A single direction is written into it; several directions into a folder each, with the merged
            submission in ``folder`` itself.
        ranking_length: Gallery tracklets per query in the ranking files; 0 for all.
        origin: Where the numbers come from (checkpoint, data set, ...), written above them.
        save_distances: Whether to write all distances, too.
        make_maps: Maps some queries of a direction, for the page.
    Returns:
        The files written.
    Raises:
        OSError: If a file cannot be written; the earlier files are then still there. If one cannot be moved, the
            message says where the new ones are.
    """
    for leftover in folder.glob(f"{TEMPORARY}*"):  # of an evaluation that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=TEMPORARY))
    try:
        paths = _write_all(evaluation, temporary, ranking_length, origin, save_distances, make_maps)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    names = [str(path.relative_to(temporary)) for path in paths]
    try:
        _move(names, temporary, folder)
    except OSError as error:
        rest = temporary.rename(folder / temporary.name.lstrip("."))  # the next evaluation leaves this name alone
        raise OSError(f"{error} The results that are not in place are in {rest}.") from error
    return [folder / name for name in names]


def _move(names: list[str], source: Path, folder: Path) -> None:
    """Move files into a folder, and delete those of the evaluation before that have no successor."""
    for name in names:
        if (folder / name).is_dir():
            raise IsADirectoryError(f"{folder / name} is a folder where a file of the results belongs: move it away.")
    list_file = folder / WRITTEN_LIST
    earlier = list_file.read_text(encoding="utf-8").splitlines() if list_file.is_file() else []
    list_file.write_text("".join(f"{name}\n" for name in dict.fromkeys([*earlier, *names])), encoding="utf-8")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).replace(folder / name)
    for name in earlier:
        if name not in names:
            (folder / name).unlink(missing_ok=True)
    list_file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    shutil.rmtree(source)


def _write_all(
    evaluation: Evaluation,
    folder: Path,
    ranking_length: int,
    origin: Mapping[str, str],
    save_distances: bool,
    make_maps: MakeMaps,
) -> list[Path]:
    written, pages = [], []
    if evaluation.scored():
        header = "".join(f"{name}: {value}\n" for name, value in origin.items())
        verification = verify_evaluation(evaluation)
        text = f"{header}{format_results(evaluation)}\n\n{format_verification(verification)}\n"
        breakdown = break_down(evaluation)
        results = {**results_as_dict(evaluation, origin), "verification": verification, "breakdown": breakdown}
        (folder / "results.txt").write_text(text, "utf-8", ESCAPES)
        (folder / "results.json").write_text(f"{json.dumps(results, indent=2)}\n", encoding="utf-8")
        (folder / "breakdown.txt").write_text(f"{header}\n{format_breakdown(breakdown)}\n", "utf-8", ESCAPES)
        write_queries(folder / "queries.csv", evaluation)
        names = ("results.txt", "results.json", "queries.csv", "breakdown.txt")
        written += [folder / name for name in names]
        with going_on_without(PAGE_NAME):
            pages = write_page(collect_page(evaluation, results, origin, make_maps), folder)
    several = len(evaluation.cases) > 1
    for result in evaluation.cases:
        case_folder = folder / result.case.name if several else folder
        case_folder.mkdir(parents=True, exist_ok=True)
        written += _write_case(result, case_folder, ranking_length, save_distances)
    if several:
        written += _write_submissions(evaluation, folder, ranking_length)
    return written + pages  # the page last: it is the one to open


def _write_case(result: CaseResult, folder: Path, ranking_length: int, save_distances: bool) -> list[Path]:
    written = []
    for method, distances in result.distances.items():
        if not method.ranking.uses_pictures:  # most of its distances are equal: their order means nothing
            continue
        written.append(folder / f"tracklet_rankings{method.slug}.csv")
        write_rankings(written[-1], [(result.case, distances)], ranking_length)
        if save_distances:
            written.append(folder / f"distmat{method.slug}.npz")
            write_distances(written[-1], result.case, distances)
    if result.rankings:
        with going_on_without(f"{result.case.title}: the pictures of the best and worst ranked"):
            written += draw_best_and_worst(result, folder)
    return written


def _write_submissions(evaluation: Evaluation, folder: Path, ranking_length: int) -> list[Path]:
    """Write the rankings of all directions as one file, for each method by pictures that ranked them all."""
    written = []
    for method in evaluation.methods():
        ranked = evaluation.ranked_by(method)
        if method.ranking.uses_pictures and len(ranked) == len(evaluation.cases):  # a challenge wants all directions
            path = folder / f"submission{method.slug}.csv"
            write_rankings(path, [(result.case, result.distances[method]) for result in ranked], ranking_length)
            written.append(path)
    return written
