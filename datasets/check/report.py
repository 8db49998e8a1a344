"""How the data check says what it found: as text for people, and as JSON for programs."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from utils.tables import format_table
from utils.unknown import UNKNOWN

from ..readers.listing import printable
from .findings import BLOCKING, CHECKS, LEVELS, REMARK, WARNING, EpochEstimate, ExaminedTracklet, Report

TITLES = {BLOCKING: "Blocking problems", WARNING: "Warnings", REMARK: "Remarks"}
NUM_EXAMPLES = 5  # places that the text names for each check; the JSON file has all


@dataclass(frozen=True)
class SplitCounts:
    """What a split holds.

    Attributes:
        people: Identities.
        tracklets: Tracklets.
        frames: Images, readable or not.
        cameras: Tracklets by camera, -1 for unknown.
        altitudes: Tracklets by altitude in metres, where it is known.
        people_on_several_days: Identities that were recorded on more than one day.
    """

    people: int
    tracklets: int
    frames: int
    cameras: dict[int, int]
    altitudes: dict[int, int]
    people_on_several_days: int


def format_report(report: Report) -> str:
    """Write the report as text; the last line says whether training can start."""
    lines = [f"{report.dataset} in {printable(report.root)}", "", _format_splits(report), *_format_attributes(report)]
    lines += _format_published(report)
    for level in LEVELS:
        findings = report.of_level(level)
        if findings:
            lines += ["", f"{TITLES[level]}:"]
        for check, texts in findings.items():
            lines.append(f"  {check} ({len(texts)}): {CHECKS[check][1]}")
            lines += [f"    {text}" for text in texts[:NUM_EXAMPLES]]
            if len(texts) > NUM_EXAMPLES:
                lines.append(f"    ... and {len(texts) - NUM_EXAMPLES} more")
    if report.epoch is not None:
        lines += ["", *_format_epoch(report.epoch)]
    if report.not_checked:
        lines += ["", "Not checked:", *(f"  {text}" for text in report.not_checked)]
    return "\n".join([*lines, "", _format_verdict(report)])


def report_as_dict(report: Report) -> dict[str, Any]:
    """Return the report, with every finding, as a dict that ``json.dump`` takes."""
    return {
        "dataset": report.dataset,
        "root": printable(report.root),
        "can_train": report.can_train,
        "complete": report.complete,
        "splits": {split: asdict(_count(tracklets)) for split, tracklets in report.splits().items()},
        "attributes": {split: asdict(counts) for split, counts in report.attributes.items()},
        "published": dict(report.published.counts),
        "findings": [
            {"check": check, "level": level, "meaning": CHECKS[check][1], "count": len(texts), "places": texts}
            for level in LEVELS
            for check, texts in report.of_level(level).items()
        ],
        "epoch": None if report.epoch is None else asdict(report.epoch),
        "not_checked": report.not_checked,
    }


def _count(tracklets: Sequence[ExaminedTracklet]) -> SplitCounts:
    cameras = Counter(tracklet.camid for tracklet in tracklets)
    altitudes = Counter(tracklet.altitude for tracklet in tracklets if tracklet.altitude is not None)
    days: dict[int, set[int]] = {}
    for tracklet in tracklets:
        if tracklet.day is not None:
            days.setdefault(tracklet.pid, set()).add(tracklet.day)
    return SplitCounts(
        people=len({tracklet.pid for tracklet in tracklets}),
        tracklets=len(tracklets),
        frames=sum(tracklet.num_frames for tracklet in tracklets),
        cameras=dict(sorted(cameras.items())),
        altitudes=dict(sorted(altitudes.items())),
        people_on_several_days=sum(len(days_of_person) > 1 for days_of_person in days.values()),
    )


def _format_splits(report: Report) -> str:
    rows = []
    for split, tracklets in report.splits().items():
        counts = _count(tracklets)
        people = _beside_published(report, f"{split} identities", counts.people)
        number = _beside_published(report, f"{split} tracklets", counts.tracklets)
        details = ", ".join(f"{'?' if camid == UNKNOWN else f'C{camid}'} {n}" for camid, n in counts.cameras.items())
        if counts.altitudes:
            details += "; " + ", ".join(f"{metres} m {n}" for metres, n in counts.altitudes.items())
        if counts.people_on_several_days:
            details += f"; {counts.people_on_several_days} people on several days"
        rows.append([split, people, number, counts.frames, details])
    header = ["split", "people", "tracklets", "frames", "tracklets by camera; by altitude"]
    return format_table(header, rows, "<>>><")


def _beside_published(report: Report, name: str, count: int) -> str:
    if name not in report.published.counts:
        return str(count)
    bound = ">=" if name in report.published.lower_bounds else ""
    return f"{count} [{bound}{report.published.counts[name]}]"


def _format_attributes(report: Report) -> Iterator[str]:
    for split, counts in report.attributes.items():
        known = [f"{column} {number}" for column, number in counts.people_with_known_code.items() if number]
        yield (
            f"Attributes of {split}: {counts.rows} rows for {counts.people} people. People with a known code: "
            f"{', '.join(known) or 'none'}."
        )


def _format_published(report: Report) -> Iterator[str]:
    published = report.published
    in_table = {f"{split} {noun}" for split in report.splits() for noun in ("identities", "tracklets")}
    if published.counts.keys() & in_table:
        yield "Published counts are in brackets."
    if others := [f"{name} {number}" for name, number in published.counts.items() if name not in in_table]:
        yield f"Published counts: {', '.join(others)}."
    if published.remark:
        yield published.remark


def _format_epoch(epoch: EpochEstimate) -> Iterator[str]:
    yield (
        f"Decoding an epoch takes about {_format_duration(epoch.epoch_seconds)}: {epoch.frames_per_epoch} frames at "
        f"{epoch.frames_per_second_per_core:.0f} frames/s per core x {epoch.workers} workers. Building CLIP memory "
        f"decodes {epoch.memory_frames} frames once: {_format_duration(epoch.memory_seconds)}."
    )
    if epoch.workers > epoch.cores:
        longer = epoch.epoch_seconds * epoch.workers / epoch.cores
        yield (
            f"This machine has only {epoch.cores} cores for DATALOADER.NUM_WORKERS {epoch.workers}: expect "
            f"{_format_duration(longer)} for an epoch."
        )
    yield (
        f"The rate was measured on {epoch.frames_decoded} frames while other programs may have run; the time of the "
        "network comes on top."
    )


def _format_duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _format_verdict(report: Report) -> str:
    state = "" if report.complete else "The check was interrupted. "
    if blocking := report.of_level(BLOCKING):
        return f"{state}Training cannot start: {_count_kinds(blocking, 'blocking problem')}."
    if not report.complete:
        return f"{state}No blocking problem was found so far."
    return f"Training can start: no blocking problems, {_count_kinds(report.of_level(WARNING), 'warning')}."


def _count_kinds(findings: Mapping[str, Sequence[str]], noun: str) -> str:
    """Write how many checks found something, and in how many places: '3 kinds of warnings (214 places)'."""
    if not findings:
        return f"no {noun}s"
    num_places = sum(map(len, findings.values()))
    kinds = f"1 kind of {noun}" if len(findings) == 1 else f"{len(findings)} kinds of {noun}s"
    return f"{kinds} ({num_places} place{'s' if num_places > 1 else ''})"
