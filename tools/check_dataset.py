"""Check a copy of a data set: what is in it, what is wrong with it, and whether training can start."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs import get_cfg
from utils.arguments import MAX_WORKERS, at_least

if TYPE_CHECKING:
    from datasets.check import Report

logger = logging.getLogger(__name__)

INTERRUPTED = 130

EPILOG = """\
examples:
  python -m tools.check_dataset DATASETS.ROOT_DIR /data/AG-VPReID
  python -m tools.check_dataset --sample 4 --json check.json DATASETS.ROOT_DIR /data/AG-VPReID
  python -m tools.check_dataset --config_file configs/xtfclip_mars.yml DATASETS.ROOT_DIR /data/MARS

The last line says whether training can start, and so does the exit status: 0 means yes, whatever the warnings; 1 means
no; 130 means that Ctrl-C interrupted the check, which then reports what it has found so far.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Check a copy of a data set: counts, frames, names, attributes, and whether training can start.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config_file", help="YAML file, as for train_main.py; default: the winner's recipe")
    parser.add_argument(
        "--sample", type=at_least(0), default=0, metavar="N", help="decode only N frames of each tracklet; default: all"
    )
    parser.add_argument(
        "--workers",
        type=at_least(1, MAX_WORKERS),
        help=f"processes that decode, at most {MAX_WORKERS}; default: one for each core",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the report, with every finding, to PATH")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Check the data set, log the report and return the exit status."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from datasets.check import check_dataset, count_cores, format_report, make_check_settings, report_as_dict
    from utils.files import write_text

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        cfg = get_cfg(args.config_file, args.opts)
        report = check_dataset(make_check_settings(cfg, args.sample, args.workers or count_cores()), progress=True)
        logger.info("%s", format_report(report))
        if args.json:
            write_text(json.dumps(report_as_dict(report), indent=2) + "\n", args.json)
    except (OSError, ValueError, TypeError) as error:
        logger.error("%s", error)
        return 1
    return _exit_status(report)


def _exit_status(report: "Report") -> int:
    if not report.complete and not report.findings.get("worker"):
        return INTERRUPTED
    return 0 if report.can_train else 1


if __name__ == "__main__":
    sys.exit(main())
