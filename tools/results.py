"""Compare two evaluations of the same queries, or average those of several runs."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.commands import run_command, show
from utils.files import write_text

EPILOG = """\
examples:
  python -m tools.results compare results/baseline results/winner > difference.txt
  python -m tools.results average logs/ilidsvid/*/results/results.json --output results/ilidsvid_mean.json

compare needs results.json and queries.csv of eval_main.py, over the same queries. Differences are second minus first,
in percent. p is the probability of a difference at least as large if it were chance which of the two ranks a person's
queries better (sign-flip test over people). The lists are those of the method in the first row.

average needs rows for the same methods, directions and protocols in all files. The table is in percent and shows the
sample standard deviation over the files in brackets; the output file has fractions of 1.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser("compare", help="is one of two evaluations better, or is the difference chance?")
    compare.add_argument("first", type=Path, help="results folder of eval_main.py, or a file in it")
    compare.add_argument("second", type=Path, help="the one that is hoped to be better")
    average = commands.add_parser("average", help="mean and deviation over runs, such as splits or seeds")
    average.add_argument("results", nargs="+", type=Path, help="results.json of every run")
    average.add_argument("--output", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Show the tables, and write a file if one is named."""
    args = parse_args(argv)
    from processor.report import compare  # torch takes seconds: --help and mistakes are answered before

    if args.command == "compare":
        pairs = compare.read_pairs(args.first, args.second)
        changes = (compare.format_changes(pairs, better) for better in (True, False))
        show("\n\n".join((compare.format_differences(pairs), *changes)))
    else:
        means = compare.average(args.results)
        if args.output:
            write_text(json.dumps(means, indent=2) + "\n", args.output)
        show(f"{len(args.results)} runs\n{compare.format_means(means)}")


if __name__ == "__main__":
    sys.exit(run_command(main))
