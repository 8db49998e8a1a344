"""Check and join submissions to the AG-VPReID challenge, which evaluation writes.

examples:
  python -m tools.submission check submission.csv --sample sample_submission.csv --root /data/AG-VPReID
  python -m tools.submission merge case1.csv case2.csv --output submission.csv --sample sample_submission.csv
  python -m tools.submission merge results/all/submission.csv --output ordered.csv --sample sample_submission.csv

check ends with exit status 1 if it finds a problem. The organisers' sample does not name quite all of the gallery: with
--root, the tracklets in the folders of the copy are known, too. Without a sample, check looks at the form, and at names
by --root. merge puts one file, too, into the order of the sample.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.arguments import output_file
from utils.commands import run_command, show
from utils.mistake import Mistake

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands; a check returns 1 if there is a problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check a submission, by the organisers' sample if there is one")
    check.add_argument("file", type=Path, help="the submission")
    check.add_argument("--root", type=Path, help="copy of AG-VPReID, for the names of its tracklets")
    check.add_argument("--sample", type=Path, help="the organisers' sample; without it, the order is not checked")
    merge = commands.add_parser("merge", help="join the rankings of one direction or several, in order")
    merge.add_argument("files", nargs="+", type=Path, help="tracklet_rankings*.csv of each direction")
    submission_file = output_file(".csv", beginning="row_id,query_tracklet,gallery_tracklets")
    merge.add_argument("--output", type=submission_file, required=True, help="submission to write")
    merge.add_argument("--sample", type=Path, help="the organisers' sample, whose order the rows are put into")
    args = parser.parse_args(argv)
    from processor.report import submission  # torch takes seconds: --help and mistakes are answered before

    if args.command != "check" and args.sample and args.output.resolve() == args.sample.resolve():
        raise Mistake(f"{args.output} is the sample: --output names another file.")
    sample = submission.read_submission(args.sample) if args.sample else []
    if args.command == "check":
        names = [submission.tracklet_names(args.root, side) if args.root else set() for side in ("query", "gallery")]
        rows = submission.read_submission(args.file)
        problems = submission.check_submission(rows, sample, *names)
        basis = "" if sample else ", without a sample"
        show(f"{args.file}{basis}: {len(rows)} rows, {submission.format_problems(problems)}")
        return 1 if problems else 0
    ranked = (row for path in args.files for row in submission.read_submission(path))
    logger.info("%s: %d rows", args.output, submission.write_submission(args.output, ranked, sample))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
