"""What a data check found, as text for people and as JSON for programs."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

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
    def case(self) -> str:
        """Name of the matching direction it belongs to; 'train' for none."""
        return self.split.split("/")[0]

    @property
    def num_frames(self) -> int:
        return len(self.tracklet.frame_paths)


@dataclass(frozen=True)
class AttributeCounts:
    """What is known of the attributes of a split.

    Attributes:
        tracklets: Tracklets that have attributes.
        people: Identities that have attributes.
        people_with_known_code: How many of them have a known code, by column.
    """

    tracklets: int
    people: int
    people_with_known_code: dict[str, int]


@dataclass(frozen=True)
class EpochEstimate:
    """How long decoding takes, and what that was computed from.

    Attributes:
        frames_decoded: Frames that were timed.
        frames_per_second_per_core: Measured.
        workers: Processes that will decode in training.
        cores: Of this machine.
        batches_per_epoch: As training draws them.
        frames_per_epoch: Frames of these batches.
        epoch_seconds: Decoding time of an epoch, if every worker has a core.
        memory_frames: All training frames, which CLIP memory reads once.
        memory_seconds: Decoding time of these.
    """

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
    """Everything that was found in a copy of a data set.

    Attributes:
        name: DATASETS.NAMES.
        root: DATASETS.ROOT_DIR.
        problems: What is wrong.
        dataset: What was read; None if nothing could be.
        examined: The tracklets, in the order of the splits.
        not_checked: What was left out, in words.
        epoch: Estimated decoding times; None when not known.
        complete: Whether the check ran to its end.
    """

    name: str
    root: str
    problems: Findings = field(default_factory=Findings)
    dataset: DataSet | None = None
    examined: list[Examined] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    epoch: EpochEstimate | None = None
    complete: bool = True

    @property
    def can_train(self) -> bool | None:
        """Whether training can start; None when an interrupted check found nothing that prevents it."""
        if self.problems.of_level(BLOCKING):
            return False
        return True if self.complete else None

    @property
    def masked_cases(self) -> Sequence[str]:
        """Names of the cases in which query and gallery number their people independently."""
        return self.problems.places.get("masked identities", ())

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

    def count_attributes(self) -> dict[str, AttributeCounts]:
        """Count the attributes of each split that has some."""
        counts = {}
        scheme = None if self.dataset is None else self.dataset.scheme
        for split, tracklets in self.splits().items():
            codes_of: dict[int, list[tuple[int, ...]]] = defaultdict(list)
            for tracklet in tracklets:
                if tracklet.attributes is not None:
                    codes_of[tracklet.pid].append(tracklet.attributes)
            if scheme is not None and codes_of:
                known = {
                    column: sum(any(codes[place] != unknown for codes in rows) for rows in codes_of.values())
                    for place, (column, unknown) in enumerate(zip(*scheme, strict=True))
                }
                counts[split] = AttributeCounts(sum(map(len, codes_of.values())), len(codes_of), known)
        return counts


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
    lines = [f"{report.name} in {printable(report.root)}", "", _format_splits(report), *_format_attributes(report)]
    lines += _format_published(report)
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


def report_as_dict(report: Report) -> dict[str, Any]:
    """Return the report, with every finding, as a dict that ``json.dump`` takes."""
    return {
        "dataset": report.name,
        "root": printable(report.root),
        "can_train": report.can_train,
        "complete": report.complete,
        "splits": {split: asdict(_count(tracklets)) for split, tracklets in report.splits().items()},
        "attributes": {split: asdict(counts) for split, counts in report.count_attributes().items()},
        "published": dict(report.published.counts),
        "findings": [
            {"check": check, "level": level, "meaning": CHECKS[check].meaning, "count": len(texts), "places": texts}
            for level in LEVELS
            for check, texts in report.problems.of_level(level).items()
        ],
        "epoch": None if report.epoch is None else asdict(report.epoch),
        "not_checked": report.not_checked,
    }


def _count(tracklets: Sequence[Tracklet]) -> SplitCounts:
    cameras = Counter(tracklet.camid for tracklet in tracklets)
    altitudes = Counter(tracklet.altitude for tracklet in tracklets if tracklet.altitude is not None)
    days: dict[int, set[int]] = {}
    for tracklet in tracklets:
        if tracklet.day is not None:
            days.setdefault(tracklet.pid, set()).add(tracklet.day)
    return SplitCounts(
        people=len({tracklet.pid for tracklet in tracklets}),
        tracklets=len(tracklets),
        frames=sum(len(tracklet.frame_paths) for tracklet in tracklets),
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
    for split, counts in report.count_attributes().items():
        known = [f"{column} {number}" for column, number in counts.people_with_known_code.items() if number]
        yield (
            f"Attributes of {split}: {counts.tracklets} tracklets of {counts.people} people. People with a known code: "
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
