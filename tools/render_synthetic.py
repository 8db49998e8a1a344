"""Render the synthetic aerial-ground data set, or a contact sheet of its people.

python -m tools.render_synthetic --output data/synthetic
python -m tools.render_synthetic --contact_sheet people.png
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.arguments import MAX_WORKERS, at_least
from utils.stopping import Stopped

logger = logging.getLogger(__name__)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Render walking people seen by four ground cameras and two drones, in the AG-VPReID layout "
        "with attribute tables. The same options write the same bytes, whatever --workers is.",
        epilog="Train on it with DATASETS.ROOT_DIR data/synthetic; see what colour alone achieves with "
        "'python -m benchmarks.color_histogram --root data/synthetic'.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", default="data/synthetic", help="folder to write the data set to")
    parser.add_argument("--seed", type=at_least(0), default=0, help="another seed draws other people and other passes")
    parser.add_argument("--train_people", type=at_least(0), default=120, help="identities in train/")
    parser.add_argument(
        "--test_people", type=at_least(0), default=60, help="identities in query and gallery of both cases"
    )
    parser.add_argument(
        "--tracklets_per_view",
        type=at_least(1),
        default=4,
        help="aerial tracklets, and as many ground ones, of each person",
    )
    parser.add_argument("--frames", type=at_least(1), default=8, help="frames of each tracklet")
    parser.add_argument(
        "--workers", type=at_least(1, MAX_WORKERS), default=2, help=f"processes that render, at most {MAX_WORKERS}"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace the data set that this command wrote to --output before; other files are never deleted",
    )
    parser.add_argument(
        "--contact_sheet",
        metavar="PATH",
        help="write a picture of a dozen people to PATH instead of the data set: one row each, ground views on "
        "the left, aerial ones (15, 30, 80, 120 m) on the right, a description below",
    )
    args = parser.parse_args(argv)
    if args.train_people == args.test_people == 0:
        parser.error("--train_people and --test_people must not both be 0.")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and render."""
    args = parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from PIL import Image

    from demo.contact_sheet import draw_contact_sheet
    from demo.dataset import render_dataset

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.contact_sheet:
        path = Path(args.contact_sheet)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_contact_sheet(args.seed)).save(path)
        logger.info("Wrote %s.", path)
        return
    try:
        render_dataset(
            args.output,
            seed=args.seed,
            num_train=args.train_people,
            num_test=args.test_people,
            tracklets_per_view=args.tracklets_per_view,
            frames_per_tracklet=args.frames,
            num_workers=args.workers,
            force=args.force,
            progress=True,
        )
    except Stopped as stopped:  # run_command would say that what was written is kept
        sys.exit(stopped.status)


if __name__ == "__main__":
    parse_args()  # answers --help and mistakes before torch is imported, which takes seconds
    from utils.commands import run_command

    sys.exit(run_command(main))
