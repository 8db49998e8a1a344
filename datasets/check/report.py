"""What a data check found, as text for people and as JSON for programs."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from utils.progress import format_duration
from utils.tables import format_table
from utils.unknown import UNKNOWN

from ..problems import BLOCKING, CHECKS, LEVELS, REMARK, WARNING, Findings, printable
from ..readers.dataset import DataSet, PublishedCounts
from ..tracklet import Tracklet
from .frames import FrameResults

TITLES = {BLOCKING: "Blocking problems", WARNING: "Warnings", REMARK: "Remarks"}
NUM_EXAMPLES = 5  # places that the text names for each check; the JSON file has all


class Examined(NamedTuple):
    """A tracklet, its split, such as 'train' or 'case1_aerial_to_ground/query', and what was found in its frames."""

    split: str
    tracklet: Tracklet
    frames: FrameResults

    @property
    def num_frames(self) -> int:
        return len(self.tracklet.frame_paths)


@dataclass(frozen=True)
class EpochEstimate:
    """How long decoding takes, if every worker has a core, and what that was computed from; times are in seconds."""

    frames_decoded: int
    frames_per_second_per_core: float
    workers: int
    cores: int
    batches_per_epoch: int
    frames_per_epoch: int
    epoch_seconds: float
    memory_frames: int
    memory_seconds: float


@dataclass
class Report:
    """Everything that was found in a copy of a data set."""

    name: str  # DATASETS.NAMES
    root: str  # DATASETS.ROOT_DIR
    problems: Findings = field(default_factory=Findings)
    dataset: DataSet | None = None  # what was read; None if nothing could be
    examined: list[Examined] = field(default_factory=list)  # in the order of the splits
    not_checked: list[str] = field(default_factory=list)  # what was left out, in words
    epoch: EpochEstimate | None = None  # decoding times; None when not known
    complete: bool = True  # whether the check ran to its end

    @property
    def can_train(self) -> bool | None:
        """Whether training can start; None when an interrupted check found nothing that prevents it."""
        if self.problems.of_level(BLOCKING):
            return False
        return True if self.complete else None

    @property
    def published(self) -> PublishedCounts:
        """Published counts of the data set."""
        return PublishedCounts() if self.dataset is None else self.dataset.published

    def splits(self) -> dict[str, list[Tracklet]]:
        """Group the examined tracklets by split, in the order found."""
        splits: dict[str, list[Tracklet]] = defaultdict(list)
        for each in self.examined:
            splits[each.split].append(each.tracklet)
        return splits


def report_as_dict(report: Report) -> dict[str, Any]:
    """Return the report, with every finding, as a dict that ``json.dump`` takes."""
    return {
        "dataset": report.name,
        "root": printable(report.root),
        "can_train": report.can_train,
        "complete": report.complete,
        "splits": {split: count_split(tracklets) for split, tracklets in report.splits().items()},
        "attributes": count_attributes(report),
        "published": dict(report.published.counts),
        "findings": [
            {"check": check, "level": level, "meaning": CHECKS[check].meaning, "count": len(texts), "places": texts}
            for level in LEVELS
            for check, texts in report.problems.of_level(level).items()
        ],
        "epoch": None if report.epoch is None else asdict(report.epoch),
        "not_checked": report.not_checked,
    }


def count_split(tracklets: Sequence[Tracklet]) -> dict[str, Any]:
    """Count what a split holds: people, tracklets and frames, and tracklets by camera (-1: unknown) and altitude."""
    cameras = Counter(tracklet.camid for tracklet in tracklets)
    altitudes = Counter(tracklet.altitude for tracklet in tracklets if tracklet.altitude is not None)
    days = {(tracklet.pid, tracklet.day) for tracklet in tracklets if tracklet.day is not None}
    return {
        "people": len({tracklet.pid for tracklet in tracklets}),
        "tracklets": len(tracklets),
        "frames": sum(len(tracklet.frame_paths) for tracklet in tracklets),
        "cameras": dict(sorted(cameras.items())),
        "altitudes": dict(sorted(altitudes.items())),
        "people_on_several_days": sum(count > 1 for count in Counter(pid for pid, _ in days).values()),
    }


def count_attributes(report: Report) -> dict[str, Any]:
    """Count the tracklets and people that have attributes, and the people with a known code, by split and column."""
    if report.dataset is None or (scheme := report.dataset.scheme) is None:
        return {}
    counts: dict[str, Any] = {}
    for split, tracklets in report.splits().items():
        rows = [(each.pid, each.attributes) for each in tracklets if each.attributes is not None]
        known = {
            column: len({pid for pid, codes in rows if codes[place] != unknown})
            for place, (column, unknown) in enumerate(zip(*scheme, strict=True))
        }
        if rows:
            people = len({pid for pid, _ in rows})
            counts[split] = {"tracklets": len(rows), "people": people, "people_with_known_code": known}
    return counts


def format_report(report: Report) -> str:
    """Write the report as text; the last line says whether training can start."""
    lines = [f"{report.name} in {printable(report.root)}", "", _format_splits(report)]
    lines += [*_format_attributes(report), *_format_published(report)]
    for level in LEVELS:
        findings = report.problems.of_level(level)
        if findings:
            lines += ["", f"{TITLES[level]}:"]
        for check, texts in findings.items():
            lines.append(f"  {check} ({len(texts)}): {CHECKS[check].meaning}")
            lines += [f"    {text}" for text in texts[:NUM_EXAMPLES]]
            if len(texts) > NUM_EXAMPLES:
                lines.append(f"    ... and {len(texts) - NUM_EXAMPLES} more")
    if report.epoch is not None:
        lines += ["", *_format_epoch(report.epoch)]
    if report.not_checked:
        lines += ["", "Not checked:", *(f"  {text}" for text in report.not_checked)]
    return "\n".join([*lines, "", _format_verdict(report)])


def _format_splits(report: Report) -> str:
    rows = []
    for split, tracklets in report.splits().items():
        counts = count_split(tracklets)
        people = _beside_published(report.published, f"{split} identities", counts["people"])
        number = _beside_published(report.published, f"{split} tracklets", counts["tracklets"])
        details = ", ".join(f"{'?' if camid == UNKNOWN else f'C{camid}'} {n}" for camid, n in counts["cameras"].items())
        if counts["altitudes"]:
            details += "; " + ", ".join(f"{metres} m {n}" for metres, n in counts["altitudes"].items())
        if counts["people_on_several_days"]:
            details += f"; {counts['people_on_several_days']} people on several days"
        rows.append([split, people, number, counts["frames"], details])
    header = ["split", "people", "tracklets", "frames", "tracklets by camera; by altitude"]
    return format_table(header, rows, "<>>><")


def _beside_published(published: PublishedCounts, name: str, count: int) -> str:
    if name not in published.counts:
        return str(count)
    return f"{count} [{'>=' if name in published.lower_bounds else ''}{published.counts[name]}]"


def _format_attributes(report: Report) -> Iterator[str]:
    for split, counts in count_attributes(report).items():
        known = [f"{column} {number}" for column, number in counts["people_with_known_code"].items() if number]
        yield (
            f"Attributes of {split}: {counts['tracklets']} tracklets of {counts['people']} people. People with a known "
            f"code: {', '.join(known) or 'none'}."
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
        f"Decoding an epoch takes about {format_duration(epoch.epoch_seconds)}: {epoch.frames_per_epoch} frames at "
        f"{epoch.frames_per_second_per_core:.0f} frames/s per core x {epoch.workers} workers. Building CLIP memory "
        f"decodes {epoch.memory_frames} frames once: {format_duration(epoch.memory_seconds)}."
    )
    if epoch.workers > epoch.cores:
        longer = epoch.epoch_seconds * epoch.workers / epoch.cores
        yield (
            f"This machine has only {epoch.cores} cores for DATALOADER.NUM_WORKERS {epoch.workers}: expect "
            f"{format_duration(longer)} for an epoch."
        )
    yield (
        f"The rate was measured on {epoch.frames_decoded} frames while other programs may have run; the time of the "
        "network comes on top."
    )


def _format_verdict(report: Report) -> str:
    state = "" if report.complete else "The check was interrupted. "
    if blocking := report.problems.of_level(BLOCKING):
        return f"{state}Training cannot start: {_count_kinds(blocking, 'blocking problem')}."
    if not report.complete:
        return f"{state}No blocking problem was found so far."
    return f"Training can start: no blocking problems, {_count_kinds(report.problems.of_level(WARNING), 'warning')}."


def _count_kinds(findings: Mapping[str, Sequence[str]], noun: str) -> str:
    """Write how many checks found something, and in how many places: '3 kinds of warnings (214 places)'."""
    if not findings:
        return f"no {noun}s"
    num_places = sum(map(len, findings.values()))
    kinds = f"1 kind of {noun}" if len(findings) == 1 else f"{len(findings)} kinds of {noun}s"
    return f"{kinds} ({num_places} place{'s' if num_places > 1 else ''})"
