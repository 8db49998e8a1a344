"""Check a copy of a data set: read it as training does, examine all frames, and compare all tracklets."""

import hashlib
import os
import signal
import stat
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import numpy as np
import torch
from yacs.config import CfgNode

from utils.metrics import PROTOCOLS
from utils.pictures import UnreadableFrameError, read_frame_file
from utils.progress import track
from utils.unknown import UNKNOWN

from ..build import make_dataset, make_train_loader
from ..clips.decoding import decode_frame
from ..problems import Findings
from ..tracklet import Case, Tracklet
from .report import Examined, Report

DIGEST_BYTES = 8  # among 10 million frames, two different ones share a digest with a probability of 3e-6


def check_dataset(cfg: CfgNode, sample: int = 0, num_workers: int = 1) -> Report:
    """Check the data set of a config, and whether training with the config's settings could use it.

    ``sample`` frames of each tracklet, evenly spread, are decoded, 0 for all; by ``num_workers`` processes, 1 for the
    calling one. After Ctrl-C, the report holds everything that was found before.
    """
    report = Report(cfg.DATASETS.NAMES, cfg.DATASETS.ROOT_DIR)
    try:
        with report.problems.guard():
            report.dataset = make_dataset(cfg, problems=report.problems)
            with report.problems.guard("batches"), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "This DataLoader will create")  # nothing is loaded here
                make_train_loader(cfg, report.dataset)
            _examine(cfg, report, sample, num_workers)
            _compare_tracklets(cfg, report)
    except BrokenProcessPool as error:
        text = f"{error} After {len(report.examined)} tracklets; --workers 1 shows which one is next."
        report.problems.add("worker", text)
        report.complete = False
    except KeyboardInterrupt:
        report.complete = False
    if not report.complete:
        report.not_checked.append("everything after the interruption, and what needs all tracklets")
    num_seen = sum(np.count_nonzero(each.digests) + each.count_bad() for each in report.examined)
    if rest := sum(each.num_frames for each in report.examined) - num_seen:
        report.not_checked.append(
            f"whether {rest} frames can be decoded or are repeated (--sample {sample}); they exist and are not empty"
        )
    return report


def count_cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _examine(cfg: CfgNode, report: Report, sample: int, num_workers: int) -> None:
    """Examine the frames of all tracklets, in worker processes if there are to be several."""
    splits = [split for split, part in report.dataset.splits().items() for _ in part]
    tracklets = [tracklet for part in report.dataset.splits().values() for tracklet in part]
    examine = partial(examine_tracklet, size=cfg.INPUT.SIZE_TRAIN, sample=sample)
    pool = ProcessPoolExecutor(num_workers, initializer=_start_worker) if num_workers > 1 else None
    try:
        # They are sent one by one: an interruption then waits only for the tracklets that are being examined.
        results = pool.map(examine, splits, tracklets) if pool else map(examine, splits, tracklets)
        for examined in track(results, "checking", "tracklet", len(tracklets)):
            report.examined.append(examined)
            for check, text in examined.problems:
                report.problems.add(check, text)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends the others
    torch.set_num_threads(1)


def examine_tracklet(split: str, tracklet: Tracklet, size: tuple[int, int], sample: int) -> Examined:
    """Look at every file, decode an evenly spread ``sample`` (0: all) as training does, and find repeated frames."""
    paths = tracklet.frame_paths
    result = Examined(split, tracklet, np.zeros(len(paths), np.uint64))
    chosen: Collection[int] = range(len(paths))
    if 0 < sample < len(paths):
        chosen = set(np.linspace(0, len(paths) - 1, sample).round().astype(int).tolist())
    first_with: dict[int, int] = {}  # index by digest
    for index, path in enumerate(paths):
        if fault := _find_fault(path):
            result.problems.append(fault)
        elif index in chosen:
            try:
                decode_frame(path, size)
                content = read_frame_file(path)
            except UnreadableFrameError as error:
                result.problems.append(("unreadable frame", str(error)))
                continue
            digest = int.from_bytes(hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest(), "little")
            result.digests[index] = digest
            if (first := first_with.setdefault(digest, index)) != index:
                text = f"{path} is the same as {os.path.basename(paths[first])}"
                result.problems.append(("repeated frame", text))
    if result.count_bad() == len(paths):
        result.problems.append(("no readable frame", os.path.dirname(paths[0])))
    return result


def _find_fault(path: str) -> tuple[str, str] | None:
    """Return what is wrong with a file, as far as that shows without opening it."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return "missing frame", path
    except OSError as error:
        return "unreadable frame", f"{path}: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return "unreadable frame", f"{path}: it is not a regular file"
    return None if status.st_size else ("empty frame", path)


def _compare_tracklets(cfg: CfgNode, report: Report) -> None:
    """Add to a report, whose tracklets are complete, what shows only in all of them together."""
    problems, train = report.problems, report.dataset.train
    cases = (*report.dataset.cases.values(), *report.dataset.validation.values())
    scored = [case for case in cases if not case.identities_masked]
    people = {each.pid: each.person for each in train}
    overlap = people.keys() & {each.pid for case in scored for each in (*case.query, *case.gallery)}
    problems.add("people in train and test", *(f"identity {people[pid]}" for pid in sorted(overlap)))
    for each in report.examined:
        if each.num_frames < cfg.INPUT.SEQ_LEN:
            place = f"{each.split}: identity {each.tracklet.person}, {each.tracklet.name}"
            problems.add("short tracklet", f"{place}: {each.num_frames} frames")
    examined = [each for each in report.examined if each.split == "train"]
    num_frames, num_bad = sum(each.num_frames for each in examined), sum(each.count_bad() for each in examined)
    limit = cfg.DATALOADER.MAX_BAD_FRACTION
    if num_bad > limit * num_frames:  # training would stop: CLIP memory, which is built first, reads every frame
        share = f"{num_bad} of {num_frames} training frames cannot be used, {100 * num_bad / num_frames:.3g} %"
        problems.add("too many bad frames", f"{share}; the limit is {100 * limit:g} %")
    cameras = {each.camid for each in train} | {UNKNOWN}
    test = [each.tracklet for each in report.examined if each.split != "train"]
    unseen = Counter((each.camid, each.camera) for each in test if each.camid not in cameras)
    texts = (f"camera {camera}: {unseen[camid, camera]} tracklets" for camid, camera in sorted(unseen))
    problems.add("camera only in test", *texts)
    _check_people(cfg.DATALOADER.NUM_INSTANCE, train, problems)
    for case in scored:
        alone = _find_unmatched(case)
        texts = (f"{case.name}/query: identity {person}, {alone[pid, person]} queries" for pid, person in sorted(alone))
        problems.add("query without match", *texts)
    masked = [f"{case.name}/{side}" for case in cases if case.identities_masked for side in ("query", "gallery")]
    problems.add("frame of two people", *_find_shared_frames(report.examined, masked))


def _check_people(num_instances: int, train: Sequence[Tracklet], problems: Findings) -> None:
    """Find training people with few tracklets, or with one view where the data set has both."""
    has_both_views = len({tracklet.view for tracklet in train}) > 1
    people: dict[int, list[Tracklet]] = defaultdict(list)
    for tracklet in train:
        people[tracklet.pid].append(tracklet)
    for tracklets in people.values():
        person = tracklets[0].person
        views = {tracklet.view for tracklet in tracklets}
        if len(tracklets) == 1:
            problems.add("one tracklet", f"identity {person}")
        if has_both_views and len(views) == 1:
            problems.add("one view", f"identity {person}: only {views.pop()}")
        if len(tracklets) < num_instances:
            problems.add("few tracklets", f"identity {person}: {len(tracklets)}")


def _find_unmatched(case: Case) -> Counter[tuple[int, str | int]]:
    """Count the queries of each identity, pid and ``person``, that have no match in the gallery."""
    cameras: dict[int, set[int]] = defaultdict(set)  # of each identity in the gallery
    for tracklet in case.gallery:
        cameras[tracklet.pid].add(tracklet.camid)
    protocol = PROTOCOLS[case.protocol]
    unmatched: Counter[tuple[int, str | int]] = Counter()
    for query in case.query:
        camids = np.array(sorted(cameras[query.pid]), dtype=np.int64)
        if protocol.leaves_out(query.pid, query.camid, np.full_like(camids, query.pid), camids).all():
            unmatched[query.pid, query.person] += 1
    return unmatched


def _find_shared_frames(examined: Sequence[Examined], masked: Sequence[str]) -> Iterator[str]:
    """Yield a text for each pair of tracklets of different people that share files, byte for byte.

    It names the first shared frame and the number of the others. Two different ``masked`` splits are not compared:
    there, one person may have two numbers.
    """
    if not examined:
        return
    owners = np.repeat(np.arange(len(examined)), [each.num_frames for each in examined])  # (N,), tracklet of a frame
    frames = np.concatenate([np.arange(each.num_frames) for each in examined])  # (N,), numbers within the tracklets
    digests = np.concatenate([each.digests for each in examined])  # (N,)
    people = np.array([each.tracklet.pid for each in examined])[owners]  # (N,)
    numbering = {split: number for number, split in enumerate(masked, 1)}  # 0: as annotated
    numberings = np.array([numbering.get(each.split, 0) for each in examined])[owners]  # (N,)
    order = np.lexsort((people, numberings, digests))  # equal files become neighbours, those of one person too
    same_file = (digests[order][1:] == digests[order][:-1]) & (digests[order][1:] != 0)
    before, after = numberings[order][:-1], numberings[order][1:]
    differs = np.where(before == after, people[order][1:] != people[order][:-1], before == 0)
    places = np.flatnonzero(same_file & differs)
    pairs = np.stack([owners[order[places]], owners[order[places + 1]]], axis=1)
    _, first, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    for place, count in zip(places[first], counts, strict=True):
        paths = [examined[owners[frame]].tracklet.frame_paths[int(frames[frame])] for frame in order[place : place + 2]]
        yield " and ".join(paths) + (f", and {count - 1} more of these tracklets" if count > 1 else "")
