"""Describe folders of tracklets by a table, so that a model can be trained and evaluated on them."""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.arguments import at_least
from utils.mistake import Mistake

logger = logging.getLogger(__name__)

# As in datasets/readers/own_splits.py (a test compares them), which imports torch: --help answers at once.
FRACTION, SEED = 0.3, 0

EPILOG = """\
examples:
  python -m tools.describe_dataset data/own
  python -m tools.describe_dataset data/own --pattern "{person}/cam{camera}_{tracklet}"
  python -m tools.describe_dataset data/own --pattern "{person}_c{camera}_t{tracklet}_f{frame}"
  python -m tools.describe_dataset data/own --table data/own/tracklets.csv --force

A pattern says what the names of the folders that hold frames mean, or, with {frame}, those of the frames. Its fields
are {person}, {camera}, {tracklet}, {view} (ground, aerial), {altitude} (metres), {day} (a date), {split} (train, query,
gallery, test) and {frame}; * stands for anything. Without a pattern, one is guessed and shown. Nothing but the table is
written. docs/datasets.md, 'Your own data', explains the table.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Write the table that DATASETS.NAMES folder reads, from the names of folders with frames.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, help="folder of the data (DATASETS.ROOT_DIR)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--pattern", default="", help="what the names mean; default: a guess")
    source.add_argument("--table", type=Path, help="take the tracklets of this table, and add only the splits")
    parser.add_argument("--output", type=Path, help="the table to write; default: tracklets.csv in the folder")
    parser.add_argument(
        "--test_share", type=float, default=FRACTION, metavar="SHARE", help="share of the people to test (%(default)s)"
    )
    parser.add_argument("--seed", type=at_least(0), default=SEED, help="seed by which they are drawn (%(default)s)")
    parser.add_argument("--force", action="store_true", help="replace the table")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the names, show what was understood, and write the table."""
    args = make_parser().parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from datasets.readers.describe import (
        count_frames,
        describe_folders,
        describe_table,
        format_counts,
        format_description,
    )
    from datasets.readers.own_splits import draw_split
    from datasets.readers.tracklet_table import TABLE, read_table, write_table

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    output = args.output or args.root / TABLE
    if output.exists() and not args.force:
        raise Mistake(f"{output} exists already: --force replaces it, --output names another file.")
    description = describe_table(args.table) if args.table else describe_folders(args.root, output, args.pattern)
    table = description.table
    num_frames = count_frames(args.root, table)
    logger.info("%s\n", format_description(description, num_frames))
    rows = table.rows if table.rows[0].split else draw_split(table.rows, args.test_share, args.seed)
    write_table(output, rows, table.attributes)
    written = read_table(output)  # refuses what cannot be trained on, such as a person in train and test
    logger.info("%s\n", format_counts(written.rows, num_frames))
    words = ["DATASETS.ROOT_DIR", str(args.root)]
    if output.resolve() != (args.root / TABLE).resolve():
        words += ["DATASETS.TABLE", str(output.resolve())]
    logger.info("Wrote %s. Check it, and the frames, with:", output)
    logger.info("python -m tools.dataset check --config_file configs/own_data.yml %s", shlex.join(words))


if __name__ == "__main__":
    make_parser().parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
