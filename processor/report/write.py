"""Write everything about an evaluation into its results folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from utils.commands import going_on_without
from utils.files import replace_files

from ..evaluation.results import VISUAL, Evaluation, Method
from .breakdown import break_down, format_breakdown
from .direction import QueryMaps, RankedDirection, collect_direction
from .files import RankingFile, write_distances, write_queries
from .pictures import draw_best_and_worst
from .report_page import ESCAPES, PAGE_NAME, write_page
from .tables import Row, collect_results, format_results, format_verification, verify_pairs

MakeMaps = Callable[[RankedDirection], dict[int, QueryMaps]]  # maps some queries, by their index


def write_report(
    evaluation: Evaluation,
    scores: Sequence[Row],
    folder: Path,
    ranking_length: int,
    provenance: Mapping[str, str],
    save_distances: bool = False,
    make_maps: MakeMaps | None = None,
) -> list[Path]:
    """Write tables, ranking files and pictures in place of those of an earlier evaluation (``replace_files``).

    An error in the page, a figure or a picture costs that file and a warning, never the numbers.

    Args:
        evaluation: What to write. Pictures are left out where identities are masked.
        scores: Its ``score_methods``.
        folder: It exists. A single direction is written into it; several directions into a folder each, with the
            merged submission in ``folder`` itself.
        ranking_length: Gallery tracklets per query in the ranking files; 0 for all.
        provenance: Where the numbers come from (checkpoint, data set, ...), written above them.
        save_distances: Whether to write all distances, too.
        make_maps: Maps some queries of a direction, for the page; None for no maps.
    Returns:
        The files written, the page last: it is the one to open.
    """

    def write(temporary: Path) -> list[Path]:
        directions = _write_directions(evaluation, temporary, ranking_length, save_distances)
        if directions:
            _write_scores(evaluation, scores, directions, temporary, provenance, make_maps)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        return sorted(files, key=lambda path: path.name == PAGE_NAME)

    return replace_files(folder, write)


def _write_directions(
    evaluation: Evaluation, folder: Path, ranking_length: int, save_distances: bool
) -> list[RankedDirection]:
    """Write rankings and distances of every direction by every method; returns what the report shows of them."""
    several = len(evaluation.cases) > 1
    folders = {result.case.name: folder / result.case.name if several else folder for result in evaluation.cases}
    directions: list[RankedDirection] = []
    for own_folder in folders.values():
        own_folder.mkdir(parents=True, exist_ok=True)
    for method in evaluation.methods():
        directions += _write_rankings(evaluation, method, folder, folders, ranking_length)
        for result in evaluation.ranked_by(method):
            if save_distances and method.ranking.uses_pictures:
                path = folders[result.case.name] / f"distmat{method.slug}.npz"
                write_distances(path, result.case, result.distances[method])
    for direction in directions:
        if direction.method == VISUAL:
            with going_on_without(f"{direction.case.title}: the pictures of the best and worst ranked"):
                draw_best_and_worst(direction, folders[direction.case.name])
    return directions


def _write_rankings(
    evaluation: Evaluation, method: Method, folder: Path, folders: Mapping[str, Path], ranking_length: int
) -> list[RankedDirection]:
    """Write the rankings of all directions by a method, each by itself and together."""
    results = evaluation.ranked_by(method)
    listed = method.ranking.uses_pictures  # otherwise most distances are equal: their order means nothing
    directions = []
    with ExitStack() as stack:
        shared = []
        if listed and 1 < len(results) == len(evaluation.cases):  # a challenge wants all directions
            path = folder / f"submission{method.slug}.csv"
            shared.append(stack.enter_context(RankingFile(path, results[0].case.ranking_form)))
        for result in results:
            files = list(shared)
            if listed:
                path = folders[result.case.name] / f"tracklet_rankings{method.slug}.csv"
                files.append(stack.enter_context(RankingFile(path, result.case.ranking_form)))
            if direction := collect_direction(result, method, files, ranking_length):
                directions.append(direction)
    return directions


def _write_scores(
    evaluation: Evaluation,
    scores: Sequence[Row],
    directions: Sequence[RankedDirection],
    folder: Path,
    provenance: Mapping[str, str],
    make_maps: MakeMaps | None,
) -> None:
    """Write tables, queries and the page."""
    header = "".join(f"{name}: {value}\n" for name, value in provenance.items())
    verification, breakdown = verify_pairs(directions), break_down(evaluation)
    results = {**collect_results(evaluation, provenance, scores, verification), "breakdown": breakdown}
    texts = {
        "results.txt": f"{header}{format_results(evaluation, scores)}\n\n{format_verification(verification)}\n",
        "results.json": f"{json.dumps(results, indent=2)}\n",
        "breakdown.txt": f"{header}\n{format_breakdown(breakdown)}\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8", ESCAPES)
    write_queries(folder / "queries.csv", evaluation)
    with going_on_without(PAGE_NAME):
        write_page([_add_maps(each, make_maps) for each in directions], results, provenance, folder)


def _add_maps(direction: RankedDirection, make_maps: MakeMaps | None) -> RankedDirection:
    """Map some queries of a visual ranking."""
    if make_maps and direction.method == VISUAL:
        with going_on_without(f"{direction.case.title}: the maps of queries"):
            return replace(direction, maps=make_maps(direction))
    return direction
