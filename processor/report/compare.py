"""Read the results of several evaluations: their averages, and how two of them differ query by query."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.bootstrap import compare_paired
from utils.mistake import Mistake
from utils.tables import format_table
from utils.text import read_csv, read_text

from .tables import MEASURES, SCORES, measures_by_query

logger = logging.getLogger(__name__)

ROW_KEYS = ("method", "direction", "protocol")  # rows of two runs are averaged if they agree in these
SETTINGS = ("settings", "model", "precision")  # of results.json; a difference is warned about
COMPARED = ("R1", "mAP", "mINP")
NUM_CHANGES = 10
Key = tuple[str, str, str]  # of a query in an evaluation: method, direction, key of its tracklet
Pairs = dict[Key, tuple[int, tuple[float, ...], tuple[float, ...]]]  # pid of a query, and ``SCORES`` of each evaluation


def read_results(paths: Sequence[Path]) -> list[dict[tuple[str, ...], list[float]]]:
    """Read ``MEASURES`` by ``ROW_KEYS`` of each results.json, named by itself or by its folder.

    Warns of files of other settings than the first one's.
    """
    runs, settings = [], []
    for path in [path / "results.json" if path.is_dir() else path for path in paths]:
        text = read_text(path)
        try:
            content = json.loads(text)
            rows = content["results"]
            run = {tuple(row[key] for key in ROW_KEYS): [float(row[name]) for name in MEASURES] for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise Mistake(f"{path} is not a results.json of eval_main.py: {error!r}.") from error
        if not run:
            raise Mistake(f"{path} holds no row: nothing was scored, as with masked test identities.")
        runs.append(run)
        settings.append({name: content.get(name) for name in SETTINGS})
        for name, value in settings[-1].items():
            if value != settings[0][name]:
                logger.warning("%s differ: %r in %s, %r in %s.", name, settings[0][name], paths[0], value, path)
    return runs


def format_means(paths: Sequence[Path]) -> str:
    """Average results.json files row by row, in percent, with the sample standard deviation over the files."""
    runs = read_results(paths)
    for path, run in zip(paths, runs, strict=True):
        if odd := sorted(run.keys() ^ runs[0].keys()):
            raise Mistake(f"{path} and {paths[0]} hold different rows: only one has {' | '.join(odd[0])}.")
    rows = []
    for keys in runs[0]:
        values = 100 * np.array([run[keys] for run in runs])
        deviations = (
            [f"{value:.2f}" for value in values.std(axis=0, ddof=1)] if len(runs) > 1 else ["-"] * len(MEASURES)
        )
        cells = [f"{mean:.2f} ({own})" for mean, own in zip(values.mean(axis=0), deviations, strict=True)]
        rows.append([" | ".join(keys), *cells])
    return format_table([f"mean (standard deviation) of {len(runs)} runs", *MEASURES], rows)


def read_queries(path: Path) -> dict[Key, tuple[int, tuple[float, ...]]]:
    """Read pid and ``SCORES`` of each query of a queries.csv, in the file's order."""
    _, rows = read_csv(path)
    try:
        return {
            (row["method"], row["direction"], row["key"]): (int(row["pid"]), tuple(float(row[name]) for name in SCORES))
            for _, row in rows
        }
    except (KeyError, ValueError) as error:
        raise Mistake(f"{path} is not a queries.csv of eval_main.py: {error!r}.") from error


def read_pairs(folders: Sequence[Path]) -> Pairs:
    """Read two evaluations, and pair the queries of the methods and directions that are in both.

    What is in one evaluation only, and settings that differ, are warned about.
    """
    runs = read_results(folders)
    protocols = [", ".join(sorted({protocol for _, _, protocol in run})) for run in runs]
    if protocols[0] != protocols[1]:
        raise Mistake(
            f"{folders[0]} was scored by {protocols[0]}, but {folders[1]} by {protocols[1]}: evaluate both with the "
            "same TEST.PROTOCOL and DATASETS.EVAL_CASE."
        )
    one, other = (read_queries(folder / "queries.csv") for folder in folders)
    parts, other_parts = ({key[:2] for key in queries} for queries in (one, other))
    for part in sorted(parts ^ other_parts):
        logger.warning("Only %s has %s: left out.", folders[0] if part in parts else folders[1], " | ".join(part))
    shared = parts & other_parts
    if not shared:
        raise Mistake(f"{folders[0]} and {folders[1]} have no method and direction in common.")
    if odd := sorted(key for key in one.keys() ^ other.keys() if key[:2] in shared):
        raise Mistake(
            f"{folders[0]} and {folders[1]} hold different queries: {len(odd)} are in one only, such as "
            f"{' | '.join(odd[0])}. Compare evaluations of one data set."
        )
    return {key: (*own, other[key][1]) for key, own in one.items() if key in other}


def format_differences(pairs: Pairs) -> str:
    """Lay out second minus first of each compared measure in percent, with 95 % intervals and p values over people.

    A method has a row for each direction and, if there are several, for all of them.
    """
    rows = []
    for method in dict.fromkeys(key[0] for key in pairs):
        own = {key: pair for key, pair in pairs.items() if key[0] == method}
        directions = list(dict.fromkeys(key[1] for key in own))
        for direction in [*directions, "overall"] if len(directions) > 1 else directions:
            group = [pair for key, pair in own.items() if direction in (key[1], "overall")]
            pids, first_scores, second_scores = map(np.array, zip(*group, strict=True))
            first, second = measures_by_query(*first_scores.T), measures_by_query(*second_scores.T)
            for name in COMPARED:
                result = compare_paired(first[name], second[name], pids)
                means = [f"{100 * values[name].mean():.2f}" for values in (first, second)]
                interval = f"{100 * result.low:+.2f} to {100 * result.high:+.2f}"
                change = f"{100 * result.difference:+.2f}"
                rows.append([method, direction, name, *means, change, interval, f"{result.p_value:.4f}"])
    header = ["method", "direction", "measure", "first", "second", "difference", "95 % interval", "p"]
    return format_table(header, rows, align="<<<>>>>>")


def format_changes(pairs: Pairs, better: bool) -> str:
    """Lay out the queries of the first method whose average precision rose (``better``) or fell most."""
    method, _, _ = next(iter(pairs))
    changes = [(second[0] - first[0], key, first, second) for key, (_, first, second) in pairs.items()]
    rows = []
    for change, key, first, second in sorted(changes, key=lambda change: change[0], reverse=better):
        if key[0] == method and (change > 0 if better else change < 0):
            precisions = (f"{100 * scores[0]:.2f}" for scores in (first, second))
            rows.append([key[2], key[1], *precisions, f"{first[1]:g}", f"{second[1]:g}"])
    header = [f"{'better' if better else 'worse'} with the second", "direction"]
    header += ["AP first", "AP second", "rank first", "rank second"]
    return format_table(header, rows[:NUM_CHANGES], align="<<>>>>")
