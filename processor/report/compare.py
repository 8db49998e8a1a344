"""Read the results of several evaluations: their averages, and how two of them differ query by query."""

import json
import logging
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.bootstrap import compare_paired
from utils.mistake import Mistake
from utils.tables import format_table
from utils.text import read_csv, read_text

from .tables import MEASURES, measures_by_query

logger = logging.getLogger(__name__)

# Rows of two runs are averaged if they agree in these.
ROW_KEYS = ("method", "direction", "protocol")
# Entries of results.json that say how results were made; a difference is warned about.
SETTINGS = ("settings", "model", "precision")
SCORES = ("first_match_rank", "average_precision", "inverse_negative_penalty")  # columns of queries.csv
COMPARED = ("R1", "mAP", "mINP")
NUM_CHANGES = 10
Measures = dict[tuple[str, ...], dict[str, float]]  # by the values of ROW_KEYS, then by the measure


def read_results(paths: Sequence[Path]) -> list[Measures]:
    """Read the measures of each results.json, and warn of every file that was made by other settings than the first."""
    runs, settings = [], []
    for path in paths:
        text = read_text(path)
        try:
            content = json.loads(text)
            run = {
                tuple(row[key] for key in ROW_KEYS): {name: float(row[name]) for name in MEASURES}
                for row in content["results"]
            }
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


def average(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Average results.json files row by row: ``ROW_KEYS``, ``num_runs``, ``{measure}`` and ``{measure}_std``.

    Measures are fractions of 1; the standard deviation of a single run is None.
    """
    runs = read_results(paths)
    for path, run in zip(paths, runs, strict=True):
        if odd := sorted(run.keys() ^ runs[0].keys()):
            raise Mistake(f"{path} and {paths[0]} hold different rows: only one has {' | '.join(odd[0])}.")
    means = []
    for keys in runs[0]:
        row = {**dict(zip(ROW_KEYS, keys, strict=True)), "num_runs": len(runs)}
        for name in MEASURES:
            values = [run[keys][name] for run in runs]
            row[name] = statistics.fmean(values)
            row[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else None
        means.append(row)
    return means


def format_means(means: Sequence[dict[str, Any]]) -> str:
    """Lay out the rows of ``average`` as a table, in percent."""
    rows = []
    for row in means:
        cells = []
        for name in MEASURES:
            deviation = row[f"{name}_std"]
            cells.append(f"{100 * row[name]:.2f} ({'-' if deviation is None else f'{100 * deviation:.2f}'})")
        rows.append([" | ".join(row[key] for key in ROW_KEYS), *cells])
    return format_table(["mean (standard deviation)", *MEASURES], rows)


class PairedQuery(NamedTuple):
    """A query that a method ranked in two evaluations."""

    method: str  # as in the results
    direction: str
    key: str  # of its tracklet
    pid: int
    # ``SCORES`` of the two evaluations
    first: tuple[float, ...]
    second: tuple[float, ...]


def read_queries(path: Path) -> dict[tuple[str, str], dict[str, tuple[int, tuple[float, ...]]]]:
    """Read a queries.csv: pid and ``SCORES`` of each query by its key, by method and direction, in the file's order."""
    queries: dict[tuple[str, str], dict[str, tuple[int, tuple[float, ...]]]] = {}
    _, rows = read_csv(path)
    try:
        for _, row in rows:
            scores = tuple(float(row[name]) for name in SCORES)
            queries.setdefault((row["method"], row["direction"]), {})[row["key"]] = (int(row["pid"]), scores)
    except (KeyError, ValueError) as error:
        raise Mistake(f"{path} is not a queries.csv of eval_main.py: {error!r}.") from error
    return queries


def read_pairs(first: Path, second: Path) -> list[PairedQuery]:
    """Read two evaluations, folders or a file in each, and pair the queries of each method that is in both by key.

    What is in one evaluation only, and settings that differ, are warned about.
    """
    folders = [path.parent if path.is_file() else path for path in (first, second)]
    runs = read_results([folder / "results.json" for folder in folders])
    protocols = [", ".join(sorted({protocol for _, _, protocol in run})) for run in runs]
    if protocols[0] != protocols[1]:
        raise Mistake(
            f"{folders[0]} was scored by {protocols[0]}, but {folders[1]} by {protocols[1]}: evaluate both with the "
            "same TEST.PROTOCOL and DATASETS.EVAL_CASE."
        )
    one, other = (read_queries(folder / "queries.csv") for folder in folders)
    for part in sorted(one.keys() ^ other.keys()):
        logger.warning("Only %s has %s: left out.", folders[0] if part in one else folders[1], " | ".join(part))
    pairs = []
    for part in [part for part in one if part in other]:
        if odd := sorted(one[part].keys() ^ other[part].keys()):
            raise Mistake(
                f"{folders[0]} and {folders[1]} hold different queries of {' | '.join(part)}: {len(odd)} are in one "
                f"only, such as {odd[0]}. Compare evaluations of one data set."
            )
        for key, (pid, scores) in one[part].items():
            pairs.append(PairedQuery(*part, key, pid, scores, other[part][key][1]))
    if not pairs:
        raise Mistake(f"{folders[0]} and {folders[1]} have no method and direction in common.")
    return pairs


def format_differences(pairs: Sequence[PairedQuery]) -> str:
    """Lay out second minus first of each compared measure in percent, with 95 % intervals and p values over people.

    A method has a row for each direction and, if there are several, for all of them.
    """
    rows = []
    for method in dict.fromkeys(pair.method for pair in pairs):
        own = [pair for pair in pairs if pair.method == method]
        groups: dict[str, list[PairedQuery]] = {}
        for pair in own:
            groups.setdefault(pair.direction, []).append(pair)
        if len(groups) > 1:
            groups["overall"] = own
        for direction, group in groups.items():
            pids = np.array([pair.pid for pair in group])
            first = measures_by_query(*np.array([pair.first for pair in group]).T)
            second = measures_by_query(*np.array([pair.second for pair in group]).T)
            for name in COMPARED:
                result = compare_paired(first[name], second[name], pids)
                means = [f"{100 * values[name].mean():.2f}" for values in (first, second)]
                interval = f"{100 * result.low:+.2f} to {100 * result.high:+.2f}"
                change = f"{100 * result.difference:+.2f}"
                rows.append([method, direction, name, *means, change, interval, f"{result.p_value:.4f}"])
    header = ["method", "direction", "measure", "first", "second", "difference", "95 % interval", "p"]
    return format_table(header, rows, align="<<<>>>>>")


def format_changes(pairs: Sequence[PairedQuery], better: bool) -> str:
    """Lay out the queries of the first method whose average precision rose (``better``) or fell most."""
    sign = 1 if better else -1
    changes = [(sign * (pair.second[1] - pair.first[1]), pair) for pair in pairs if pair.method == pairs[0].method]
    rows = []
    for rise, pair in sorted(changes, key=lambda change: change[0], reverse=True)[:NUM_CHANGES]:
        if rise > 0:
            (first_rank, first, _), (second_rank, second, _) = pair.first, pair.second
            cells = (f"{100 * first:.2f}", f"{100 * second:.2f}", f"{first_rank:g}", f"{second_rank:g}")
            rows.append([pair.key, pair.direction, *cells])
    header = [f"{'better' if better else 'worse'} with the second", "direction"]
    return format_table([*header, "AP first", "AP second", "rank first", "rank second"], rows, align="<<>>>>")
