"""Search described tracklets: build an index of them, add and remove some, and find who resembles whom."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.arguments import at_least

EPILOG = """\
examples:
  python -m tools.search build people.index ground.npz wearable.npz
  python -m tools.search add people.index more.npz --replace
  python -m tools.search remove people.index camera2/0007
  python -m tools.search find people.index --queries aerial.npz --results results/all/results.json --output found
  python -m tools.search find people.index --key camera2/0012 --max_distance 0.6
  python -m tools.search find people.index --text "woman with a red backpack" --text_tower ViT-B-16.pt --output found

Files of features come from `python -m tools.extract_features`; all of an index must be described by one model in one
way. Distances are squared Euclidean ones of descriptors of length 1, 0 to 4, as evaluation computes them. Without a
threshold everything is ranked and nothing is judged. --results takes the threshold that accepted at most
--false_positive_rate of the pairs of two people in an evaluation of the same model; a query of which nothing is within
it is answered 'no match'. In a large index many strangers may be within it: choose a rate below 1 / tracklets.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make an index")
    add = commands.add_parser("add", help="add tracklets to an index")
    remove = commands.add_parser("remove", help="remove tracklets from an index")
    find = commands.add_parser("find", help="rank the tracklets of an index for each query")
    for command in (build, add, remove, find):
        command.add_argument("index", metavar="INDEX", type=Path, help="file of the index")
    for command in (build, add):
        command.add_argument("features", metavar="FEATURES", nargs="+", type=Path, help="described tracklets")
    add.add_argument("--replace", action="store_true", help="replace tracklets whose keys are in the index already")
    remove.add_argument("keys", metavar="KEY", nargs="+", help="key of a tracklet")
    find.add_argument("--queries", metavar="FEATURES", type=Path, help="described tracklets")
    find.add_argument("--key", nargs="+", help="keys in --queries (default: all), or in INDEX")
    find.add_argument("--text", nargs="+", help="descriptions in words; the index must hold vectors of a text tower")
    find.add_argument("--text_tower", type=Path, help="with --text: the file that the tracklets were described with")
    find.add_argument("--top", type=at_least(1), default=10, help="tracklets found for each (%(default)s)")
    limits = find.add_mutually_exclusive_group()
    limits.add_argument("--max_distance", type=float, help="largest distance that is accepted")
    limits.add_argument("--results", type=Path, help="results.json of eval_main.py, to take the threshold from")
    find.add_argument("--false_positive_rate", type=float, default=0.01, help="with --results (%(default)s)")
    find.add_argument("--output", type=Path, help="folder for search.html, search.csv and search.json")
    args = parser.parse_args(argv)
    if args.command == "find" and not (args.queries or args.key or args.text):
        find.error("name the queries: --queries FEATURES, --key KEY of a tracklet in INDEX, or --text")
    if args.command == "find" and args.text_tower and not args.text:
        find.error("--text_tower goes with --text")
    if args.command == "find" and args.text:
        if not args.text_tower:
            find.error("--text needs --text_tower: the file that the index's tracklets were described with")
        if args.queries or args.key or args.max_distance is not None or args.results:
            find.error("--text goes with --text_tower, --top and --output only: a similarity to words has no threshold")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run one of the four commands."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from search import commands

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.command == "build":
        commands.build(args.index, args.features)
    elif args.command == "add":
        commands.add(args.index, args.features, args.replace)
    elif args.command == "remove":
        commands.remove(args.index, args.keys)
    elif args.text:
        commands.find_words(args.index, args.text, args.text_tower, args.top, args.output)
    else:
        threshold = commands.choose_threshold(args.max_distance, args.results, args.false_positive_rate)
        commands.find(args.index, args.queries, args.key, args.top, threshold, args.output)


if __name__ == "__main__":
    parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
