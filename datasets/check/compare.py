"""Compare all tracklets: people and cameras of the splits, matches, bad frames, and frames of two people."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from yacs.config import CfgNode

from utils.metrics import PROTOCOLS, Protocol
from utils.unknown import UNKNOWN

from ..problems import Findings
from ..tracklet import Case, Tracklet
from .report import Report


def compare_tracklets(cfg: CfgNode, report: Report) -> None:
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
    return Counter(query.pid for query in case.query if not _has_match(query, cameras[query.pid], protocol))


def _has_match(query: Tracklet, cameras: set[int], protocol: Protocol) -> bool:
    """Return whether a tracklet of the query's identity, from one of these cameras, counts as a match."""
    camids = np.array(sorted(cameras), dtype=np.int64)
    return not protocol.leaves_out(query.pid, query.camid, np.full_like(camids, query.pid), camids).all()


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
