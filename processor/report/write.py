"""Write everything about an evaluation into its results folder."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from utils.commands import going_on_without
from utils.files import replace_files
from utils.text import escape_controls, format_csv

from ..evaluation.results import VISUAL, CaseResult, Evaluation, Method
from .breakdown import format_breakdown
from .direction import RankedDirection, collect_direction
from .maps import MakeMaps
from .pictures import draw_best_and_worst
from .report_page import ESCAPES, PAGE_NAME, write_page
from .submission import ranking_file
from .tables import SCORES, Row, collect_results, format_results, format_verification

# Columns of queries.csv, and what they hold of a query.
KNOWN = {"key": "key", "pid": "person", "camid": "camera"} | {name: name for name in ("view", "altitude", "day")}


def write_report(
    evaluation: Evaluation,
    scores: Sequence[Row],
    folder: Path,
    ranking_length: int,
    origin: Mapping[str, str],
    save_distances: bool = False,
    make_maps: MakeMaps | None = None,
) -> list[Path]:
    """Write tables, ranking files and pictures in place of those of an earlier evaluation; returns them, the page last.

    An error in the page, a figure or a picture costs that file and a warning, never the numbers. ``scores`` are those
    of ``score_methods``, and ``ranking_length`` counts gallery tracklets per query in the ranking files (0: all).
    """

    def write(temporary: Path) -> list[Path]:
        several = len(evaluation.cases) > 1
        folders = {each.case.name: temporary / each.case.name if several else temporary for each in evaluation.cases}
        for own_folder in folders.values():
            own_folder.mkdir(parents=True, exist_ok=True)
        directions: list[RankedDirection] = []
        for method in evaluation.methods():
            directions += _write_rankings(evaluation, method, temporary, folders, ranking_length)
            for result in evaluation.ranked_by(method) if save_distances and method.uses_pictures else ():
                _write_distances(result, method, folders[result.case.name])
        maps = {}
        for direction in directions:
            if direction.method == VISUAL:
                with going_on_without(f"{direction.case.title}: the pictures of the best and worst ranked"):
                    draw_best_and_worst(direction, folders[direction.case.name])
                with going_on_without(f"{direction.case.title}: the maps of queries"):
                    maps[direction.case.name] = make_maps(direction) if make_maps else {}
        if directions:
            results = collect_results(evaluation, origin, scores, directions)
            _write_tables(evaluation, results, origin, temporary)
            with going_on_without(PAGE_NAME):
                write_page(directions, maps, results, origin, temporary)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        return sorted(files, key=lambda path: path.name == PAGE_NAME)

    return replace_files(folder, write)


def _write_rankings(
    evaluation: Evaluation, method: Method, folder: Path, folders: Mapping[str, Path], length: int
) -> list[RankedDirection]:
    """Write a method's rankings, each by itself and together; returns what the report shows of those with scores."""
    results = evaluation.ranked_by(method)
    listed = method.uses_pictures  # otherwise most distances are equal: their order means nothing
    directions = []
    with ExitStack() as stack:
        shared = []
        if listed and 1 < len(results) == len(evaluation.cases):  # a challenge wants all directions
            path = folder / f"submission{method.slug}.csv"
            shared.append(stack.enter_context(ranking_file(path, results[0].case.ranking_form)))
        for result in results:
            files = list(shared)
            if listed:
                path = folders[result.case.name] / f"tracklet_rankings{method.slug}.csv"
                files.append(stack.enter_context(ranking_file(path, result.case.ranking_form)))
            if direction := collect_direction(result, method, files, length):
                directions.append(direction)
    return directions


def _write_distances(result: CaseResult, method: Method, folder: Path) -> None:
    """Write all distances, (Q, G), as .npz, with key, pid and camid of every row (query) and column (gallery)."""
    arrays: dict[str, Any] = {"distmat": result.distances[method].matrix().numpy()}
    for side, tracklets in (("query", result.case.query), ("gallery", result.case.gallery)):
        for name in ("key", "pid", "camid", "name"):
            arrays[f"{side}_{name}s"] = np.array([getattr(tracklet, name) for tracklet in tracklets])
    np.savez_compressed(folder / f"distmat{method.slug}.npz", **arrays)


def _write_tables(evaluation: Evaluation, results: Row, origin: Mapping[str, str], folder: Path) -> None:
    """Write what results.json holds as data and as text."""
    header = "".join(f"{name}: {value}\n" for name, value in origin.items())
    tables = f"{format_results(evaluation, results['results'])}\n\n{format_verification(results['verification'])}\n"
    texts = {
        "results.txt": header + tables,
        "results.json": f"{json.dumps(results, indent=2)}\n",
        "breakdown.txt": f"{header}\n{format_breakdown(results['breakdown'])}\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(escape_controls(text, kept="\n"), "utf-8", ESCAPES)
    write_queries(folder / "queries.csv", evaluation)


def write_queries(path: Path, evaluation: Evaluation) -> None:
    """Write a row for each method and counted query: numbers with all digits, and an empty cell for what is unknown."""
    rows: list[Sequence[object]] = [("method", "direction", *KNOWN, "num_frames", *SCORES)]
    for method, result, ranking in evaluation.scored_rankings():
        scores = np.stack([ranking.average_precisions, ranking.first_ranks, ranking.inverse_penalties], axis=1)
        for query, values in zip(result.valid_queries(method), scores.tolist(), strict=True):
            known = (getattr(query, name) for name in KNOWN.values())
            rows.append((method, result.case.title, *known, len(query.frame_paths), *values))
    path.write_text(format_csv(rows), "utf-8", ESCAPES)
