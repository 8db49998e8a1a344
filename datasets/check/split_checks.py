"""Checks of all tracklets together: people and cameras of the splits, matches, bad and shared frames, counts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from utils.metrics import Protocol
from utils.unknown import UNKNOWN

from .findings import FRAME_FAULTS, ExaminedTracklet, Report
from .settings import CheckSettings
from .tracklet_checks import frame_path


def check_splits(settings: CheckSettings, protocol: Protocol, report: Report) -> None:
    """Run all checks of this module on the tracklets of a report, and add what they find.

    Args:
        settings: P x K, the clip length and the share of bad frames that training accepts.
        protocol: By which the data set is scored.
        report: Its tracklets are complete.
    """
    splits = report.splits()
    train = splits.pop("train", [])
    test = [tracklet for tracklets in splits.values() for tracklet in tracklets]
    _check_overlap(train, test, report)
    _check_lengths(settings.clip_length, report)
    _check_bad_fraction(settings.max_bad_fraction, train, report)
    _check_cameras(train, test, report)
    _check_people(settings.num_instances, train, report)
    _check_matches(splits, protocol, report)
    report.add("frame of two people", *_find_shared_frames(report))
    _compare_counts(report)


def _check_overlap(train: Sequence[ExaminedTracklet], test: Sequence[ExaminedTracklet], report: Report) -> None:
    """Find people that are in training and in test; masked identities cannot be compared."""
    known = {tracklet.pid for tracklet in test if tracklet.case not in report.masked_cases}
    overlap = {tracklet.pid for tracklet in train} & known
    report.add("people in train and test", *(f"identity {pid}" for pid in sorted(overlap)))


def _check_lengths(clip_length: int, report: Report) -> None:
    for tracklet in report.tracklets:
        if 0 < tracklet.num_frames < clip_length:
            place = f"{tracklet.split}: identity {tracklet.pid}, {tracklet.name}"
            report.add("short tracklet", f"{place}: {tracklet.num_frames} frames")


def _check_bad_fraction(limit: float, train: Sequence[ExaminedTracklet], report: Report) -> None:
    """Find out whether so many frames are bad that training would stop.

    CLIP memory is built first and reads every training frame, so their share decides. It reads the frames of a short
    last clip again: very close to the limit it may decide otherwise.
    """
    num_frames = sum(tracklet.num_frames for tracklet in train)
    faults = Counter(
        problem.check for tracklet in train for problem in tracklet.problems if problem.check in FRAME_FAULTS
    )
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


def _check_cameras(train: Sequence[ExaminedTracklet], test: Sequence[ExaminedTracklet], report: Report) -> None:
    cameras = {tracklet.camid for tracklet in train} | {UNKNOWN}
    unseen = Counter(tracklet.camid for tracklet in test if tracklet.camid not in cameras)
    report.add("camera only in test", *(f"camera {camid}: {unseen[camid]} tracklets" for camid in sorted(unseen)))


def _check_people(num_instances: int, train: Sequence[ExaminedTracklet], report: Report) -> None:
    """Find training people with few tracklets, or with one view where the data set has both."""
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
        if len(tracklets) < num_instances:
            report.add("few tracklets", f"identity {pid}: {len(tracklets)}")


def _check_matches(splits: Mapping[str, Sequence[ExaminedTracklet]], protocol: Protocol, report: Report) -> None:
    """Find queries without a match, and queries that may find themselves."""
    for split, queries in splits.items():
        case, side = split.split("/")
        if side != "query" or case in report.masked_cases:
            continue
        gallery = splits.get(f"{case}/gallery", ())
        cameras: dict[int, set[int]] = {}  # of each identity in the gallery
        for tracklet in gallery:
            cameras.setdefault(tracklet.pid, set()).add(tracklet.camid)
        if not protocol.leave_out_same_camera:
            keys = {(tracklet.pid, tracklet.name) for tracklet in gallery}
            same = (query for query in queries if (query.pid, query.name) in keys)
            report.add("query in its gallery", *(f"{split}: identity {query.pid}, {query.name}" for query in same))
        alone = Counter(query.pid for query in queries if not _has_match(query, cameras.get(query.pid), protocol))
        report.add("query without match", *(f"{split}: identity {pid}, {alone[pid]} queries" for pid in sorted(alone)))


def _has_match(query: ExaminedTracklet, cameras: set[int] | None, protocol: Protocol) -> bool:
    """Return whether a tracklet of the query's identity, from one of these cameras, counts as a match."""
    camids = np.array(sorted(cameras or ()), dtype=np.int64)
    return not protocol.leaves_out(query.pid, query.camid, np.full_like(camids, query.pid), camids).all()


def _find_shared_frames(report: Report) -> Iterator[str]:
    """Yield a text for each pair of tracklets of different people that share files, byte for byte.

    It names the first shared frame and the number of the others. Masked identities are not compared between test
    splits, where the same person may have different numbers.
    """
    tracklets = [tracklet for tracklet in report.tracklets if len(tracklet.frames.digests)]
    if not tracklets:
        return
    masked_split = [tracklet.split if tracklet.case in report.masked_cases else "" for tracklet in tracklets]
    keys = [(split, tracklet.pid) for split, tracklet in zip(masked_split, tracklets, strict=True)]
    number_of = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    sizes = [len(tracklet.frames.digests) for tracklet in tracklets]
    digests = np.concatenate([tracklet.frames.digests for tracklet in tracklets])  # (N,), of all frames
    indices = np.concatenate([tracklet.frames.indices for tracklet in tracklets])  # (N,)
    owners = np.repeat(np.arange(len(tracklets)), sizes)  # (N,), index of each frame's tracklet
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
        paths = [frame_path(tracklets[owners[frame]], indices[frame]) for frame in (one, other)]
        yield " and ".join(paths) + (f", and {count - 1} more of these tracklets" if count > 1 else "")


def _compare_counts(report: Report) -> None:
    """Compare the counts of identities and tracklets of each split with the published ones."""
    counts = {}
    for split, tracklets in report.splits().items():
        counts[f"{split} identities"] = len({tracklet.pid for tracklet in tracklets})
        counts[f"{split} tracklets"] = len(tracklets)
    differing = report.published.differing(counts)
    report.add("published counts", *(f"{name}: {counts[name]} instead of {differing[name]}" for name in differing))
