"""Averages the results of several runs, such as splits or seeds, from the results.json that evaluation writes."""

import json
import logging
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from utils.mistake import MissingFile, Mistake
from utils.tables import format_table

from .measures import MEASURES

logger = logging.getLogger(__name__)

# Rows of two runs are averaged if they agree in these.
KEYS = ("method", "direction", "protocol")
# Entries in which eval_main.py says how results were made; a difference is warned about.
SETTINGS = ("settings", "model", "precision")


def read_rows(path: Path) -> dict[tuple[str, ...], dict[str, float]]:
    """Read the measures of a results.json, by method, direction and protocol."""
    if not path.is_file():
        raise MissingFile(f"{path} is not a file: eval_main.py writes results.json to its results folder.")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["results"]
        measures = {tuple(row[key] for key in KEYS): {name: float(row[name]) for name in MEASURES} for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise Mistake(f"{path} is not a results.json of eval_main.py: {error!r}.") from error
    if not measures:
        raise Mistake(f"{path} holds no row: nothing was scored, as with masked test identities.")
    for keys, row in measures.items():
        for name, value in row.items():
            if not math.isfinite(value):
                raise Mistake(f"{path}: {name} of {' | '.join(keys)} is {value}, not a number.")
    return measures


def warn_of_other_settings(paths: Sequence[Path]) -> None:
    """Warn of every file whose results were made by other settings than the first file's."""
    first, *others = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        for name in SETTINGS:
            if other.get(name) != first.get(name):
                logger.warning("%s differ: %r in %s, %r in %s.", name, first.get(name), paths[0], other.get(name), path)


def average(paths: Sequence[Path]) -> list[dict]:
    """Average files row by row.

    Args:
        paths: At least one results.json.
    Returns:
        One dict for each row: ``KEYS``, ``num_runs``, and ``{measure}`` and ``{measure}_std`` as fractions of 1; the
        standard deviation of a single run is None.
    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is not a results.json, has no rows, a value that is not a number, or other rows than the
            first.
    """
    runs = [read_rows(path) for path in paths]
    for path, run in zip(paths, runs, strict=True):
        if run.keys() != runs[0].keys():
            odd = sorted(run.keys() ^ runs[0].keys())[0]
            raise Mistake(f"{path} and {paths[0]} hold different rows: only one has {' | '.join(odd)}.")
    means = []
    for keys in runs[0]:
        row = {**dict(zip(KEYS, keys, strict=True)), "num_runs": len(runs)}
        for name in MEASURES:
            values = [run[keys][name] for run in runs]
            row[name] = statistics.fmean(values)
            row[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else None
        means.append(row)
    return means


def format_means(means: Sequence[dict]) -> str:
    """Lay out the rows as a table, in percent."""
    rows = []
    for row in means:
        title = " | ".join(row[key] for key in KEYS)
        rows.append([title, *(_format_mean(row[name], row[f"{name}_std"]) for name in MEASURES)])
    return format_table(["mean (standard deviation)", *MEASURES], rows)


def _format_mean(mean: float, deviation: float | None) -> str:
    return f"{100 * mean:.2f} (-)" if deviation is None else f"{100 * mean:.2f} ({100 * deviation:.2f})"
