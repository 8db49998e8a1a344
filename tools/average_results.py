"""Average the results of several runs, such as the ten splits of iLIDS-VID or several seeds."""

import argparse
import json
import logging
import statistics
from collections.abc import Sequence
from pathlib import Path

from utils.tables import format_table

logger = logging.getLogger(__name__)

MEASURES = ("R1", "R5", "R10", "R20", "mAP", "mINP")
# Rows of two runs are averaged if they agree in these.
KEYS = ("method", "direction", "protocol")

EPILOG = """\
example:
  python -m tools.average_results logs/ilidsvid/*/results/results.json --output results/ilidsvid_mean.json

All files must have rows for the same methods, directions and protocols. The table is in percent and shows the sample
standard deviation over the files in brackets; the output file has fractions of 1.
"""


def read_rows(path: Path) -> dict[tuple[str, ...], dict[str, float]]:
    """Read the measures of a results.json, by method, direction and protocol."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: eval_main.py writes results.json to its results folder.")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["results"]
        return {tuple(row[key] for key in KEYS): {name: float(row[name]) for name in MEASURES} for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a results.json of eval_main.py: {error!r}.") from error


def average(paths: Sequence[Path]) -> list[dict]:
    """Average files row by row.

    Args:
        paths: At least one results.json.
    Returns:
        One dict for each row: ``KEYS``, ``num_runs``, and ``{measure}`` and ``{measure}_std`` as fractions of 1; the
        standard deviation of a single run is 0.
    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is not a results.json, or has other rows than the first.
    """
    runs = [read_rows(path) for path in paths]
    for path, run in zip(paths, runs, strict=True):
        if run.keys() != runs[0].keys():
            odd = sorted(run.keys() ^ runs[0].keys())[0]
            raise ValueError(f"{path} and {paths[0]} hold different rows: only one has {' | '.join(odd)}.")
    means = []
    for keys in runs[0]:
        row = {**dict(zip(KEYS, keys, strict=True)), "num_runs": len(runs)}
        for name in MEASURES:
            values = [run[keys][name] for run in runs]
            row[name] = statistics.fmean(values)
            row[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else 0.0
        means.append(row)
    return means


def format_means(means: Sequence[dict]) -> str:
    """Lay out the rows as a table, in percent."""
    rows = []
    for row in means:
        title = " | ".join(row[key] for key in KEYS)
        rows.append([title, *(f"{100 * row[name]:.2f} ({100 * row[f'{name}_std']:.2f})" for name in MEASURES)])
    return format_table(["mean (standard deviation)", *MEASURES], rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Average the files, log a table, and write a file if one is named."""
    parser = argparse.ArgumentParser(
        description="Average the results of several runs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", nargs="+", type=Path, help="results.json of every run")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        means = average(args.results)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    logger.info("%d runs\n%s", len(args.results), format_means(means))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(means, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
