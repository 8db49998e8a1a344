"""Work on a copy of a data set: check what is in it, what is wrong with it, and whether training can start."""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from configs import get_cfg
from utils.arguments import MAX_WORKERS, at_least
from utils.commands import run_command, show

INTERRUPTED = 130

CHECK_EPILOG = """\
examples:
  python -m tools.dataset check DATASETS.ROOT_DIR /data/AG-VPReID
  python -m tools.dataset check --sample 4 --json check.json DATASETS.ROOT_DIR /data/AG-VPReID
  python -m tools.dataset check --config_file configs/xtfclip_mars.yml DATASETS.ROOT_DIR /data/MARS

The last line says whether training can start, and so does the exit status: 0 means yes, whatever the warnings; 1 means
no; 130 means that Ctrl-C interrupted the check, which then reports what it has found so far.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; the chosen command is ``run`` of its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_check(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the chosen command and return the exit status."""
    args = make_parser().parse_args(argv)
    return run_command(partial(args.run, args))


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "check",
        help="check a copy: counts, frames, names, attributes, and whether training can start",
        epilog=CHECK_EPILOG,
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
    parser.set_defaults(run=check)


def check(args: argparse.Namespace) -> int:
    """Check the data set of a config and show the report."""
    # Imported here, so that --help answers at once: torch takes seconds.
    from datasets.check.check import check_dataset, count_cores
    from datasets.check.report import format_report, report_as_dict
    from utils.files import write_text

    cfg = get_cfg(args.config_file, args.opts)
    report = check_dataset(cfg, args.sample, args.workers or count_cores(), progress=True)
    show(format_report(report))
    if args.json:
        write_text(json.dumps(report_as_dict(report), indent=2) + "\n", args.json)
    if not report.complete and "worker" not in report.problems.places:
        return INTERRUPTED
    return 0 if report.can_train else 1


if __name__ == "__main__":
    sys.exit(main())
