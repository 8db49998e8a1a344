"""Compare two evaluations of the same queries, or average those of several runs.

examples:
  python -m tools.results compare results/baseline results/winner > difference.txt
  python -m tools.results average logs/ilidsvid/*/results/results.json

compare needs results.json and queries.csv of eval_main.py, over the same queries. Differences are second minus first,
in percent. p is the probability of a difference at least as large if it were chance which of the two ranks a person's
queries better (sign-flip test over people). The lists are those of the method in the first row.

average needs rows for the same methods, directions and protocols in all files. The table is in percent and shows the
sample standard deviation over the files in brackets.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.commands import run_command, show


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser("compare", help="is one of two evaluations better, or is the difference chance?")
    compare.add_argument("first", type=Path, help="results folder of eval_main.py")
    compare.add_argument("second", type=Path, help="the one that is hoped to be better")
    average = commands.add_parser("average", help="mean and deviation over runs, such as splits or seeds")
    average.add_argument("results", nargs="+", type=Path, help="results folder of every run, or its results.json")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from processor.report import compare  # torch takes seconds: --help and mistakes are answered before

    if args.command == "average":
        show(compare.format_means(args.results))
        return
    pairs = compare.read_pairs((args.first, args.second))
    changes = (compare.format_changes(pairs, better) for better in (True, False))
    show("\n\n".join((compare.format_differences(pairs), *changes)))


if __name__ == "__main__":
    sys.exit(run_command(main))
