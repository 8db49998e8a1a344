"""The data doctor: what is in a copy of a data set, what is wrong with it, and whether training can start.

All problems are collected, where the loader would stop at the first; then the loader itself is tried. The folders of
AG-VPReID and DetReIDX are walked; of other data sets the records that their loader gives are examined.
"""

import argparse
import json
import logging
import os
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from yacs.config import CfgNode

from configs import get_cfg
from datasets import Benchmark, make_dataset, make_train_loader
from datasets.attributes import AGVPREID_SCHEME, AttributeScheme, read_attributes
from datasets.benchmarks import agvpreid, detreidx, g2avreid, ilidsvid, lsvid, mars
from datasets.benchmarks.case_folders import FolderLayout
from datasets.doctor.tracklet_checks import ExaminedTracklet, FolderJob, RecordJob, examine
from datasets.storage.listing import find_tracklet_folders
from utils.metrics import CROSS_CAMERA, PROTOCOLS, Protocol
from utils.unknown import UNKNOWN

logger = logging.getLogger(__name__)

BLOCKING, WARNING, REMARK = "blocking", "warning", "remark"
LEVELS = {BLOCKING: "Blocking problems", WARNING: "Warnings", REMARK: "Remarks"}
CONSOLE_EXAMPLES = 5  # of each finding; the JSON file has all
INTERRUPTED = 130
LAYOUTS = {"agvpreid": agvpreid.LAYOUT, "detreidx": detreidx.LAYOUT}  # data sets whose folders are walked
PUBLISHED = {
    "agvpreid": {**agvpreid.PUBLISHED, **agvpreid.PUBLISHED_AT_LEAST},
    "g2avreid": g2avreid.PUBLISHED,
    "ilidsvid": ilidsvid.PUBLISHED,
    "lsvid": lsvid.PUBLISHED,
    "mars": mars.PUBLISHED,
}

FAULTS = ("missing frame", "empty frame", "unreadable frame")  # checks that say a frame cannot be used

# Everything that can be found: how bad it is, and what it means.
CHECKS: dict[str, tuple[str, str]] = {
    "missing folder": (BLOCKING, "the layout needs it"),
    "unreachable folder": (BLOCKING, "it cannot be listed"),
    "identity folder": (BLOCKING, "identities must be distinct numbers with tracklet folders"),
    "empty folder": (BLOCKING, "a tracklet without frames stops the loader"),
    "frame name": (BLOCKING, "outside the grammar of the data set that DATASETS.NAMES says this is"),
    "several cameras": (BLOCKING, "a tracklet comes from one camera"),
    "unknown camera": (BLOCKING, "a number that the data set does not have"),
    "no readable frame": (BLOCKING, "training stops when it draws such a tracklet"),
    "too many bad frames": (BLOCKING, "training stops: repair the copy, or raise DATALOADER.MAX_BAD_FRACTION"),
    "attribute table": (BLOCKING, "the loader cannot read it"),
    "loader": (BLOCKING, "what the loader says"),
    "worker": (BLOCKING, "a decoding process died: too little memory, or a file that crashes the decoder"),
    "batches": (BLOCKING, "the config's P x K does not fit"),
    "missing frame": (WARNING, "listed, but not there; the nearest readable frame takes its place"),
    "empty frame": (WARNING, "0 bytes; the nearest readable frame takes its place"),
    "unreadable frame": (WARNING, "cannot be decoded to its end; the nearest readable frame takes its place"),
    "probably too many bad frames": (
        WARNING,
        "by the sample; beyond DATALOADER.MAX_BAD_FRACTION training stops",
    ),
    "repeated frame": (WARNING, "the same bytes twice in a tracklet"),
    "frame of two people": (WARNING, "the same bytes under different identities"),
    "people in train and test": (WARNING, "scores mean little"),
    "attribute code": (WARNING, "read as unknown"),
    "people without attributes": (WARNING, "all their attributes are unknown"),
    "other view": (WARNING, "a tracklet on the wrong side of its case"),
    "altitude": (WARNING, "not one known altitude: it counts as unknown"),
    "query without match": (WARNING, "no gallery tracklet that the protocol lets count"),
    "query in its gallery": (WARNING, "the same identity and name on both sides: such a query may find itself"),
    "short tracklet": (WARNING, "fewer frames than INPUT.SEQ_LEN: frames repeat in every clip"),
    "one tracklet": (WARNING, "a training identity without a second tracklet to match"),
    "one view": (WARNING, "a training identity that only one of ground and air has seen"),
    "camera only in test": (WARNING, "training never saw it: no camera embedding"),
    "masked identities": (REMARK, "a challenge's copy: it can be ranked and submitted, but not scored"),
    "masked frame name": (REMARK, "outside the grammar, as masked copies may be: the camera is unknown"),
    "few tracklets": (REMARK, "fewer tracklets than DATALOADER.NUM_INSTANCE: they repeat in a batch"),
    "missing direction": (REMARK, "the case is left out"),
    "no attribute table": (REMARK, "only visual results are reported"),
    "stray file": (REMARK, "not read"),
    "published counts": (REMARK, "copies differ; those of AG-VPReID are of the challenge's"),
    "loader's remark": (REMARK, "what the loader logs"),
}

EPILOG = """\
examples:
  python -m tools.check_dataset DATASETS.ROOT_DIR /data/AG-VPReID
  python -m tools.check_dataset --sample 4 --json check.json DATASETS.ROOT_DIR /data/AG-VPReID
  python -m tools.check_dataset --config_file configs/xtfclip_mars.yml DATASETS.ROOT_DIR /data/MARS

exit status: 0 training can start (whatever the warnings), 1 it cannot, 130 interrupted: what was found so far is
reported.
"""


@dataclass
class Report:
    """Everything found.

    Attributes:
        dataset: DATASETS.NAMES.
        root: DATASETS.ROOT_DIR.
        findings: Texts by check, a key of ``CHECKS``.
        tracklets: What was examined.
        attributes: For each split with attributes: the number of rows (of its table, or else tracklets that have them),
            of people, and of people with a known code by column.
        published: Published counts by name.
        not_checked: In words.
        epoch: Estimated times, and what they were computed from; None when not known.
        complete: Whether it was not interrupted.
    """

    dataset: str
    root: str
    findings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tracklets: list[ExaminedTracklet] = field(default_factory=list)
    attributes: dict[str, dict] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    not_checked: list[str] = field(default_factory=list)
    epoch: dict[str, float] | None = None
    complete: bool = True

    def add(self, check: str, *texts: str) -> None:
        """Note findings of a check."""
        if texts:
            self.findings[check] += texts

    def of_level(self, level: str) -> dict[str, list[str]]:
        """Findings of a level, in the order of ``CHECKS``."""
        return {check: self.findings[check] for check in CHECKS if CHECKS[check][0] == level and check in self.findings}

    @property
    def can_train(self) -> bool | None:
        """Whether training can start; None when an interruption left that open."""
        if self.of_level(BLOCKING):
            return False
        return True if self.complete else None

    @property
    def masked_cases(self) -> Sequence[str]:
        """Names of the cases whose test people are numbered anew on each side."""
        return self.findings.get("masked identities", ())

    def splits(self) -> dict[str, list[ExaminedTracklet]]:
        """Tracklets by split, in the order found."""
        splits: dict[str, list[ExaminedTracklet]] = {}
        for tracklet in self.tracklets:
            splits.setdefault(tracklet.split, []).append(tracklet)
        return splits


def check_dataset(cfg: CfgNode, sample: int = 0, num_workers: int = 1, progress: bool = False) -> Report:
    """Examine the data set that a config names.

    Args:
        cfg: The config.
        sample: Frames to decode of each tracklet; 0 for all.
        num_workers: Processes that decode; 1 decodes in this one.
        progress: Show a progress bar.
    Returns:
        What was found; after Ctrl-C what was found until then.
    """
    report = Report(cfg.DATASETS.NAMES, cfg.DATASETS.ROOT_DIR, published=PUBLISHED.get(cfg.DATASETS.NAMES, {}))
    layout = LAYOUTS.get(report.dataset)
    try:
        jobs: list[FolderJob | RecordJob] = []
        if layout is not None:
            jobs += _walk(layout, Path(report.root), cfg.DATASETS.IDENTITIES_MASKED, report)
        dataset = _try_loader(cfg, report, quiet=layout is not None)
        if dataset is not None:
            records = list(_list_records(dataset))
            if layout is None:
                jobs += records
                if masked := [case.name for case in dataset.cases.values() if case.identities_masked]:
                    report.add("masked identities", *masked)
            if layout is not None and not layout.table_folder:
                _count_codes(dataset.scheme, records, report)
        num_batches = _try_batches(cfg, dataset, jobs, report)
        examine_one = partial(examine, size=cfg.INPUT.SIZE_TRAIN, sample=sample)
        with tqdm(total=len(jobs), unit="tracklet", disable=not progress) as bar:
            for tracklet in _run(examine_one, jobs, num_workers):
                report.tracklets.append(tracklet)
                for problem in tracklet.problems:
                    report.add(problem.check, problem.text)
                bar.update()
        _check_whole(cfg, report, _choose_protocol(cfg, dataset))
        if report.dataset == "agvpreid":
            _compare_counts(report)
        report.epoch = _estimate_epoch(cfg, report, num_batches)
    except BrokenProcessPool as error:
        report.add("worker", f"{error} After {len(report.tracklets)} tracklets; --workers 1 tells which.")
        report.complete = False
    except KeyboardInterrupt:
        report.complete = False
    if not report.complete:
        report.not_checked.append("everything after the interruption, and what needs the whole tree")
    _note_unchecked(report, sample)
    return report


def _walk(layout: FolderLayout, root: Path, identities_masked: bool, report: Report) -> Iterator[FolderJob]:
    """Tracklet folders of a tree, with everything that is wrong above them."""
    if not root.is_dir():
        report.add("missing folder", str(root))
        return
    splits = layout.splits()
    cases = [split for split in splits if split != "train"]
    present = {split.split("/")[0] for split in cases if (root / split).parent.is_dir()}
    if not present:
        report.add("missing folder", *sorted({str((root / split).parent) for split in cases}))
    for folder in sorted({split.split("/")[0] for split in cases} - present) if present else ():
        report.add("missing direction", str(root / folder))
    found = {}
    tolerant: set[str] = set()  # cases in which the loader accepts frame names outside the grammar
    for split in splits:
        if split != "train" and split.split("/")[0] not in present:
            continue
        if not (root / split).is_dir():
            report.add("missing folder", str(root / split))
            continue
        try:
            found[split], problems = find_tracklet_folders(root / split)
            report.add("identity folder", *problems)
        except OSError as error:
            report.add("unreachable folder", f"{error.filename or root / split}: {error.strerror}")
    for case in sorted(present):
        sides = {view: found.get(split, []) for split, view in splits.items() if split.startswith(f"{case}/")}
        names = {view: [folder.name for folder in folders] for view, folders in sides.items()}
        recognised = all(sides.values()) and layout.are_masked(names)
        if recognised:
            tolerant.add(case)
        if recognised or identities_masked:
            report.add("masked identities", case)
    for split, folders in found.items():
        if layout.table_folder:
            _check_table(layout.attribute_table(root, split), split, {folder.pid for folder in folders}, report)
        for folder in folders:
            yield FolderJob(split, folder, layout.parse_sighting, splits[split], split.split("/")[0] in tolerant)


def _check_table(path: Path, split: str, pids: set[int], report: Report) -> None:
    if not path.is_file():
        report.add("no attribute table", str(path))
        return
    with _captured_warnings() as messages:
        try:
            table = read_attributes(path)
        except (OSError, ValueError) as error:
            report.add("attribute table", str(error))
            return
    report.add("attribute code", *messages)
    report.add("people without attributes", *(f"{split}: identity {pid}" for pid in sorted(pids - table.keys())))
    codes = {pid: [table[pid]] for pid in pids & table.keys()}
    report.attributes[split] = {"rows": len(table), **_count_known(AGVPREID_SCHEME, codes)}


def _count_codes(scheme: AttributeScheme, records: Iterable[RecordJob], report: Report) -> None:
    """Attributes of a data set that keeps them with its tracklets."""
    splits: dict[str, dict[int, list[tuple[int, ...]]]] = {}  # codes by split and person
    for record in records:
        if (codes := record.tracklet.attributes) is not None:
            splits.setdefault(record.split, {}).setdefault(record.tracklet.pid, []).append(codes)
    for split, people in splits.items():
        report.attributes[split] = {"rows": sum(map(len, people.values())), **_count_known(scheme, people)}


def _count_known(scheme: AttributeScheme, codes: dict[int, list[tuple[int, ...]]]) -> dict:
    """How many people there are, and of how many a known code, given the codes of each person."""
    known = {
        column: sum(any(row[place] != unknown for row in rows) for rows in codes.values())
        for place, (column, unknown) in enumerate(zip(*scheme, strict=True))
    }
    return {"people": len(codes), "people_with_known_code": known}


def _try_loader(cfg: CfgNode, report: Report, quiet: bool) -> Benchmark | None:
    """Build the data set as the commands do; ``quiet`` drops its remarks, which the walk has found already."""
    with _captured_warnings() as messages:
        try:
            return make_dataset(cfg)
        except (OSError, ValueError, TypeError) as error:
            report.add("loader", str(error))
            return None
        finally:
            if not quiet:
                report.add("loader's remark", *messages)


def _try_batches(cfg: CfgNode, dataset: Benchmark | None, jobs: Sequence, report: Report) -> int:
    """Batches of an epoch, as training draws them; 0 when it cannot."""
    if dataset is not None:
        cfg = cfg.clone()
        cfg.defrost()
        # Nothing is loaded; torch warns of many workers, and the folder of a cache would be made.
        cfg.DATALOADER.NUM_WORKERS, cfg.DATALOADER.CACHE_DIR = 0, ""
        try:
            return len(make_train_loader(cfg, dataset).batch_sampler)
        except ValueError as error:
            report.add("batches", str(error))
            return 0
    num_people = len({job.folder.pid for job in jobs if job.split == "train"})
    wanted = cfg.SOLVER.STAGE2.IMS_PER_BATCH // cfg.DATALOADER.NUM_INSTANCE
    if jobs and num_people < wanted:
        report.add(
            "batches",
            f"SOLVER.STAGE2.IMS_PER_BATCH / DATALOADER.NUM_INSTANCE = {wanted} identities a batch, but training has "
            f"only {num_people}.",
        )
    return 0


def _list_records(dataset: Benchmark) -> Iterator[RecordJob]:
    for tracklet in dataset.train:
        yield RecordJob("train", tracklet)
    for case in dataset.cases.values():
        for tracklet in case.query:
            yield RecordJob(f"{case.name}/query", tracklet)
        for tracklet in case.gallery:
            yield RecordJob(f"{case.name}/gallery", tracklet)


def _run(function: Callable, jobs: Sequence, num_workers: int) -> Iterator[ExaminedTracklet]:
    """Results in the order of the jobs."""
    if num_workers <= 1:
        yield from map(function, jobs)
        return
    pool = ProcessPoolExecutor(num_workers, initializer=_start_worker)
    try:
        yield from pool.map(function, jobs)  # one by one: an interruption waits for the tracklets under way
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends the others
    torch.set_num_threads(1)


@contextmanager
def _captured_warnings() -> Iterator[list[str]]:
    """What ``datasets`` logs as a warning, kept from the console."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    source = logging.getLogger("datasets")
    source.addHandler(handler)
    source.propagate = False
    try:
        yield messages
    finally:
        source.propagate = True
        source.removeHandler(handler)


def _choose_protocol(cfg: CfgNode, dataset: Benchmark | None) -> Protocol:
    """The rules that the data set would be scored by."""
    if dataset is not None:
        return PROTOCOLS[next(iter(dataset.cases.values())).protocol]
    return PROTOCOLS[cfg.TEST.PROTOCOL or CROSS_CAMERA.name]


def _check_whole(cfg: CfgNode, report: Report, protocol: Protocol) -> None:
    """What only all tracklets together can tell."""
    splits = report.splits()
    train = splits.pop("train", [])
    test = [tracklet for tracklets in splits.values() for tracklet in tracklets]
    known = {tracklet.pid for tracklet in test if tracklet.case not in report.masked_cases}
    overlap = {tracklet.pid for tracklet in train} & known
    report.add("people in train and test", *(f"identity {pid}" for pid in sorted(overlap)))
    report.add(
        "short tracklet",
        *(
            f"{tracklet.split}: identity {tracklet.pid}, {tracklet.name}: {tracklet.num_frames} frames"
            for tracklet in report.tracklets
            if 0 < tracklet.num_frames < cfg.INPUT.SEQ_LEN
        ),
    )
    _check_bad_fraction(cfg.DATALOADER.MAX_BAD_FRACTION, train, report)
    cameras = {tracklet.camid for tracklet in train} | {UNKNOWN}
    strangers = Counter(tracklet.camid for tracklet in test if tracklet.camid not in cameras)
    report.add("camera only in test", *(f"camera {camid}: {strangers[camid]} tracklets" for camid in sorted(strangers)))

    has_both_views = len({tracklet.view for tracklet in train} - {None}) > 1
    people: dict[int, list[ExaminedTracklet]] = {}
    for tracklet in train:
        people.setdefault(tracklet.pid, []).append(tracklet)
    for pid, tracklets in people.items():
        views = {tracklet.view for tracklet in tracklets} - {None}
        if len(tracklets) == 1:
            report.add("one tracklet", f"identity {pid}")
        if has_both_views and len(views) == 1:
            report.add("one view", f"identity {pid}: only {views.pop()}")
        if len(tracklets) < cfg.DATALOADER.NUM_INSTANCE:
            report.add("few tracklets", f"identity {pid}: {len(tracklets)}")
    _check_matches(splits, report, protocol)
    report.add("frame of two people", *_find_shared_frames(report))


def _check_bad_fraction(limit: float, train: list[ExaminedTracklet], report: Report) -> None:
    """Whether training would stop. CLIP memory comes first and reads every training frame, so their share decides.

    It reads the frames of a short last clip again, so that very close to the limit it may decide otherwise.
    """
    num_frames = sum(tracklet.num_frames for tracklet in train)
    faults = Counter(problem.check for tracklet in train for problem in tracklet.problems if problem.check in FAULTS)
    num_decoded = sum(len(tracklet.frames.digests) for tracklet in train)
    num_left = num_frames - num_decoded - faults.total()
    undecodable = faults["unreadable frame"] / max(1, num_decoded + faults["unreadable frame"])
    expected = faults.total() + num_left * undecodable
    if expected <= limit * num_frames:
        return
    certain = faults.total() > limit * num_frames
    report.add(
        "too many bad frames" if certain else "probably too many bad frames",
        f"{faults.total() if certain else f'about {expected:.0f}'} of {num_frames} training frames cannot be used, "
        f"{100 * expected / num_frames:.3g} %; the limit is {100 * limit:g} %",
    )


def _check_matches(splits: dict[str, list[ExaminedTracklet]], report: Report, protocol: Protocol) -> None:
    for split, queries in splits.items():
        case, side = split.split("/")
        if side != "query" or case in report.masked_cases:
            continue
        cameras: dict[int, set[int]] = {}
        gallery = splits.get(f"{case}/gallery", ())
        for tracklet in gallery:
            cameras.setdefault(tracklet.pid, set()).add(tracklet.camid)
        if not protocol.leave_out_same_camera:
            keys = {(tracklet.pid, tracklet.name) for tracklet in gallery}
            same = (query for query in queries if (query.pid, query.name) in keys)
            report.add("query in its gallery", *(f"{split}: identity {query.pid}, {query.name}" for query in same))
        alone = Counter(
            query.pid
            for query in queries
            if not cameras.get(query.pid, set()) - ({query.camid} if protocol.leave_out_same_camera else set())
        )
        report.add("query without match", *(f"{split}: identity {pid}, {alone[pid]} queries" for pid in sorted(alone)))


def _find_shared_frames(report: Report) -> Iterator[str]:
    """Pairs of tracklets of different people that share files, byte for byte: how many, and the first.

    Test people whose identities are masked are not compared with those of another split: their numbers mean nothing
    there.
    """
    tracklets = [tracklet for tracklet in report.tracklets if len(tracklet.frames.digests)]
    if not tracklets:
        return
    masked_split = [tracklet.split if tracklet.case in report.masked_cases else "" for tracklet in tracklets]
    keys = [(split, tracklet.pid) for split, tracklet in zip(masked_split, tracklets, strict=True)]
    number_of = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    sizes = [len(tracklet.frames.digests) for tracklet in tracklets]
    digests = np.concatenate([tracklet.frames.digests for tracklet in tracklets])
    owners = np.repeat(np.arange(len(tracklets)), sizes)
    people = np.array([number_of[key] for key in keys])[owners]
    indices = np.concatenate([tracklet.frames.indices for tracklet in tracklets])
    order = np.lexsort((people, digests))
    same_file = digests[order][1:] == digests[order][:-1]
    places = np.flatnonzero(same_file & (people[order][1:] != people[order][:-1]))
    pairs = np.stack([owners[order[places]], owners[order[places + 1]]], axis=1)
    _, first, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    for place, count in zip(places[first], counts, strict=True):
        one, other = order[place : place + 2]
        splits = {masked_split[owners[one]], masked_split[owners[other]]}
        if len(splits) > 1 and "" not in splits:
            continue
        one, other = (tracklets[owners[i]].frame_path(indices[i]) for i in (one, other))
        yield f"{one} and {other}" + (f", and {count - 1} more of these tracklets" if count > 1 else "")


def _compare_counts(report: Report) -> None:
    counts = {}
    for split, tracklets in report.splits().items():
        counts[f"{split} identities"] = len({tracklet.pid for tracklet in tracklets})
        counts[f"{split} tracklets"] = len(tracklets)
    for name, number in report.published.items():
        if name not in counts:
            continue
        at_least = name in agvpreid.PUBLISHED_AT_LEAST
        if counts[name] < number or (counts[name] > number and not at_least):
            bound = "at least " if at_least else ""
            report.add("published counts", f"{name}: {counts[name]} instead of {bound}{number}")


def _estimate_epoch(cfg: CfgNode, report: Report, num_batches: int) -> dict[str, float] | None:
    """Time that decoding takes: of an epoch, and of CLIP memory, which reads every training frame once."""
    num_decoded = sum(len(tracklet.frames.digests) for tracklet in report.tracklets)
    seconds = sum(tracklet.frames.seconds for tracklet in report.tracklets)
    if not num_decoded or not num_batches or seconds <= 0:
        return None
    workers = max(1, cfg.DATALOADER.NUM_WORKERS)
    rate = num_decoded / seconds
    frames = num_batches * cfg.SOLVER.STAGE2.IMS_PER_BATCH * cfg.INPUT.SEQ_LEN
    all_frames = sum(tracklet.num_frames for tracklet in report.tracklets if tracklet.split == "train")
    return {
        "frames_decoded": num_decoded,
        "frames_per_second_per_core": rate,
        "workers": workers,
        "cores": _count_cores(),
        "batches_per_epoch": num_batches,
        "frames_per_epoch": frames,
        "epoch_seconds": frames / (rate * workers),
        "memory_frames": all_frames,
        "memory_seconds": all_frames / (rate * workers),
    }


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _note_unchecked(report: Report, sample: int) -> None:
    looked_at = sum(
        len(tracklet.frames.digests) + sum(problem.check in FAULTS for problem in tracklet.problems)
        for tracklet in report.tracklets
    )
    if rest := sum(tracklet.num_frames for tracklet in report.tracklets) - looked_at:
        report.not_checked.append(
            f"whether {rest} frames can be decoded or are repeated (--sample {sample}); they are there and not empty"
        )
    if report.dataset not in LAYOUTS:
        report.not_checked.append("files that the loader does not read: this data set's folders are not walked")


def format_report(report: Report) -> str:
    """The report for people."""
    lines = [f"{report.dataset} in {report.root}", "", *_format_counts(report)]
    for level, title in LEVELS.items():
        findings = report.of_level(level)
        if findings:
            lines += ["", f"{title}:"]
        for check, texts in findings.items():
            lines.append(f"  {check} ({len(texts)}): {CHECKS[check][1]}")
            lines += [f"    {text}" for text in texts[:CONSOLE_EXAMPLES]]
            if len(texts) > CONSOLE_EXAMPLES:
                lines.append(f"    ... and {len(texts) - CONSOLE_EXAMPLES} more")
    lines += ["", *_format_epoch(report)] if report.epoch else []
    lines += ["", "Not checked:", *(f"  {text}" for text in report.not_checked)] if report.not_checked else []
    return "\n".join([*lines, "", _format_verdict(report)])


def _format_counts(report: Report) -> Iterable[str]:
    splits = report.splits()
    width = max([len("split"), *map(len, splits)])
    yield f"{'split':<{width}}  {'people':>15}  {'tracklets':>15}  {'frames':>9}  tracklets by camera; by altitude"
    for split, tracklets in splits.items():
        counts = _count(tracklets)
        people = _beside_published(report, f"{split} identities", counts["people"])
        number = _beside_published(report, f"{split} tracklets", counts["tracklets"])
        parts = ", ".join(f"{'?' if camid < 0 else f'C{camid}'} {n}" for camid, n in counts["cameras"].items())
        if counts["altitudes"]:
            parts += "; " + ", ".join(f"{metres} m {n}" for metres, n in counts["altitudes"].items())
        if counts["people_on_several_days"]:
            parts += f"; {counts['people_on_several_days']} people on several days"
        yield f"{split:<{width}}  {people:>15}  {number:>15}  {counts['frames']:9d}  {parts}"
    for split, table in report.attributes.items():
        known = {column: number for column, number in table["people_with_known_code"].items() if number}
        yield f"attributes of {split}: {table['rows']} rows; known of {table['people']} people: " + (
            ", ".join(f"{column} {number}" for column, number in known.items()) or "nothing"
        )
    if report.dataset == "agvpreid":
        yield "In brackets: published, of the challenge's copy. As a whole: " + "; ".join(
            f"{version}, {totals['identities']} people, {totals['tracklets']} tracklets, about {totals['frames']} "
            f"frames, {'/'.join(map(str, totals['altitudes']))} m"
            for version, totals in agvpreid.PUBLISHED_TOTALS.items()
        )
    elif report.published:
        yield "published: " + ", ".join(f"{name} {number}" for name, number in report.published.items())


def _beside_published(report: Report, name: str, count: int) -> str:
    if report.dataset != "agvpreid" or name not in report.published:
        return str(count)
    return f"{count} [{'>=' * (name in agvpreid.PUBLISHED_AT_LEAST)}{report.published[name]}]"


def _count(tracklets: Sequence[ExaminedTracklet]) -> dict:
    cameras = Counter(tracklet.camid for tracklet in tracklets)
    altitudes = Counter(tracklet.altitude for tracklet in tracklets if tracklet.altitude is not None)
    days: dict[int, set[int]] = {}
    for tracklet in tracklets:
        if tracklet.day is not None:
            days.setdefault(tracklet.pid, set()).add(tracklet.day)
    return {
        "people": len({tracklet.pid for tracklet in tracklets}),
        "tracklets": len(tracklets),
        "frames": sum(tracklet.num_frames for tracklet in tracklets),
        "cameras": dict(sorted(cameras.items())),
        "altitudes": dict(sorted(altitudes.items())),
        "people_on_several_days": sum(len(of_person) > 1 for of_person in days.values()),
    }


def _format_epoch(report: Report) -> Iterable[str]:
    epoch = report.epoch
    speed = f"{epoch['frames_per_second_per_core']:.0f} frames/s per core x {epoch['workers']} workers"
    yield (
        f"Estimated decoding time of an epoch: {_duration(epoch['epoch_seconds'])} = {epoch['frames_per_epoch']} "
        f"frames / ({speed}); CLIP memory, once: {_duration(epoch['memory_seconds'])} "
        f"({epoch['memory_frames']} frames)."
    )
    if epoch["workers"] > epoch["cores"]:
        longer = epoch["epoch_seconds"] * epoch["workers"] / epoch["cores"]
        yield (
            f"But this machine has {epoch['cores']} cores for DATALOADER.NUM_WORKERS {epoch['workers']}: expect "
            f"{_duration(longer)}."
        )
    yield (
        f"The rate was measured on {epoch['frames_decoded']} frames, beside everything else that ran on this machine; "
        "the network's time comes on top."
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _format_verdict(report: Report) -> str:
    num_blocking = sum(map(len, report.of_level(BLOCKING).values()))
    state = "" if report.complete else "Interrupted. "
    if num_blocking:
        return f"{state}Training cannot start: {num_blocking} blocking problem(s)."
    if not report.complete:
        return f"{state}No blocking problem so far."
    num_warnings = sum(map(len, report.of_level(WARNING).values()))
    return f"Training can start: no blocking problem, {num_warnings} warning(s)."


def to_json(report: Report) -> dict:
    """The report for machines; findings are complete."""
    return {
        "dataset": report.dataset,
        "root": report.root,
        "can_train": report.can_train,
        "complete": report.complete,
        "splits": {split: _count(tracklets) for split, tracklets in report.splits().items()},
        "attributes": report.attributes,
        "published": report.published,
        "findings": [
            {
                "check": check,
                "level": CHECKS[check][0],
                "meaning": CHECKS[check][1],
                "count": len(texts),
                "places": texts,
            }
            for check, texts in sorted(report.findings.items(), key=lambda item: list(CHECKS).index(item[0]))
        ],
        "epoch": report.epoch,
        "not_checked": report.not_checked,
    }


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Check a copy of a data set: counts, frames, names, attributes, and whether training can start.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config_file", help="YAML, as for train_main.py; default: the winner's recipe")
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="decode only N frames of each tracklet; default: all"
    )
    parser.add_argument("--workers", type=int, default=_count_cores(), help="processes that decode (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the report here too, with every finding")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")
    args = parser.parse_args(argv)
    if args.sample < 0 or args.workers < 1:
        parser.error("--sample must be at least 0 and --workers at least 1.")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Check, log, and write if asked to; returns the exit status."""
    args = parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        cfg = get_cfg(args.config_file, args.opts)
        report = check_dataset(cfg, args.sample, args.workers, progress=True)
        logger.info("%s", format_report(report))
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(to_json(report), indent=2) + "\n", encoding="utf-8")
    except (OSError, ValueError, TypeError) as error:
        logger.error("%s", error)
        return 1
    if not report.complete and not report.findings.get("worker"):
        return INTERRUPTED
    return 0 if report.can_train else 1


if __name__ == "__main__":
    sys.exit(main())
