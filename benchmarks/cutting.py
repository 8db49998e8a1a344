"""Measure that cutting tracklets out of a long video takes no more memory than out of a short one.

    python -m benchmarks.cutting                    one minute and one hour of generated video
    python -m benchmarks.cutting --minutes 10       a quicker look
    python -m benchmarks.cutting --box_every 1      boxes in every frame: what they cost in memory

The video shows noise that drifts, 160x120 pixels and 25 frames a second, in MPEG-4. Two tracks of a minute each follow
one another; every 25th frame is kept. A fresh process cuts each video, and reports its peak memory and that before.
"""

import argparse
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from search.cutting import cut_tracklets
from search.selection import SelectionRules
from utils.arguments import at_least
from utils.commands import run_command

logger = logging.getLogger(__name__)

HEIGHT, WIDTH, RATE = 120, 160, 25
BOX = (24, 60)  # width and height, pixels
BOXES_PER_FRAME = 2
TRACK_FRAMES = 60 * RATE
RULES = SelectionRules(min_frames=1, min_width=1, min_height=1, min_confidence=None, margin=0.0, stride=RATE, gap=RATE)


def write_video(path: Path, num_frames: int) -> None:
    """Write a video of noise that drifts by a pixel a frame."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    pixels = pixels.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.roll(pixels, number, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_boxes(path: Path, num_frames: int, box_every: int) -> None:
    """Write two boxes, which move along, for the first and then every so many frames."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(0, num_frames, box_every):
            for index in range(BOXES_PER_FRAME):
                track = BOXES_PER_FRAME * (number // TRACK_FRAMES) + index
                left = (number + 60 * index) % (WIDTH - BOX[0])
                file.write(f"{number + 1},{track},{left},30,{BOX[0]},{BOX[1]},0.9,-1,-1,-1\n")


def peak_memory() -> float:
    """Return the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cut_generated(folder: Path) -> dict[str, float]:
    """Cut the video in a folder in this process; returns the figures by name."""
    before = peak_memory()
    start = time.perf_counter()
    cut_tracklets(folder / "video.mp4", folder / "boxes.txt", folder / "out", folder / "sheets", RULES, 95)
    seconds = time.perf_counter() - start
    return {"before": before, "peak": peak_memory(), "seconds": seconds}


def run(argv: Sequence[str] | None = None) -> dict[int, dict[str, float]]:
    """Measure one minute and more; returns the logged figures by the number of frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=at_least(1), default=60, help="length of the long video (%(default)s)")
    parser.add_argument("--frames", type=at_least(1), nargs="+", help="numbers of frames to measure instead")
    parser.add_argument("--box_every", type=at_least(1), default=RATE, help="frames per pair of boxes (%(default)s)")
    parser.add_argument("--cut", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.cut:
        sys.stdout.write(json.dumps(cut_generated(args.cut)))
        return {}
    results = {}
    for num_frames in args.frames or (60 * RATE, args.minutes * 60 * RATE):
        with tempfile.TemporaryDirectory() as folder:
            write_video(Path(folder, "video.mp4"), num_frames)
            write_boxes(Path(folder, "boxes.txt"), num_frames, args.box_every)
            command = [sys.executable, "-m", "benchmarks.cutting", "--cut", folder]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        figures = results[num_frames] = json.loads(output)
        logger.info(
            "%s frames, %s boxes: peak %.0f MiB, %.0f MiB of it before (Python and torch), %.0f frames/s",
            f"{num_frames:,}",
            f"{BOXES_PER_FRAME * -(-num_frames // args.box_every):,}",
            figures["peak"],
            figures["before"],
            num_frames / figures["seconds"],
        )
    return results


def main() -> None:
    """Measure with the options of the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run()


if __name__ == "__main__":
    sys.exit(run_command(main))
