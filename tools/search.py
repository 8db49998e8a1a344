"""Search in feature files, or in a table of LanceDB: who resembles whom."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from search.feature_file import has_unit_length, read_feature_files, read_features
from search.find import Gallery, MemoryGallery, find_texts, find_tracklets, parse_condition, require_words
from search.threshold import Threshold, read_threshold
from utils.arguments import at_least, real_number
from utils.commands import run_command, show
from utils.mistake import Mistake

logger = logging.getLogger(__name__)

EPILOG = """\
examples:
  python -m tools.search find ground.npz wearable.npz --queries aerial.npz --results results/all/results.json
  python -m tools.search find people.npz --key camera2/0012 --max_distance 0.6 --where camera=3,5 view=aerial
  python -m tools.search find people.npz --queries query.npz --where time=2023-10-17T10:00..2023-10-17T12:00
  python -m tools.search find people.npz --text "woman with a red backpack" --text_tower ViT-B-16.pt --output found
  python -m tools.search load ground.npz wearable.npz --into people.lance
  python -m tools.search find --index people.lance --queries aerial.npz --output found
  python -m tools.search delete --index people.lance camera2/0007

Feature files come from `python -m tools.extract_features`. Distances are squared Euclidean ones, 0 to 4. All conditions
of --where must hold: camera=3,5 (one of them), view=aerial, time=FIRST..LAST (both included; either may be left out; a
day is the whole of it); what is unknown never fits. What memory cannot hold is loaded into a table of LanceDB, a folder
or the address of a bucket or server (pip install -r requirements-extra.txt). docs/search.md explains thresholds.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    find = commands.add_parser("find", help="rank tracklets for each query")
    load = commands.add_parser("load", help="load feature files into a table of LanceDB")
    delete = commands.add_parser("delete", help="delete tracklets from a table of LanceDB")
    find.add_argument("files", metavar="FEATURES", nargs="*", type=Path, help="feature files to search in")
    load.add_argument("files", metavar="FEATURES", nargs="+", type=Path, help="feature files")
    delete.add_argument("keys", metavar="KEY", nargs="+", help="key of a tracklet")
    load.add_argument("--into", metavar="TABLE", required=True, help="table, which is made if it is missing")
    load.add_argument("--replace", action="store_true", help="replace tracklets whose keys are in the table already")
    delete.add_argument("--index", metavar="TABLE", required=True, help="table to delete from")
    find.add_argument("--index", metavar="TABLE", help="table to search in, in place of files")
    find.add_argument("--queries", metavar="FEATURES", type=Path, help="feature file of the queries")
    find.add_argument("--key", nargs="+", help="keys in --queries (default: all), or of tracklets that are searched")
    find.add_argument("--text", nargs="+", help="descriptions in words; the tracklets need vectors of a text tower")
    find.add_argument("--text_tower", type=Path, help="with --text: the file that the tracklets were described with")
    where = "search only in such tracklets"
    find.add_argument("--where", metavar="CONDITION", nargs="+", type=parse_condition, default=[], help=where)
    find.add_argument("--top", type=at_least(1), default=10, help="tracklets found for each (%(default)s)")
    limits = find.add_mutually_exclusive_group()
    limits.add_argument("--max_distance", type=real_number(0), help="largest distance that is accepted")
    limits.add_argument("--results", type=Path, help="results.json of eval_main.py, to take the threshold from")
    find.add_argument("--false_positive_rate", type=real_number(0), default=0.01, help="with --results (%(default)s)")
    find.add_argument("--output", type=Path, help="folder for search.html, search.csv and search.json")
    args = parser.parse_args(argv)
    if args.command == "find":
        if bool(args.files) == bool(args.index):
            find.error("name feature files to search in, or a table by --index")
        if not (args.queries or args.key or args.text):
            find.error("name the queries: --queries FEATURES, --key KEY of a tracklet that is searched, or --text")
        if bool(args.text) != bool(args.text_tower):
            find.error("--text and --text_tower, the file that the tracklets were described with, go together")
        if args.text and (args.queries or args.key or args.max_distance is not None or args.results):
            find.error("--text goes without other queries and without a threshold, which similarities to words lack")
    return args


def find(args: argparse.Namespace) -> None:
    """Answer the queries, show a table, and write files if a folder is named."""
    from search.answer_files import (
        explain_judgement,
        format_answers,
        write_answers,
    )  # torch, which decodes pictures, takes seconds

    gallery: Gallery
    if args.index:
        from search.lance_table import LanceGallery

        gallery = LanceGallery(args.index, args.where)
    else:
        gallery = MemoryGallery(read_feature_files(args.files), ", ".join(map(str, args.files)), args.where)
    threshold = None
    if args.text:
        from model.text_space import open_text_space

        require_words(gallery)  # before the towers are opened, which takes seconds
        space = open_text_space(args.text_tower)
        answers = find_texts(gallery, args.text, space.encode_texts(args.text).numpy(), space.sha256, args.top)
    else:
        if args.results:
            threshold = read_threshold(args.results, args.false_positive_rate)
        elif args.max_distance is not None:
            threshold = Threshold(args.max_distance, "--max_distance")
        if args.queries:
            queries = read_features(args.queries)
            queries = queries.select(args.key, str(args.queries)) if args.key else queries
        else:
            queries = gallery.fetch(args.key)
        if args.results and not all(has_unit_length(table.features) for table in (queries, gallery.form)):
            raise Mistake("--results compares descriptors of length 1, and these have others: name a --max_distance.")
        answers = find_tracklets(gallery, queries, args.top, threshold)
    show(format_answers(answers))
    logger.info("%s", explain_judgement(answers))
    if args.output is not None:
        logger.info("Written: %s", ", ".join(map(str, write_answers(answers, args.output))))


def load(args: argparse.Namespace) -> None:
    """Load feature files into a table, each of them whole or not at all."""
    from search import lance_table

    for path in args.files:
        lance_table.load(args.into, read_features(path), str(path), args.replace)
    lance_table.update_index(args.into)
    logger.info("%s holds %d tracklets", args.into, len(lance_table.LanceGallery(args.into)))


def delete(args: argparse.Namespace) -> None:
    """Delete tracklets from a table, all or none."""
    from search import lance_table

    lance_table.delete(args.index, args.keys)
    logger.info("%s holds %d tracklets", args.index, len(lance_table.LanceGallery(args.index)))


def main(argv: Sequence[str] | None = None) -> None:
    """Run one of the three commands."""
    args = parse_args(argv)
    {"find": find, "load": load, "delete": delete}[args.command](args)


if __name__ == "__main__":
    sys.exit(run_command(main))
