"""Measure a whole evaluation (decoding, resizing, network, ranking) against its network alone, in turns.

    python -m benchmarks.evaluation                          the winner's recipe, on the GPU if there is one
    python -m benchmarks.evaluation --tracklets 16 MODEL.DEVICE cpu

The weights are random, and the frames are generated JPEG files of a usual crop's size. The network alone gets the same
clips, decoded before.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import torch

from benchmarks.decoding import write_crops
from benchmarks.timing import time_in_turns
from configs import get_cfg
from datasets.build import make_test_loader
from datasets.tracklet import Case, Tracklet
from model import make_model
from processor.build import make_extractor
from processor.evaluation.rank import RankingOptions, evaluate
from utils.arguments import at_least
from utils.commands import run_command, show
from utils.runtime import make_runtime
from utils.text import format_table

NUM_CLASSES = 689  # training identities of AG-VPReID 2025
CROP = (200, 450)  # width and height, pixels
NUM_FILES = 64  # different frames; tracklets share them


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Measure with the options of the command line; returns the frames per second of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config_file", default="configs/xtfclip_vit_b16_288x144.yml")
    parser.add_argument("--tracklets", type=at_least(2), default=256, help="of query and gallery together")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="timed repeats; the median is reported")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    cfg = get_cfg(args.config_file, [*args.opts, "MODEL.PRETRAINED", "False"])
    runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
    extractor = make_extractor(cfg, make_model(cfg, NUM_CLASSES, num_cameras=2).to(runtime.device), runtime)
    make_loader = partial(make_test_loader, cfg, cameras={0: 0, 1: 1})
    with tempfile.TemporaryDirectory() as folder:
        files = cycle(write_crops(Path(folder), *CROP, NUM_FILES))
        tracklets = [
            Tracklet(f"{number}", list(islice(files, cfg.INPUT.SEQ_LEN)), number // 2, number % 2, "ground", None)
            for number in range(args.tracklets)
        ]
        case = Case("case1", "camera 0 to camera 1", tuple(tracklets[::2]), tuple(tracklets[1::2]))
        sides = [(list(make_loader(side)), side) for side in (case.query, case.gallery)]

        def encode() -> None:
            for batches, side in sides:
                extractor.extract(batches, side, "network alone")  # type: ignore[arg-type]  # a list of batches

        ways = {
            "network alone": encode,
            "whole evaluation": lambda: evaluate(extractor, [case], make_loader, RankingOptions(cfg.TEST)),
        }
        seconds = time_in_turns(ways, args.repeats, runtime.device, warm_up=True)
    num_frames = args.tracklets * cfg.INPUT.SEQ_LEN * cfg.TEST.NUM_CLIPS
    figures = {name: num_frames / clock for name, (clock, _) in seconds.items()}
    dtype = str(runtime.dtype or torch.float32).removeprefix("torch.")
    show(f"{runtime.device}, {dtype}, {args.tracklets} tracklets, {cfg.DATALOADER.NUM_WORKERS} loader processes")
    show(format_table(("way", "frames/s"), [(name, f"{rate:.4g}") for name, rate in figures.items()]))
    share = figures["whole evaluation"] / figures["network alone"]
    show(f"The whole evaluation reaches {share:.1%} of the network's rate.")
    return figures


if __name__ == "__main__":
    sys.exit(run_command(main))
