"""Search in feature files, or in a table of LanceDB: who resembles whom.

examples:
  python -m tools.search find ground.npz wearable.npz --queries aerial.npz --results results/all/results.json
  python -m tools.search find people.npz --key camera2/0012 --max_distance 0.6 --where camera=3,5 view=aerial
  python -m tools.search find people.npz --text "woman with a red backpack" --text_tower ViT-B-16.pt --output found
  python -m tools.search load ground.npz wearable.npz --into people.lance
  python -m tools.search delete --index people.lance camera2/0007

All conditions of --where must hold: camera=3,5 (one of them), view=aerial, time=FIRST..LAST (both included; either may
be left out; a day is the whole of it); what is unknown never fits. docs/search.md explains the rest.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from search.feature_file import UNREAD, has_unit_length, read_feature_files, read_features
from search.find import Gallery, MemoryGallery, find_texts, find_tracklets, parse_condition, require_searchable
from search.threshold import Threshold, read_threshold
from utils.arguments import at_least, real_number
from utils.commands import run_command, show
from utils.mistake import Mistake

logger = logging.getLogger(__name__)


def find(args: argparse.Namespace) -> None:
    """Answer the queries, show a table, and write files if a folder is named."""
    # torch, which decodes pictures, takes seconds
    from search.answer_files import explain_judgement, format_answers, write_answers

    gallery: Gallery
    if args.index:
        from search.lance_table import LanceGallery

        gallery = LanceGallery(args.index, args.where)
    else:
        gallery = MemoryGallery(read_feature_files(args.files), ", ".join(map(str, args.files)), args.where)
    require_searchable(gallery, bool(args.text), args.where)
    threshold = None
    if args.text:
        from model.text_space import open_text_space

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
    for text in answers["unread"]:
        logger.warning("%s", text)
    if args.output is not None:
        logger.info("Written: %s", ", ".join(map(str, write_answers(answers, args.output))))


def change_table(args: argparse.Namespace) -> None:
    """Load feature files into a table, each of them whole or not at all; or delete tracklets, all or none."""
    from search import lance_table

    if args.command == "load":
        for path in args.files:
            features = read_features(path)
            lance_table.load(args.index, features, str(path), args.replace)
            if UNREAD in features.origin:
                logger.warning("%s", features.origin[UNREAD])
        lance_table.update_index(args.index)
    else:
        lance_table.delete(args.index, args.keys)
    logger.info("%s holds %d tracklets", args.index, len(lance_table.LanceGallery(args.index)))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    finder = commands.add_parser("find", help="rank tracklets for each query")
    load = commands.add_parser("load", help="load feature files into a table of LanceDB")
    delete = commands.add_parser("delete", help="delete tracklets from a table of LanceDB")
    finder.add_argument("files", metavar="FEATURES", nargs="*", type=Path, help="feature files to search in")
    load.add_argument("files", metavar="FEATURES", nargs="+", type=Path, help="feature files")
    delete.add_argument("keys", metavar="KEY", nargs="+", help="key of a tracklet")
    load.add_argument("--into", dest="index", metavar="TABLE", required=True, help="table; made if it is missing")
    load.add_argument("--replace", action="store_true", help="replace tracklets whose keys are in the table already")
    delete.add_argument("--index", metavar="TABLE", required=True, help="table to delete from")
    finder.add_argument("--index", metavar="TABLE", help="table to search in, in place of files")
    finder.add_argument("--queries", metavar="FEATURES", type=Path, help="feature file of the queries")
    finder.add_argument("--key", nargs="+", help="keys in --queries (default: all), or of tracklets that are searched")
    finder.add_argument("--text", nargs="+", help="descriptions in words; the tracklets need vectors of a text tower")
    finder.add_argument("--text_tower", type=Path, help="with --text: the file that the tracklets were described with")
    where = "search only in such tracklets"
    finder.add_argument("--where", metavar="CONDITION", nargs="+", type=parse_condition, default=[], help=where)
    finder.add_argument("--top", type=at_least(1), default=10, help="tracklets found for each (%(default)s)")
    limits = finder.add_mutually_exclusive_group()
    limits.add_argument("--max_distance", type=real_number(0), help="largest distance that is accepted")
    limits.add_argument("--results", type=Path, help="results.json of eval_main.py, to take the threshold from")
    finder.add_argument("--false_positive_rate", type=real_number(0), default=0.01, help="with --results (%(default)s)")
    finder.add_argument("--output", type=Path, help="folder for search.html, search.csv and search.json")
    args = parser.parse_args(argv)
    if args.command == "find":
        if bool(args.files) == bool(args.index):
            finder.error("name feature files to search in, or a table by --index")
        if not (args.queries or args.key or args.text):
            finder.error("name the queries: --queries FEATURES, --key KEY of a tracklet that is searched, or --text")
        if bool(args.text) != bool(args.text_tower):
            finder.error("--text and --text_tower, the file that the tracklets were described with, go together")
        if args.text and (args.queries or args.key or args.max_distance is not None or args.results):
            finder.error("--text goes without other queries and without a threshold, which similarities to words lack")
    (find if args.command == "find" else change_table)(args)


if __name__ == "__main__":
    sys.exit(run_command(main))
