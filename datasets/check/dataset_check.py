"""The data check: it examines a copy of a data set and reports every problem, where a loader stops at the first.

It walks the folders of data sets that have a ``layout`` (``folder_checks``); of others, it takes the tracklets that the
loader returns (``loader_checks``). Worker processes then examine each tracklet (``tracklet_checks``). At the end, all
tracklets are compared (``split_checks``).
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import torch

from utils.metrics import PROTOCOLS, Protocol
from utils.progress import track

from ..build import DATASETS
from ..readers.benchmark import Benchmark
from .attribute_checks import count_attributes
from .findings import FRAME_FAULTS, EpochEstimate, ExaminedTracklet, Report
from .folder_checks import walk_folders
from .loader_checks import count_batches, list_records, read_dataset
from .settings import CheckSettings
from .split_checks import check_splits
from .tracklet_checks import FolderJob, RecordJob, examine

Job = FolderJob | RecordJob


def check_dataset(settings: CheckSettings, progress: bool = False) -> Report:
    """Examine a data set.

    Args:
        settings: What to check.
        progress: Whether to show a progress bar.
    Returns:
        Everything that was found; after Ctrl-C, everything that was found before.
    """
    report = Report(settings.dataset, settings.root)
    benchmark = DATASETS.get(settings.dataset)  # None for an unknown name, which the loader refuses
    if benchmark is not None:
        report.published = benchmark.published
    try:
        _run_checks(settings, benchmark, report, progress)
    except BrokenProcessPool as error:
        report.add("worker", f"{error} After {len(report.tracklets)} tracklets; --workers 1 shows which one is next.")
        report.complete = False
    except KeyboardInterrupt:
        report.complete = False
    _note_unchecked(settings.sample, benchmark is not None and benchmark.layout is not None, report)
    return report


def _run_checks(settings: CheckSettings, benchmark: type[Benchmark] | None, report: Report, progress: bool) -> None:
    layout = None if benchmark is None else benchmark.layout
    jobs: list[Job] = []
    if benchmark is not None and layout is not None:
        jobs += walk_folders(layout, benchmark.scheme, Path(settings.root), settings.identities_masked, report)
    dataset = read_dataset(settings, report, keep_remarks=layout is None)
    if dataset is not None and layout is None:
        jobs += list_records(dataset)
        count_attributes(dataset.scheme, list_records(dataset), report)
        if masked := [case.name for case in dataset.cases.values() if case.identities_masked]:
            report.add("masked identities", *masked)
    elif dataset is not None and layout is not None and not layout.table_folder:
        count_attributes(dataset.scheme, list_records(dataset), report)
    num_batches = count_batches(settings, dataset, jobs, report)
    examine_one = partial(examine, size=settings.size, sample=settings.sample)
    examined = _map_jobs(examine_one, jobs, settings.num_workers)
    for tracklet in track(examined, "checking", "tracklet", len(jobs), enabled=progress):
        report.tracklets.append(tracklet)
        for problem in tracklet.problems:
            report.add(problem.check, problem.text)
    check_splits(settings, _choose_protocol(settings, dataset), report)
    report.epoch = _estimate_epoch(settings, num_batches, report)


def _map_jobs(
    function: Callable[[Job], ExaminedTracklet], jobs: Sequence[Job], num_workers: int
) -> Iterator[ExaminedTracklet]:
    """Yield results in the order of the jobs, from ``num_workers`` processes; 1 stands for the calling one."""
    if num_workers <= 1:
        yield from map(function, jobs)
        return
    pool = ProcessPoolExecutor(num_workers, initializer=_start_worker)
    try:
        # Jobs are sent one by one: an interruption then waits only for the tracklets that are being examined.
        yield from pool.map(function, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends the others
    torch.set_num_threads(1)


def _choose_protocol(settings: CheckSettings, dataset: Benchmark | None) -> Protocol:
    """Return the rules by which the data set is scored."""
    if dataset is None:
        return PROTOCOLS[settings.protocol]
    return PROTOCOLS[next(iter(dataset.cases.values())).protocol]


def _estimate_epoch(settings: CheckSettings, num_batches: int, report: Report) -> EpochEstimate | None:
    """Estimate the time that decoding takes; None if nothing was decoded or no batches can be drawn."""
    num_decoded = sum(len(tracklet.frames.digests) for tracklet in report.tracklets)
    seconds = sum(tracklet.frames.seconds for tracklet in report.tracklets)
    if not num_decoded or not num_batches or seconds <= 0:
        return None
    workers = max(1, settings.loader_workers)
    rate = num_decoded / seconds
    num_frames = num_batches * settings.batch_size * settings.clip_length
    memory_frames = sum(tracklet.num_frames for tracklet in report.tracklets if tracklet.split == "train")
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


def count_cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _note_unchecked(sample: int, is_walked: bool, report: Report) -> None:
    """Say what the check left out; ``is_walked`` says whether it looked at all folders."""
    if not report.complete:
        report.not_checked.append("everything after the interruption, and what needs all tracklets")
    num_seen = sum(
        len(tracklet.frames.digests) + sum(problem.check in FRAME_FAULTS for problem in tracklet.problems)
        for tracklet in report.tracklets
    )
    if rest := sum(tracklet.num_frames for tracklet in report.tracklets) - num_seen:
        report.not_checked.append(
            f"whether {rest} frames can be decoded or are repeated (--sample {sample}); they exist and are not empty"
        )
    if not is_walked:
        report.not_checked.append("files that the loader does not read: the folders of this data set are not walked")
