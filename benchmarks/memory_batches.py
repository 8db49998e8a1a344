"""Measure how fast CLIP memory is built: clips of all tracklets in packed batches, against one tracklet at a time.

    python -m benchmarks.memory_batches --table MARS/info/tracks_train_info.mat
    python -m benchmarks.memory_batches --table MARS/info/tracks_train_info.mat --tracklets 200 MODEL.DEVICE cuda

The lengths of the tracklets are drawn from MARS's table of training tracklets (columns: first frame, last frame, pid,
camera). Weights and frames are random, and frames are in memory, so nothing waits for a disk. Each pass runs
``processor.training.clip_memory.build_memory``; the two kinds take turns, and medians are reported.
"""

import argparse
import logging
import statistics
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.full_model import time_once
from configs import get_cfg
from datasets.clips.clip_dataset import NOT_REPLACED
from datasets.tracklet import Tracklet
from model import make_model
from processor.build import make_extractor
from processor.training.clip_memory import build_memory
from utils.arguments import at_least
from utils.commands import run_command
from utils.runtime import make_runtime

logger = logging.getLogger(__name__)


class RandomClips(Dataset):
    """Consecutive clips of tracklets whose frames are noise, as ``TrackletClips`` would return them.

    Args:
        lengths: Frames of each tracklet.
        clip_length: Frames of a clip, T.
        size: Height and width of the frames, pixels.
    """

    def __init__(self, lengths: Sequence[int], clip_length: int, size: tuple[int, int]) -> None:
        self.tracklet_of_clip = np.repeat(np.arange(len(lengths)), [-(-length // clip_length) for length in lengths])
        self.clip = torch.randint(0, 256, (clip_length, 3, *size), dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.tracklet_of_clip)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        return {
            "clips": self.clip,
            "camid": -1,
            "tracklet": int(self.tracklet_of_clip[index]),
            "unreadable": torch.full((len(self.clip),), NOT_REPLACED),
        }

    def batches_of_one_tracklet(self, batch_size: int) -> Iterator[list[int]]:
        """Yield batches of at most ``batch_size`` clips that never hold two tracklets."""
        for tracklet in np.unique(self.tracklet_of_clip):
            clips = np.flatnonzero(self.tracklet_of_clip == tracklet).tolist()
            yield from (clips[start : start + batch_size] for start in range(0, len(clips), batch_size))


def draw_lengths(table: Path, num_tracklets: int, seed: int) -> list[int]:
    """Draw the lengths of tracklets from those in a table of MARS."""
    rows = next(value for name, value in loadmat(table).items() if name.endswith("_info")).astype(np.int64)
    lengths = rows[:, 1] - rows[:, 0] + 1
    return np.random.default_rng(seed).choice(lengths, num_tracklets).tolist()


def run(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Measure both kinds of batches; returns the frames per second of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="tracks_train_info.mat of MARS")
    parser.add_argument("--tracklets", type=at_least(1), default=8, help="tracklets to draw (%(default)s)")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="passes of each kind (%(default)s)")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    cfg = get_cfg(opts=[*args.opts, "MODEL.PRETRAINED", "False"])
    runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
    lengths = draw_lengths(args.table, args.tracklets, cfg.SOLVER.SEED)
    clips = RandomClips(lengths, cfg.INPUT.SEQ_LEN, cfg.INPUT.SIZE_TRAIN)
    tracklets = [Tracklet(str(i), [""] * length, i, -1, "ground", None) for i, length in enumerate(lengths)]
    extractor = make_extractor(cfg, make_model(cfg, 2, 1).to(runtime.device), runtime)
    loaders = {
        "packed": DataLoader(clips, batch_size=cfg.TEST.IMS_PER_BATCH),
        "one tracklet at a time": DataLoader(
            clips, batch_sampler=list(clips.batches_of_one_tracklet(cfg.TEST.IMS_PER_BATCH))
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(args.repeats + 1):
        for name, loader in loaders.items():
            elapsed = time_once(partial(build_memory, extractor, loader, tracklets), runtime.device)
            if turn:  # the first turn is the warm-up
                seconds[name].append(elapsed)
    result = {name: sum(lengths) / statistics.median(of_kind) for name, of_kind in seconds.items()}
    for name, rate in result.items():
        logger.info("%-24s %8.2f frames/s", name, rate)
    packed, alone = result.values()
    logger.info(
        "packed batches are %.2f times as fast (%d frames of %d tracklets)", packed / alone, sum(lengths), len(lengths)
    )
    return result


def main() -> None:
    """Measure with the options of the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run()


if __name__ == "__main__":
    sys.exit(run_command(main))
