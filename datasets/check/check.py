"""Check a copy of a data set: read it as training does, examine all frames, and compare all tracklets."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import cast

import torch
from yacs.config import CfgNode

from utils.progress import track

from ..build import make_dataset, make_train_loader
from ..clips.batch_sampler import IdentityBatchSampler
from ..problems import Findings
from ..readers.dataset import DataSet
from ..readers.listing import is_image_name
from ..tracklet import Tracklet
from .compare import compare_tracklets
from .frames import FrameResults, examine_frames
from .report import EpochEstimate, Examined, Report


def check_dataset(cfg: CfgNode, sample: int = 0, num_workers: int = 1, progress: bool = False) -> Report:
    """Check the data set of a config.

    Args:
        cfg: The data set, and the settings of training that it must fit.
        sample: Frames to decode of each tracklet, evenly spread; 0 for all.
        num_workers: Processes that decode; 1 decodes in the calling one.
        progress: Whether to show a progress bar.
    Returns:
        Everything that was found; after Ctrl-C, everything that was found before.
    """
    report = Report(cfg.DATASETS.NAMES, cfg.DATASETS.ROOT_DIR)
    try:
        with report.problems.guard():
            report.dataset = make_dataset(cfg, problems=report.problems)
            num_batches = _count_batches(cfg, report.dataset, report.problems)
            _find_stray_files(report.dataset, Path(report.root), report.problems)
            _examine(cfg, report, sample, num_workers, progress)
            compare_tracklets(cfg, report)
            report.epoch = _estimate_epoch(cfg, num_batches, report)
    except BrokenProcessPool as error:
        text = f"{error} After {len(report.examined)} tracklets; --workers 1 shows which one is next."
        report.problems.add("worker", text)
        report.complete = False
    except KeyboardInterrupt:
        report.complete = False
    _note_unchecked(sample, report)
    return report


def count_cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _count_batches(cfg: CfgNode, dataset: DataSet, problems: Findings) -> int:
    """Count the batches that the training loader draws in an epoch; 0 if none can be drawn."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATALOADER.NUM_WORKERS = 0  # nothing is loaded here: do not let torch warn of many workers
    with problems.guard("batches"):
        return len(cast(IdentityBatchSampler, make_train_loader(cfg, dataset).batch_sampler))
    return 0


def _find_stray_files(dataset: DataSet, root: Path, problems: Findings) -> None:
    """Report files, hidden ones excepted, that are no images, or that lie where only folders are expected."""
    holds_frames = {
        os.path.dirname(tracklet.frame_paths[0]) for split in dataset.splits().values() for tracklet in split
    }
    above = {str(folder) for path in holds_frames for folder in Path(path).parents if folder.is_relative_to(root)}
    for folder in sorted((above | holds_frames) - {str(root)}):
        with problems.guard(), os.scandir(folder) as entries:
            names = [each.name for each in entries if not each.name.startswith(".") and not os.path.isdir(each.path)]
            if folder in holds_frames:
                names = [name for name in names if not is_image_name(name)]
            else:
                names = [name for name in names if os.path.splitext(name)[1]]
            problems.add("stray file", *(os.path.join(folder, name) for name in sorted(names)))


def _examine(cfg: CfgNode, report: Report, sample: int, num_workers: int, progress: bool) -> None:
    """Examine the frames of all tracklets."""
    assert report.dataset is not None
    tracklets = [(split, each) for split, part in report.dataset.splits().items() for each in part]
    examine = partial(_examine_tracklet, size=cfg.INPUT.SIZE_TRAIN, sample=sample)
    results = _map_tracklets(examine, [tracklet for _, tracklet in tracklets], num_workers)
    for (split, tracklet), frames in zip(
        tracklets, track(results, "checking", "tracklet", len(tracklets), enabled=progress), strict=True
    ):
        report.examined.append(Examined(split, tracklet, frames))
        for check, text in frames.problems:
            report.problems.add(check, text)


def _examine_tracklet(tracklet: Tracklet, size: tuple[int, int], sample: int) -> FrameResults:
    return examine_frames(tracklet.frame_paths, size, sample)


def _map_tracklets(
    function: "partial[FrameResults]", tracklets: list[Tracklet], num_workers: int
) -> Iterator[FrameResults]:
    """Yield results in the order of the tracklets, from worker processes if there are to be several."""
    if num_workers <= 1:
        yield from map(function, tracklets)
        return
    pool = ProcessPoolExecutor(num_workers, initializer=_start_worker)
    try:
        # They are sent one by one: an interruption then waits only for the tracklets that are being examined.
        yield from pool.map(function, tracklets)
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends the others
    torch.set_num_threads(1)


def _estimate_epoch(cfg: CfgNode, num_batches: int, report: Report) -> EpochEstimate | None:
    """Estimate the time that decoding takes; None if nothing was decoded or no batches can be drawn."""
    num_decoded = sum(len(each.frames.digests) for each in report.examined)
    seconds = sum(each.frames.seconds for each in report.examined)
    if not num_decoded or not num_batches or seconds <= 0:
        return None
    workers = max(1, cfg.DATALOADER.NUM_WORKERS)
    rate = num_decoded / seconds
    num_frames = num_batches * cfg.SOLVER.STAGE2.IMS_PER_BATCH * cfg.INPUT.SEQ_LEN
    memory_frames = sum(each.num_frames for each in report.examined if each.split == "train")
    return EpochEstimate(
        frames_decoded=num_decoded,
        frames_per_second_per_core=rate,
        workers=workers,
        cores=count_cores(),
        batches_per_epoch=num_batches,
        frames_per_epoch=num_frames,
        epoch_seconds=num_frames / (rate * workers),
        memory_frames=memory_frames,
        memory_seconds=memory_frames / (rate * workers),
    )


def _note_unchecked(sample: int, report: Report) -> None:
    """Say what the check left out."""
    if not report.complete:
        report.not_checked.append("everything after the interruption, and what needs all tracklets")
    num_seen = sum(len(each.frames.digests) + each.frames.count_bad() for each in report.examined)
    if rest := sum(each.num_frames for each in report.examined) - num_seen:
        report.not_checked.append(
            f"whether {rest} frames can be decoded or are repeated (--sample {sample}); they exist and are not empty"
        )
