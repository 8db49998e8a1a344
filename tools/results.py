"""Compare two methods by evaluations of the same queries, or average the evaluations of several runs.

examples:
  python -m tools.results compare --first results/baseline --second results/winner > difference.txt
  python -m tools.results compare --first results/a0 results/a1 results/a2 --second results/b0 results/b1 results/b2
  python -m tools.results average logs/ilidsvid/*/results/results.json

compare needs results.json and queries.csv of eval_main.py, over the same queries. With several seeds, --first and
--second name as many runs each, the seeds in one order; other numbers are refused. Differences are second minus first,
in percent, of the means over the seeds; those of each pair of runs stand at the end of the row. p is the probability of
a difference at least as large if there were none, over other people and, with several seeds, other seeds. The 95 %
interval excludes 0 if, and only if, p is below 0.05. The lists are those of the method in the first row.

average needs rows for the same methods, directions and protocols in all files. The table is in percent and shows the
sample standard deviation over the files in brackets.

Both list the keys in which the runs differ, of training, too; seeds only where they differ within a pair.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.commands import run_command, show


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    pair = commands.add_parser("compare", help="is one of two methods better, or is the difference chance?")
    pair.add_argument("--first", nargs="+", type=Path, required=True, help="results folder of each run of a method")
    pair.add_argument("--second", nargs="+", type=Path, required=True, help="as many of the other, seeds in order")
    average = commands.add_parser("average", help="mean and deviation over runs, such as splits or seeds")
    average.add_argument("results", nargs="+", type=Path, help="results folder of every run, or its results.json")
    args = parser.parse_args(argv)
    from processor.report import compare  # torch takes seconds: --help and mistakes are answered before

    if args.command == "average":
        show(compare.format_means(args.results))
        return
    pairs, settings = compare.read_pairs(args.first, args.second)
    changes = (compare.format_changes(pairs, better) for better in (True, False))
    show("\n\n".join((settings + compare.format_differences(pairs), *changes)))


if __name__ == "__main__":
    sys.exit(run_command(main))
