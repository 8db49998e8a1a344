"""Write everything about an evaluation into its results folder."""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from utils.commands import going_on_without
from utils.mistake import Mistake

from ..evaluation.results import VISUAL, Evaluation, Method
from .breakdown import break_down, format_breakdown
from .direction import RankedDirection, collect_direction
from .files import RankingFile, write_distances, write_queries
from .maps import QueryMaps
from .pictures import draw_best_and_worst
from .report_page import ESCAPES, PAGE_NAME, write_page
from .tables import collect_results, format_results, format_verification, score_methods, verify_pairs

logger = logging.getLogger(__name__)

WRITTEN_LIST = ".written.txt"  # what an evaluation wrote into the folder, a name a line
TEMPORARY = ".results-"  # beginning of the folder that a report is written to first
MakeMaps = Callable[[RankedDirection], dict[int, QueryMaps]]  # maps some queries, by their index


def write_report(
    evaluation: Evaluation,
    folder: Path,
    ranking_length: int,
    provenance: Mapping[str, str],
    save_distances: bool = False,
    make_maps: MakeMaps | None = None,
) -> list[Path]:
    """Write tables, ranking files and pictures in place of those of an earlier evaluation, and log the scores.

    All files are written beside the earlier ones first, and moved when they are complete. An error in the page, a
    figure or a picture costs that file and a warning, never the numbers.

    Args:
        evaluation: What to write. Scores and pictures are left out where identities are masked.
        folder: It exists. A single direction is written into it; several directions into a folder each, with the
            merged submission in ``folder`` itself. Files that no evaluation wrote stay.
        ranking_length: Gallery tracklets per query in the ranking files; 0 for all.
        provenance: Where the numbers come from (checkpoint, data set, ...), written above them.
        save_distances: Whether to write all distances, too.
        make_maps: Maps some queries of a direction, for the page; None for no maps.
    Returns:
        The files written, the page last.
    Raises:
        OSError: If a file cannot be written; the earlier files are then still there.
        Mistake: If one cannot be moved; the message says where the new ones are.
    """
    for leftover in folder.glob(f"{TEMPORARY}*"):  # of an evaluation that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=TEMPORARY))
    try:
        written, directions = _write_directions(evaluation, temporary, ranking_length, save_distances)
        if directions:
            written += _write_scores(evaluation, directions, temporary, provenance, make_maps)
        else:
            logger.warning(
                "The test identities are masked (the challenge's copy): scores would mean nothing and are left out. "
                "The submission is written; the challenge's server scores it."
            )
        names = [str(path.relative_to(temporary)) for path in written]
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    try:
        _move(names, temporary, folder)
    except (OSError, Mistake) as error:
        rest = temporary.rename(folder / temporary.name.lstrip("."))  # the next evaluation leaves this name alone
        raise Mistake(f"{error} The results that are not in place are in {rest}.") from error
    return [folder / name for name in names]


def _write_directions(
    evaluation: Evaluation, folder: Path, ranking_length: int, save_distances: bool
) -> tuple[list[Path], list[RankedDirection]]:
    """Write rankings and distances of every direction by every method; returns the files and what is shown of them."""
    several = len(evaluation.cases) > 1
    folders = {result.case.name: folder / result.case.name if several else folder for result in evaluation.cases}
    written: list[Path] = []
    directions: list[RankedDirection] = []
    for own_folder in folders.values():
        own_folder.mkdir(parents=True, exist_ok=True)
    for method in evaluation.methods():
        own_written, own_directions = _write_rankings(evaluation, method, folder, folders, ranking_length)
        written += own_written
        directions += own_directions
        for result in evaluation.ranked_by(method):
            if save_distances and method.ranking.uses_pictures:
                written.append(folders[result.case.name] / f"distmat{method.slug}.npz")
                write_distances(written[-1], result.case, result.distances[method])
    for direction in directions:
        if direction.method == VISUAL:
            with going_on_without(f"{direction.case.title}: the pictures of the best and worst ranked"):
                written += draw_best_and_worst(direction, folders[direction.case.name])
    return written, directions


def _write_rankings(
    evaluation: Evaluation, method: Method, folder: Path, folders: Mapping[str, Path], ranking_length: int
) -> tuple[list[Path], list[RankedDirection]]:
    """Write the rankings of all directions by a method, each by itself and together."""
    results = evaluation.ranked_by(method)
    listed = method.ranking.uses_pictures  # otherwise most distances are equal: their order means nothing
    directions, written = [], []
    with ExitStack() as stack:

        def open_file(path: Path, form: str) -> RankingFile:
            written.append(path)
            return stack.enter_context(RankingFile(path, form))

        shared = []
        if listed and 1 < len(results) == len(evaluation.cases):  # a challenge wants all directions
            shared.append(open_file(folder / f"submission{method.slug}.csv", results[0].case.ranking_form))
        for result in results:
            files, case = list(shared), result.case
            if listed:
                name = f"tracklet_rankings{method.slug}.csv"
                files.append(open_file(folders[case.name] / name, case.ranking_form))
            if direction := collect_direction(result, method, files, ranking_length):
                directions.append(direction)
    return written, directions


def _write_scores(
    evaluation: Evaluation,
    directions: Sequence[RankedDirection],
    folder: Path,
    provenance: Mapping[str, str],
    make_maps: MakeMaps | None,
) -> list[Path]:
    """Write tables, queries and, last, the page: it is the one to open."""
    header = "".join(f"{name}: {value}\n" for name, value in provenance.items())
    scores, verification, breakdown = score_methods(evaluation), verify_pairs(directions), break_down(evaluation)
    table = format_results(evaluation, scores)
    results = {**collect_results(evaluation, provenance, scores, verification), "breakdown": breakdown}
    texts = {
        "results.txt": f"{header}{table}\n\n{format_verification(verification)}\n",
        "results.json": f"{json.dumps(results, indent=2)}\n",
        "breakdown.txt": f"{header}\n{format_breakdown(breakdown)}\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8", ESCAPES)
    write_queries(folder / "queries.csv", evaluation)
    written = [folder / name for name in ("results.txt", "results.json", "queries.csv", "breakdown.txt")]
    with going_on_without(PAGE_NAME):
        maps = _map_queries(directions, make_maps) if make_maps else {}
        written += write_page(directions, results, provenance, maps, folder)
    logger.info("results\n%s", table)
    return written


def _map_queries(directions: Sequence[RankedDirection], make_maps: MakeMaps) -> dict[str, dict[int, QueryMaps]]:
    """Map queries of the visual ranking of every direction; returns them by the case's name."""
    maps = {}
    for direction in directions:
        if direction.method == VISUAL:
            with going_on_without(f"{direction.case.title}: the maps of queries"):
                maps[direction.case.name] = make_maps(direction)
    return maps


def _move(names: list[str], source: Path, folder: Path) -> None:
    """Move files into a folder, and delete those of the evaluation before that have no successor."""
    for name in names:
        if (folder / name).is_dir():
            raise Mistake(f"{folder / name} is a folder where a file of the results belongs: move it away.")
    list_file = folder / WRITTEN_LIST
    earlier = list_file.read_text("utf-8", "surrogateescape").splitlines() if list_file.is_file() else []
    list_file.write_text("".join(f"{name}\n" for name in dict.fromkeys([*earlier, *names])), "utf-8", "surrogateescape")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).replace(folder / name)
    for name in earlier:
        if name not in names:
            (folder / name).unlink(missing_ok=True)
    list_file.write_text("".join(f"{name}\n" for name in names), "utf-8", "surrogateescape")
    shutil.rmtree(source)
