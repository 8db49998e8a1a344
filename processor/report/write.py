"""Write everything about an evaluation into its results folder."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from utils.commands import going_on_without
from utils.files import replace_files

from ..evaluation.results import VISUAL, Evaluation, Method
from .breakdown import break_down, format_breakdown
from .page import ESCAPES, PAGE_NAME, write_page
from .page_data import MakeMaps, collect_page, map_nothing
from .pairs import describe_verification, format_verification
from .pictures import draw_best_and_worst
from .queries import write_queries
from .rankings import RankingFile, add_ranking, write_distances
from .survey import Survey, survey_distances
from .tables import format_results, results_as_dict


def write_report(
    evaluation: Evaluation,
    folder: Path,
    ranking_length: int,
    origin: Mapping[str, str],
    save_distances: bool = False,
    make_maps: MakeMaps = map_nothing,
) -> list[Path]:
    """Write tables, ranking files and pictures in place of those of an earlier evaluation.

    All files are written beside the earlier ones first, and moved when they are complete (``replace_files``). An error
    in the page, a figure or a picture costs that file and a warning, never the numbers.

    Args:
        evaluation: What to write. Scores and pictures are left out where identities are masked.
        folder: A single direction is written into it; several directions into a folder each, with the merged
            submission in ``folder`` itself.
        ranking_length: Gallery tracklets per query in the ranking files; 0 for all.
        origin: Where the numbers come from (checkpoint, data set, ...), written above them.
        save_distances: Whether to write all distances, too.
        make_maps: Maps some queries of a direction, for the page.
    Returns:
        The files written, the page last.
    Raises:
        OSError: As in ``replace_files``.
    """
    write = partial(_write_all, evaluation, ranking_length, origin, save_distances, make_maps)
    return replace_files(folder, write)


def _write_all(
    evaluation: Evaluation,
    ranking_length: int,
    origin: Mapping[str, str],
    save_distances: bool,
    make_maps: MakeMaps,
    folder: Path,
) -> list[Path]:
    """Write the files into an empty folder; arguments as in ``write_report``."""
    several = len(evaluation.cases) > 1
    folders = {result.case.name: folder / result.case.name if several else folder for result in evaluation.cases}
    for own_folder in folders.values():
        own_folder.mkdir(parents=True, exist_ok=True)
    surveys: list[Survey] = []
    written: list[Path] = []
    for method in evaluation.methods():
        own_surveys, rankings = _survey_method(evaluation, method, folder, folders, ranking_length)
        surveys += own_surveys
        written += rankings
    if save_distances:
        written += _write_distances(evaluation, folders)
    for survey in surveys:
        if survey.method == VISUAL:
            with going_on_without(f"{survey.case.title}: the pictures of the best and worst ranked"):
                written += draw_best_and_worst(survey, folders[survey.case.name])
    if surveys:
        written += _write_scores(evaluation, surveys, folder, origin, make_maps)
    return written


def _survey_method(
    evaluation: Evaluation, method: Method, folder: Path, folders: Mapping[str, Path], ranking_length: int
) -> tuple[list[Survey], list[Path]]:
    """Survey the scored directions by a method and write the rankings of all, each by itself and together."""
    results = evaluation.ranked_by(method)
    listed = method.ranking.uses_pictures  # otherwise most distances are equal: their order means nothing
    surveys, written = [], []
    with ExitStack() as stack:
        shared = []
        if listed and 1 < len(results) == len(evaluation.cases):  # a challenge wants all directions
            written.append(folder / f"submission{method.slug}.csv")
            shared.append(stack.enter_context(RankingFile(written[-1], results[0].case.ranking_form)))
        for result in results:
            files = list(shared)
            if listed:
                written.append(folders[result.case.name] / f"tracklet_rankings{method.slug}.csv")
                files.append(stack.enter_context(RankingFile(written[-1], result.case.ranking_form)))
            if result.rankings:
                surveys.append(survey_distances(result, method, files, ranking_length))
            else:
                for query, row in zip(result.case.query, result.distances[method].iterate_rows(), strict=True):
                    add_ranking(files, result.case, query, row, ranking_length)
    return surveys, written


def _write_distances(evaluation: Evaluation, folders: Mapping[str, Path]) -> list[Path]:
    written = []
    for result in evaluation.cases:
        for method, distances in result.distances.items():
            if method.ranking.uses_pictures:
                written.append(folders[result.case.name] / f"distmat{method.slug}.npz")
                write_distances(written[-1], result.case, distances)
    return written


def _write_scores(
    evaluation: Evaluation, surveys: Sequence[Survey], folder: Path, origin: Mapping[str, str], make_maps: MakeMaps
) -> list[Path]:
    """Write tables, queries and, last, the page: it is the one to open."""
    header = "".join(f"{name}: {value}\n" for name, value in origin.items())
    verification, breakdown = describe_verification(surveys), break_down(evaluation)
    text = f"{header}{format_results(evaluation)}\n\n{format_verification(verification)}\n"
    results = {**results_as_dict(evaluation, origin), "verification": verification, "breakdown": breakdown}
    (folder / "results.txt").write_text(text, "utf-8", ESCAPES)
    (folder / "results.json").write_text(f"{json.dumps(results, indent=2)}\n", encoding="utf-8")
    (folder / "breakdown.txt").write_text(f"{header}\n{format_breakdown(breakdown)}\n", "utf-8", ESCAPES)
    write_queries(folder / "queries.csv", evaluation)
    written = [folder / name for name in ("results.txt", "results.json", "queries.csv", "breakdown.txt")]
    with going_on_without(PAGE_NAME):
        written += write_page(collect_page(evaluation, surveys, results, origin, make_maps), folder)
    return written
