"""Render the synthetic aerial-ground data set, or a picture of its people."""

import argparse
import functools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from demo.dataset import PRESETS, render_dataset, write_contact_sheet
from utils.arguments import MAX_WORKERS, at_least
from utils.commands import run_command


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Render walking people seen by four ground cameras and two drones, in the AG-VPReID layout. "
        "The same options write the same bytes, whatever --workers is.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--output", default="data/synthetic", help="folder to write the data set to")
    add("--seed", type=at_least(0), default=0, help="another seed draws other people and other passes")
    add("--preset", choices=PRESETS, default="demo", help="what is drawn, and the next five counts")
    count = functools.partial(add, default=argparse.SUPPRESS)
    count("--train_people", type=at_least(0), help="identities in train/")
    count("--test_people", type=at_least(0), help="identities in query and gallery of both cases")
    count("--tracklets_per_view", type=at_least(1), help="aerial tracklets, and as many ground ones, of each")
    count("--frames", type=at_least(1), help="frames of each tracklet")
    count("--test_frames", type=at_least(1), help="frames of each tracklet of people not in train/")
    add("--workers", type=at_least(1, MAX_WORKERS), default=2, help=f"processes that render, at most {MAX_WORKERS}")
    add("--force", action="store_true", help="replace the data set that this command wrote there before, and no others")
    picture = "instead, draw people, a row each: ground views, aerial ones (15, 30, 80, 120 m), and a description"
    add("--contact_sheet", metavar="PATH", type=Path, help=picture)
    add("--rows", type=at_least(1), default=12, help="people in the picture")
    add("--width", type=at_least(1), help="width of a smaller picture without descriptions, pixels")
    args = parser.parse_args(argv)
    preset = PRESETS[args.preset]
    args.preset = replace(preset, **{name: value for name, value in vars(args).items() if name in vars(preset)})
    if args.preset.train_people == args.preset.test_people == 0:
        parser.error("--train_people and --test_people must not both be 0.")
    if args.contact_sheet:
        write_contact_sheet(args.contact_sheet, args.preset, args.seed, args.rows, args.width)
        return
    render_dataset(args.output, args.preset, args.seed, args.workers, args.force)


if __name__ == "__main__":
    sys.exit(run_command(main))
