"""Cut the boxes of a tracker out of a video, into one folder of frames for each tracklet.

example:
  python -m tools.cut_tracklets drone.mp4 drone_boxes.txt --output data/drone --min_confidence 0.6 --stride 5

BOXES is a text file of the MOTChallenge form, which most trackers write: a line for each box, in any order, with frame
(from 1), id, left, top, width, height, confidence, and in ground truths a class, with commas, semicolons or spaces
between them. Where column 7 is a flag (0 and 1 only), boxes with 0 are left out. Boxes must refer to upright frames.
Nothing is written if anything goes wrong. docs/video.md explains the rest.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from search.boxes import SelectionRules
from utils.arguments import at_least, real_number
from utils.commands import run_command

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Cut the tracklets and say what was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whole = at_least(1)
    add = parser.add_argument
    add("video", type=Path, metavar="VIDEO", help="the video, in any form that FFmpeg reads, or a folder of pictures")
    add("boxes", type=Path, metavar="BOXES", help="the tracker's boxes, as above")
    add("--output", type=Path, required=True, metavar="FOLDER", help="for tracklets; pictures: FOLDER_contact_sheets")
    add("--name", default="", help="begins the names of tracklets; default: the video's name")
    add("--min_frames", type=whole, default=8, help="frames that a tracklet must have after --stride (%(default)s)")
    add("--min_width", type=whole, default=16, help="smallest width of a box inside the frame, pixels (%(default)s)")
    add("--min_height", type=whole, default=32, help="smallest height of a box inside the frame, pixels (%(default)s)")
    add("--min_confidence", type=real_number(), help="smallest confidence, in the tracker's scale; default: any")
    add("--margin", type=real_number(0), default=0.0, help="added on each side, share of a box's size (%(default)s)")
    add("--stride", type=whole, default=1, metavar="N", help="keep every Nth frame of the video (%(default)s)")
    add("--gap", type=at_least(0), default=30, metavar="N", help="split a track after N without it (%(default)s)")
    add("--classes", nargs="+", default=(), help="classes of people in column 8; default: 1, person and pedestrian")
    add("--first_frame", type=int, choices=(0, 1), default=1, help="number of the first frame in BOXES (%(default)s)")
    add("--force", action="store_true", help="replace folders that this command wrote before; no others are touched")
    args = parser.parse_args(argv)
    from search.cutting import cut_tracklets  # its packages are optional

    files = args.video, args.boxes, args.output
    rules = SelectionRules(**{field.name: getattr(args, field.name) for field in fields(SelectionRules)})
    logger.info("%s", cut_tracklets(*files, rules, args.force, args.classes, args.first_frame, args.name))


if __name__ == "__main__":
    sys.exit(run_command(main))
