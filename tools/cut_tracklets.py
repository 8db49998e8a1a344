"""Cut the boxes of a tracker out of a video, into one folder of frames for each tracklet."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from search.boxes import SelectionRules
from utils.arguments import at_least, real_number
from utils.commands import run_command

logger = logging.getLogger(__name__)

EPILOG = """\
examples:
  python -m tools.cut_tracklets drone.mp4 drone_boxes.txt --output data/drone
  python -m tools.cut_tracklets drone.mp4 drone_boxes.txt --output data/drone --min_confidence 0.6 --stride 5

BOXES is a text file of the MOTChallenge form, which most trackers write: a line for each box, in any order, with frame
(from 1), id, left, top, width, height, confidence, and columns that are not read, with commas between them. Boxes must
refer to upright frames. Every id is taken for one person: look at the contact sheets, and lower --gap or raise
--min_confidence if a tracker switches. Nothing is written if anything goes wrong. docs/video.md explains the rest.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    whole, some = at_least(1, sys.maxsize), at_least(0, sys.maxsize)
    add = parser.add_argument
    add("video", type=Path, metavar="VIDEO", help="the video, in any form that FFmpeg reads")
    add("boxes", type=Path, metavar="BOXES", help="the tracker's boxes, see below")
    add("--output", type=Path, required=True, metavar="FOLDER", help="folder for the tracklets")
    add("--contact_sheets", type=Path, help="folder for one picture per tracklet; default: FOLDER_contact_sheets")
    add("--min_frames", type=whole, default=8, help="frames that a tracklet must have after --stride (%(default)s)")
    add("--min_width", type=whole, default=16, help="smallest width of a box inside the frame, pixels (%(default)s)")
    add("--min_height", type=whole, default=32, help="smallest height of a box inside the frame, pixels (%(default)s)")
    add("--min_confidence", type=real_number(), help="smallest confidence, in the tracker's scale; default: any")
    add("--margin", type=real_number(0), default=0.0, help="added on each side, share of a box's size (%(default)s)")
    add("--stride", type=whole, default=1, metavar="N", help="keep every Nth frame of the video (%(default)s)")
    add("--gap", type=some, default=30, metavar="N", help="split a track after N frames without it (%(default)s)")
    add("--quality", type=at_least(1, 100), default=95, help="JPEG quality of the frames, 1 to 100 (%(default)s)")
    add("--force", action="store_true", help="replace folders that this command wrote before; no others are touched")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Cut the tracklets and say what was kept."""
    args = parse_args(argv)
    from search.cutting import cut_tracklets  # its packages are optional

    output = Path(os.path.realpath(args.output))  # also of '.' and 'data/..', which have no name
    sheets = args.contact_sheets or output.parent / f"{output.name}_contact_sheets"
    rules = SelectionRules(**{field.name: getattr(args, field.name) for field in fields(SelectionRules)})
    logger.info("%s", cut_tracklets(args.video, args.boxes, output, sheets, rules, args.quality, args.force))
    logger.info("Look at %s, one picture per tracklet: does each show one person?", sheets)


if __name__ == "__main__":
    sys.exit(run_command(main))
