"""Check a copy of a data set: read it as training does, examine all frames, and compare all tracklets."""

import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from yacs.config import CfgNode

from utils.metrics import PROTOCOLS
from utils.progress import track
from utils.unknown import UNKNOWN

from ..build import make_dataset, make_train_loader
from ..clips.batch_sampler import IdentityBatchSampler
from ..problems import Findings
from ..readers.dataset import DataSet
from ..readers.listing import is_image_name
from ..tracklet import Case, Tracklet
from .frames import FrameResults, examine_frames
from .report import EpochEstimate, Examined, Report


def check_dataset(cfg: CfgNode, sample: int = 0, num_workers: int = 1, progress: bool = False) -> Report:
    """Check the data set of a config, and whether training with the config's settings could use it.

    Args:
        sample: Frames to decode of each tracklet, evenly spread; 0 for all.
        num_workers: Processes that decode; 1 decodes in the calling one.
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
            _compare_tracklets(cfg, report)
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
    shown = track(results, "checking", "tracklet", len(tracklets), enabled=progress)
    for (split, tracklet), frames in zip(tracklets, shown, strict=True):
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


def _compare_tracklets(cfg: CfgNode, report: Report) -> None:
    """Add to a report, whose tracklets are complete, what shows only in all of them together."""
    assert report.dataset is not None
    problems, train = report.problems, report.dataset.train
    cases = (*report.dataset.cases.values(), *report.dataset.validation.values())
    scored = [case for case in cases if not case.identities_masked]
    overlap = {each.pid for each in train} & {each.pid for case in scored for each in (*case.query, *case.gallery)}
    problems.add("people in train and test", *(f"identity {pid}" for pid in sorted(overlap)))
    for each in report.examined:
        if each.num_frames < cfg.INPUT.SEQ_LEN:
            place = f"{each.split}: identity {each.tracklet.pid}, {each.tracklet.name}"
            problems.add("short tracklet", f"{place}: {each.num_frames} frames")
    _check_bad_fraction(cfg.DATALOADER.MAX_BAD_FRACTION, report)
    cameras = {each.camid for each in train} | {UNKNOWN}
    test = [each.tracklet for each in report.examined if each.split != "train"]
    unseen = Counter(each.camid for each in test if each.camid not in cameras)
    problems.add("camera only in test", *(f"camera {camid}: {unseen[camid]} tracklets" for camid in sorted(unseen)))
    _check_people(cfg.DATALOADER.NUM_INSTANCE, train, problems)
    for case in scored:
        alone = _find_unmatched(case)
        texts = (f"{case.name}/query: identity {pid}, {alone[pid]} queries" for pid in sorted(alone))
        problems.add("query without match", *texts)
    problems.add("frame of two people", *_find_shared_frames(report))


def _check_bad_fraction(limit: float, report: Report) -> None:
    """Find out whether so many frames are bad that training would stop.

    CLIP memory is built first and reads every training frame, so their share decides. It reads the frames of a short
    last clip again: very close to the limit it may decide otherwise.
    """
    train = [each for each in report.examined if each.split == "train"]
    num_frames = sum(each.num_frames for each in train)
    num_bad = sum(each.frames.count_bad() for each in train)
    num_unreadable = sum(each.frames.count_bad("unreadable frame") for each in train)
    num_decoded = sum(len(each.frames.digests) for each in train)
    num_left = num_frames - num_decoded - num_bad
    expected = num_bad + num_left * num_unreadable / max(1, num_decoded + num_unreadable)
    if expected <= limit * num_frames:
        return
    certain = num_bad > limit * num_frames
    report.problems.add(
        "too many bad frames" if certain else "probably too many bad frames",
        f"{num_bad if certain else f'about {expected:.0f}'} of {num_frames} training frames cannot be used, "
        f"{100 * expected / num_frames:.3g} %; the limit is {100 * limit:g} %",
    )


def _check_people(num_instances: int, train: Sequence[Tracklet], problems: Findings) -> None:
    """Find training people with few tracklets, or with one view where the data set has both."""
    has_both_views = len({tracklet.view for tracklet in train}) > 1
    people: dict[int, list[Tracklet]] = defaultdict(list)
    for tracklet in train:
        people[tracklet.pid].append(tracklet)
    for pid, tracklets in people.items():
        views = {tracklet.view for tracklet in tracklets}
        if len(tracklets) == 1:
            problems.add("one tracklet", f"identity {pid}")
        if has_both_views and len(views) == 1:
            problems.add("one view", f"identity {pid}: only {views.pop()}")
        if len(tracklets) < num_instances:
            problems.add("few tracklets", f"identity {pid}: {len(tracklets)}")


def _find_unmatched(case: Case) -> Counter[int]:
    """Count the queries of each identity that have no match in the gallery."""
    cameras: dict[int, set[int]] = defaultdict(set)  # of each identity in the gallery
    for tracklet in case.gallery:
        cameras[tracklet.pid].add(tracklet.camid)
    protocol = PROTOCOLS[case.protocol]
    unmatched: Counter[int] = Counter()
    for query in case.query:
        camids = np.array(sorted(cameras[query.pid]), dtype=np.int64)
        if protocol.leaves_out(query.pid, query.camid, np.full_like(camids, query.pid), camids).all():
            unmatched[query.pid] += 1
    return unmatched


def _find_shared_frames(report: Report) -> Iterator[str]:
    """Yield a text for each pair of tracklets of different people that share files, byte for byte.

    It names the first shared frame and the number of the others. Masked identities are not compared between test
    splits, where the same person may have different numbers.
    """
    examined = [each for each in report.examined if len(each.frames.digests)]
    if not examined:
        return
    masked_cases = report.problems.places.get("masked identities", ())
    masked_split = [each.split if each.split.split("/")[0] in masked_cases else "" for each in examined]
    keys = [(split, each.tracklet.pid) for split, each in zip(masked_split, examined, strict=True)]
    number_of = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    sizes = [len(each.frames.digests) for each in examined]
    digests = np.concatenate([each.frames.digests for each in examined])  # (N,), of all frames
    indices = np.concatenate([each.frames.indices for each in examined])  # (N,)
    owners = np.repeat(np.arange(len(examined)), sizes)  # (N,), index of each frame's tracklet
    people = np.array([number_of[key] for key in keys])[owners]  # (N,)
    order = np.lexsort((people, digests))  # equal files become neighbours, those of one person too
    same_file = digests[order][1:] == digests[order][:-1]
    places = np.flatnonzero(same_file & (people[order][1:] != people[order][:-1]))
    pairs = np.stack([owners[order[places]], owners[order[places + 1]]], axis=1)
    _, first, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    for place, count in zip(places[first], counts, strict=True):
        one, other = order[place : place + 2]
        splits = {masked_split[owners[one]], masked_split[owners[other]]}
        if len(splits) > 1 and "" not in splits:
            continue
        paths = [examined[owners[frame]].tracklet.frame_paths[int(indices[frame])] for frame in (one, other)]
        yield " and ".join(paths) + (f", and {count - 1} more of these tracklets" if count > 1 else "")
