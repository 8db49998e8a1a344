"""Read the results of several evaluations: their averages, and how two of them differ query by query."""

import csv
import io
import json
import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.bootstrap import compare_paired
from utils.mistake import MissingFile, Mistake
from utils.tables import format_table
from utils.text import read_text

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
        if not path.is_file():
            raise MissingFile(f"{path} is not a file: eval_main.py writes results.json to its results folder.")
        try:
            content = json.loads(read_text(path))
            run = {
                tuple(row[key] for key in ROW_KEYS): {name: float(row[name]) for name in MEASURES}
                for row in content["results"]
            }
        except (ValueError, KeyError, TypeError) as error:
            raise Mistake(f"{path} is not a results.json of eval_main.py: {error!r}.") from error
        if not run:
            raise Mistake(f"{path} holds no row: nothing was scored, as with masked test identities.")
        for keys, measures in run.items():
            for name, value in measures.items():
                if not math.isfinite(value):
                    raise Mistake(f"{path}: {name} of {' | '.join(keys)} is {value}, not a number.")
        runs.append(run)
        settings.append({name: content.get(name) for name in SETTINGS})
    for path, own in zip(paths, settings, strict=True):
        for name in SETTINGS:
            if own[name] != settings[0][name]:
                logger.warning("%s differ: %r in %s, %r in %s.", name, settings[0][name], paths[0], own[name], path)
    return runs


def average(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Average results.json files row by row: ``ROW_KEYS``, ``num_runs``, ``{measure}`` and ``{measure}_std``.

    Measures are fractions of 1; the standard deviation of a single run is None.
    """
    runs = read_results(paths)
    means = []
    for path, run in zip(paths, runs, strict=True):
        if odd := sorted(run.keys() ^ runs[0].keys()):
            raise Mistake(f"{path} and {paths[0]} hold different rows: only one has {' | '.join(odd[0])}.")
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
        deviations = {name: row[f"{name}_std"] for name in MEASURES}
        cells = [
            f"{100 * row[name]:.2f} ({'-' if deviation is None else f'{100 * deviation:.2f}'})"
            for name, deviation in deviations.items()
        ]
        rows.append([" | ".join(row[key] for key in ROW_KEYS), *cells])
    return format_table(["mean (standard deviation)", *MEASURES], rows)


@dataclass(frozen=True, eq=False)
class PairedQueries:
    """The queries that a method ranked in two evaluations."""

    method: str  # as in the results
    directions: list[str]  # direction of each query, V of them
    keys: list[str]  # key of each query's tracklet, likewise
    pids: np.ndarray  # identities, (V,)
    # ``SCORES`` of the two evaluations, (3, V)
    first: np.ndarray
    second: np.ndarray


def read_queries(path: Path) -> dict[tuple[str, str], dict[str, tuple[int, list[float]]]]:
    """Read a queries.csv: pid and ``SCORES`` of each query by its key, by method and direction, in the file's order."""
    queries: dict[tuple[str, str], dict[str, tuple[int, list[float]]]] = {}
    try:
        for row in csv.DictReader(io.StringIO(read_text(path), newline="")):
            method, direction, key = row["method"], row["direction"], row["key"]
            own = queries.setdefault((method, direction), {})
            if key in own:
                raise Mistake(f"{path} holds the query {key} of {method}, {direction} twice.")
            own[key] = (int(row["pid"]), [float(row[name]) for name in SCORES])
    except Mistake:
        raise
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise Mistake(f"{path} is not a queries.csv of eval_main.py: {error!r}.") from error
    if not queries:
        raise Mistake(f"{path} holds no query.")
    return queries


def read_pairs(first: Path, second: Path) -> list[PairedQueries]:
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
    common = [part for part in one if part in other]
    if not common:
        raise Mistake(f"{folders[0]} and {folders[1]} have no method and direction in common.")
    for part in common:
        if odd := sorted(one[part].keys() ^ other[part].keys()):
            raise Mistake(
                f"{folders[0]} and {folders[1]} hold different queries of {' | '.join(part)}: {len(odd)} are in one "
                f"only, such as {odd[0]}. Compare evaluations of one data set."
            )
    pairs = []
    for method in dict.fromkeys(method for method, _ in common):
        queries = [(part, key) for part in common if part[0] == method for key in one[part]]
        pids = np.array([one[part][key][0] for part, key in queries])
        scores = [np.array([side[part][key][1] for part, key in queries]).T for side in (one, other)]
        pairs.append(
            PairedQueries(method, [part[1] for part, _ in queries], [key for _, key in queries], pids, *scores)
        )
    return pairs


def format_differences(pairs: Sequence[PairedQueries]) -> str:
    """Lay out second minus first of each compared measure in percent, with 95 % intervals and p values over people.

    A method has a row for each direction and, if there are several, for all of them.
    """
    rows = []
    for pair in pairs:
        groups = {name: np.array([own == name for own in pair.directions]) for name in dict.fromkeys(pair.directions)}
        if len(groups) > 1:
            groups["overall"] = np.ones(len(pair.keys), dtype=bool)
        for direction, group in groups.items():
            first, second = (measures_by_query(*scores[:, group]) for scores in (pair.first, pair.second))
            for name in COMPARED:
                result = compare_paired(first[name], second[name], pair.pids[group])
                means = [f"{100 * values[name].mean():.2f}" for values in (first, second)]
                interval = f"{100 * result.low:+.2f} to {100 * result.high:+.2f}"
                change = f"{100 * result.difference:+.2f}"
                rows.append([pair.method, direction, name, *means, change, interval, f"{result.p_value:.4f}"])
    header = ["method", "direction", "measure", "first", "second", "difference", "95 % interval", "p"]
    return format_table(header, rows, align="<<<>>>>>")


def format_changes(pair: PairedQueries, better: bool) -> str:
    """Lay out the queries whose average precision rose (``better``) or fell most."""
    rises = (pair.second[1] - pair.first[1]) * (1 if better else -1)
    rows = []
    for index in np.argsort(-rises, kind="stable")[:NUM_CHANGES]:
        if rises[index] > 0:
            precisions = [f"{100 * side[1, index]:.2f}" for side in (pair.first, pair.second)]
            ranks = [f"{side[0, index]:g}" for side in (pair.first, pair.second)]
            rows.append([pair.keys[index], pair.directions[index], *precisions, *ranks])
    title = f"{'better' if better else 'worse'} with the second"
    return format_table(
        [title, "direction", "AP first", "AP second", "rank first", "rank second"], rows, align="<<>>>>"
    )
