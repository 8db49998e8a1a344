"""Make, check and join submissions to the AG-VPReID challenge."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

LENGTH = 20  # the challenge's server scores the first 20

EPILOG = """\
examples:
  python -m tools.submission write results/all --output submission.csv
  python -m tools.submission write results/all --output submission.csv --method reranked --length 10
  python -m tools.submission check submission.csv --sample sample_submission.csv --root /data/AG-VPReID
  python -m tools.submission merge case1.csv case2.csv --output submission.csv --sample sample_submission.csv

check ends with exit status 1 if it finds a problem. The organisers' sample names all queries, but not quite all of the
gallery: with --root, the tracklets in the folders of the copy are known, too.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Make, check and join submissions to the AG-VPReID challenge.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="make a submission from distmat*.npz (TEST.SAVE_DISTANCES)")
    write.add_argument("results", type=Path, help="results folder of eval_main.py (--custom_output_dir)")
    write.add_argument("--method", default="visual", help="visual (default), or as after distmat_ in a file's name")
    write.add_argument("--length", type=int, default=LENGTH, help="gallery tracklets per query (%(default)s); 0: all")
    check = commands.add_parser("check", help="compare a submission with the organisers' sample")
    check.add_argument("file", type=Path, help="the submission")
    check.add_argument("--root", type=Path, help="copy of AG-VPReID, for the names of its gallery tracklets")
    check.add_argument("--length", type=int, default=0, help="names that every row must list; default: as the sample")
    merge = commands.add_parser("merge", help="join the rankings of several directions, in the order given")
    merge.add_argument("files", nargs="+", type=Path, help="tracklet_rankings*.csv of each direction")
    for command in (write, merge):
        command.add_argument("--output", type=Path, required=True, help="submission to write")
        command.add_argument("--sample", type=Path, help="the organisers' sample, whose order the rows are put into")
    check.add_argument("--sample", type=Path, required=True, help="the organisers' sample")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run one of the three commands; a check ends with exit status 0 or 1, a mistake with 2."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if getattr(args, "length", 0) < 0:
        parser.error(f"--length must not be negative, got {args.length}.")
    # Imported here, so that --help answers at once: torch takes seconds.
    from processor.report import submission

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        sample = submission.read_submission(args.sample) if args.sample else []
        if args.command == "check":
            known = submission.gallery_names(args.root) if args.root else frozenset()
            rows = submission.read_submission(args.file)
            problems = submission.check_submission(rows, sample, known, args.length)
            logger.info("%s: %d rows, %s", args.file, len(rows), submission.format_problems(problems))
            raise SystemExit(1 if problems else 0)
        if args.command == "write":
            rows = submission.rank_results(args.results, args.method, args.length)
        else:
            rows = submission.merge_submissions(args.files)
        submission.write_submission(args.output, submission.order_as(rows, sample))
        logger.info("%s: %d rows", args.output, len(rows))
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
