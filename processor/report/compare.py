"""Read the results of several evaluations: their averages, and how those of two methods differ query by query."""

import json
import logging
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.bootstrap import PairedDifference, compare_paired
from utils.mistake import Mistake
from utils.text import format_table, percent, read_csv, read_text

from .tables import MEASURES, SCORES, measures_by_query

logger = logging.getLogger(__name__)

ROW_KEYS = ("method", "direction", "protocol")  # rows of two runs are averaged if they agree in these
SETTINGS = ("settings", "training settings")  # entries of results.json that list keys which differ from the recipe
DATA, QUERIES = "data", "queries"  # entries of ``read_results`` beside keys
SEED = "SOLVER.SEED"
COMPARED = ("R1", "mAP", "mINP")
NUM_CHANGES = 10
Key = tuple[str, str, str]  # of a query in an evaluation: method, direction, key of its tracklet
# person of a query, and ``SCORES`` of each run of the first and of the second method
Pairs = dict[Key, tuple[int | str, tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]]
Rows = dict[tuple[str, ...], list[float]]  # ``MEASURES`` by ``ROW_KEYS``


def read_results(path: Path) -> tuple[Rows, dict[str, str]]:
    """Read the rows of a results.json, named by itself or by its folder, and the settings that it names."""
    path = path / "results.json" if path.is_dir() else path
    text = read_text(path)
    try:
        content = json.loads(text)
        rows = content["results"]
        run = {tuple(row[key] for key in ROW_KEYS): [float(row[name]) for name in MEASURES] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise Mistake(f"{path} is not a results.json of eval_main.py: {error!r}.") from error
    if not run:
        raise Mistake(f"{path} holds no row: nothing was scored, as with masked test identities.")
    numbers = {str(row["num_valid_queries"]) for row in rows if "num_valid_queries" in row}
    settings = {"precision": str(content.get("precision", "unknown"))}
    settings |= {DATA: str(content.get(DATA, "unknown")), QUERIES: ", ".join(sorted(numbers)) or "unknown"}
    for name in SETTINGS:
        settings |= _parse_settings(name, str(content.get(name, "unknown")))
    return run, settings


def _parse_settings(name: str, text: str) -> dict[str, str]:
    """Return the values of the keys that an entry of ``SETTINGS`` lists; none are known if it has another form."""
    recipe, _, keys = text.partition(" but for ")
    try:
        words = shlex.split(keys)
    except ValueError:
        words = [""]
    if recipe != "those of the recipe" or len(words) % 2 or not all(key.isupper() for key in words[::2]):
        return {name: "unknown"}
    return dict(zip(words[::2], words[1::2], strict=True))


def format_settings(paths: Sequence[Path], settings: Sequence[dict[str, str]], *ignored: str) -> str:
    """List the keys in which runs differ, but for some, with the runs of each value; '' if they agree."""
    lines = []
    for key in sorted(set().union(*settings) - set(ignored)):
        runs: dict[str, list[str]] = defaultdict(list)
        for path, own in zip(paths, settings, strict=True):
            if key in own or key in SETTINGS or not own.keys() & set(SETTINGS):  # else its value is unknown
                runs[own.get(key, "known" if key in SETTINGS else "the recipe's")].append(str(path))
        if len(runs) > 1:
            lines.append(f"  {key}: " + "; ".join(f"{value} in {', '.join(names)}" for value, names in runs.items()))
    return "\n".join(["The settings of these runs differ:", *lines, "", ""]) if lines else ""


def _refuse_repeated(paths: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in paths:
        folder = (path.parent if path.name == "results.json" else path).resolve()
        if folder in seen:
            raise Mistake(f"{path} and {seen[folder]} are one evaluation, named twice.")
        seen[folder] = path


def format_means(paths: Sequence[Path]) -> str:
    """Average results.json files row by row, in percent, with the sample standard deviation over the files."""
    _refuse_repeated(paths)
    runs, settings = zip(*map(read_results, paths), strict=True)
    for path, run in zip(paths, runs, strict=True):
        if odd := sorted(run.keys() ^ runs[0].keys()):
            raise Mistake(f"{path} and {paths[0]} hold different rows: only one has {' | '.join(odd[0])}.")
    rows = []
    for keys in runs[0]:
        values = np.array([run[keys] for run in runs])
        deviations = [percent(value) for value in values.std(axis=0, ddof=1)] if len(runs) > 1 else "-" * len(MEASURES)
        cells = [f"{percent(mean)} ({own})" for mean, own in zip(values.mean(axis=0), deviations, strict=True)]
        rows.append([" | ".join(keys), *cells])
    table = format_table([f"mean (standard deviation) of {len(runs)} runs", *MEASURES], rows)
    return format_settings(paths, settings, SEED) + table


def read_queries(path: Path) -> dict[Key, tuple[int | str, tuple[float, ...]]]:
    """Read the person and ``SCORES`` of each query of a queries.csv, in the file's order."""
    _, rows = read_csv(path)
    try:
        queries = {
            (row["method"], row["direction"], row["key"]): (
                int(row["pid"]) if row["pid"].isdecimal() else row["pid"],
                tuple(float(row[name]) for name in SCORES),
            )
            for _, row in rows
        }
    except (KeyError, ValueError) as error:
        raise Mistake(f"{path} is not a queries.csv of eval_main.py: {error!r}.") from error
    return queries


def read_pairs(first: Sequence[Path], second: Sequence[Path], rows: tuple[str, str] | None = None) -> tuple[Pairs, str]:
    """Read the runs of two methods, seed by seed, and pair the queries of what all of them ranked; name their settings.

    What is not in all runs is warned about. With ``rows``, only a row of the first and another of the second are read,
    and paired under the second's name. Settings that differ are listed in the text, the seed only if it differs between
    the two runs of a pair.
    """
    if len(first) != len(second):
        raise Mistake(
            f"--first names {len(first)} results and --second {len(second)}: name as many, and the seeds in one order."
        )
    _refuse_repeated((*first, *second))
    folders = [path.parent if path.name == "results.json" else path for path in (*first, *second)]
    runs, settings = zip(*map(read_results, folders), strict=True)
    protocols = [", ".join(sorted({protocol for _, _, protocol in run})) for run in runs]
    if odd := [index for index, protocol in enumerate(protocols) if protocol != protocols[0]]:
        raise Mistake(
            f"{folders[0]} was scored by {protocols[0]}, but {folders[odd[0]]} by {protocols[odd[0]]}: evaluate all "
            "with the same TEST.PROTOCOL and DATASETS.EVAL_CASE."
        )
    tables = [read_queries(folder / "queries.csv") for folder in folders]
    if rows:
        wanted = [rows[0]] * len(first) + [rows[1]] * len(second)
        tables = [
            {(rows[1], direction, key): query for (name, direction, key), query in table.items() if name == row}
            for row, table in zip(wanted, tables, strict=True)
        ]
    parts = [{key[:2] for key in table} for table in tables]
    shared = set.intersection(*parts)
    if not shared:
        raise Mistake(f"{' and '.join(map(str, folders))} have no method and direction in common.")
    for part in sorted(set.union(*parts) - shared):
        owners = [str(folder) for folder, own in zip(folders, parts, strict=True) if part in own]
        logger.warning("Only %s has %s: left out.", ", ".join(owners), " | ".join(part))
    for index, table in enumerate(tables):
        if strange := sorted(key for key in tables[0].keys() ^ table.keys() if key[:2] in shared):
            raise Mistake(
                f"{folders[0]} and {folders[index]} hold different queries: {len(strange)} are in one only, such as "
                f"{' | '.join(strange[0])}. Compare evaluations of one data set."
            )
        if (earlier := tables.index(table)) != index and (earlier < len(first)) == (index < len(first)):
            logger.warning("%s and %s hold equal scores: are their seeds the same?", folders[earlier], folders[index])
    pairs = {}
    for key, (pid, _) in tables[0].items():
        if key[:2] in shared:
            scores = [table[key][1] for table in tables]
            pairs[key] = (pid, tuple(scores[: len(first)]), tuple(scores[len(first) :]))
    seeds = [own.get(SEED) for own in settings]
    same_seeds = seeds[: len(first)] == seeds[len(first) :]
    return pairs, format_settings(folders, settings, DATA, QUERIES, SEED if same_seeds else "")


@dataclass(frozen=True)
class Comparison:
    """How two methods differ in one measure, by means over the seeds."""

    method: str
    direction: str  # or 'overall', of several
    measure: str
    first: float
    second: float
    paired: PairedDifference


def compare_runs(pairs: Pairs) -> list[Comparison]:
    """Compare the runs of two methods in each measure of ``COMPARED``, direction by direction and overall."""
    found = []
    for method in dict.fromkeys(key[0] for key in pairs):
        own = {key: pair for key, pair in pairs.items() if key[0] == method}
        directions = list(dict.fromkeys(key[1] for key in own))
        for direction in [*directions, "overall"] if len(directions) > 1 else directions:
            group = [pair for key, pair in own.items() if direction in (key[1], "overall")]
            pids, *scores = map(np.array, zip(*group, strict=True))
            first, second = (measures_by_query(*each.T) for each in scores)  # (seeds, queries)
            for name in COMPARED:
                before, after = float(first[name].mean()), float(second[name].mean())
                paired = compare_paired(first[name], second[name], pids)
                found.append(Comparison(method, direction, name, before, after, paired))
    return found


def format_differences(pairs: Pairs) -> str:
    """Lay out second minus first of each compared measure in percent, with 95 % intervals and p values."""
    num_seeds = len(next(iter(pairs.values()))[1])
    rows = []
    for each in compare_runs(pairs):
        paired = each.paired
        ends = f"{percent(paired.low, '+')} to {percent(paired.high, '+')}"
        row = [each.method, each.direction, each.measure, percent(each.first), percent(each.second)]
        row += [percent(paired.difference, "+"), ends, f"{paired.p_value:.4f}"]
        rows.append(row + [percent(own, "+") for own in paired.by_seed if num_seeds > 1])
    header = ["method", "direction", "measure", "first", "second", "difference", "95 % interval", "p"]
    header += [f"pair {index}" for index in range(1, num_seeds + 1) if num_seeds > 1]
    return format_table(header, rows, align="<<<" + ">" * (len(header) - 3))


def format_changes(pairs: Pairs, better: bool) -> str:
    """Lay out the queries of the first method whose mean average precision rose (``better``) or fell most."""
    method, _, _ = next(iter(pairs))
    changes = []
    for key, (_, *scores) in pairs.items():
        first, second = (np.mean(each, axis=0) for each in scores)
        changes.append((second[0] - first[0], key, first, second))
    rows = []
    for change, key, first, second in sorted(changes, key=lambda change: change[0], reverse=better):
        if key[0] == method and (change > 0 if better else change < 0):
            precisions = (percent(scores[0]) for scores in (first, second))
            rows.append([key[2], key[1], *precisions, f"{first[1]:g}", f"{second[1]:g}"])
    header = [f"{'better' if better else 'worse'} with the second", "direction"]
    header += ["AP first", "AP second", "rank first", "rank second"]
    return format_table(header, rows[:NUM_CHANGES], align="<<>>>>")
