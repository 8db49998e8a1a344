"""Write what a data check found: as text for people and as JSON for programs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from utils.text import format_table
from utils.unknown import UNKNOWN

from ..problems import BLOCKING, CHECKS, FRAME_FAULTS, LEVELS, REMARK, WARNING, Findings, printable
from ..tracklet import DataSet, Tracklet

TITLES = {BLOCKING: "Blocking problems", WARNING: "Warnings", REMARK: "Remarks"}
NUM_EXAMPLES = 5  # places that the text names for each check; the JSON file has all


@dataclass(slots=True)
class Examined:
    """A tracklet, its split, such as 'train' or 'case1_aerial_to_ground/query', and what was found in its frames."""

    split: str
    tracklet: Tracklet
    digests: np.ndarray  # of the files of decoded frames, 0 for all others, (num_frames,), uint64
    problems: list[tuple[str, str]] = field(default_factory=list)  # keys of ``CHECKS``, and where

    @property
    def num_frames(self) -> int:
        return len(self.tracklet.frame_paths)

    def count_bad(self) -> int:
        """Count the frames that cannot be used."""
        return sum(check in FRAME_FAULTS for check, _ in self.problems)


@dataclass
class Report:
    """Everything that was found in a copy of a data set."""

    name: str  # DATASETS.NAMES
    root: str  # DATASETS.ROOT_DIR
    problems: Findings = field(default_factory=Findings)
    dataset: DataSet = field(default_factory=lambda: DataSet("", (), {}))  # what was read; empty if nothing could be
    examined: list[Examined] = field(default_factory=list)  # in the order of the splits
    not_checked: list[str] = field(default_factory=list)  # what was left out, in words
    complete: bool = True  # whether the check ran to its end

    @property
    def can_train(self) -> bool | None:
        """Whether training can start; None when an interrupted check found nothing that prevents it."""
        if self.problems.of_level(BLOCKING):
            return False
        return True if self.complete else None

    def splits(self) -> dict[str, list[Tracklet]]:
        """Group the examined tracklets by split, in the order found."""
        names = dict.fromkeys(each.split for each in self.examined)
        return {name: [each.tracklet for each in self.examined if each.split == name] for name in names}


def report_as_dict(report: Report) -> dict[str, Any]:
    """Return the report, with every finding, as a dict that ``json.dump`` takes."""
    return {
        "dataset": report.name,
        "root": printable(report.root),
        "can_train": report.can_train,
        "complete": report.complete,
        "splits": {split: _count_split(tracklets) for split, tracklets in report.splits().items()},
        "published": dict(report.dataset.published),
        "findings": [
            {"check": check, "level": level, "meaning": CHECKS[check].meaning, "count": len(texts), "places": texts}
            for level in LEVELS
            for check, texts in report.problems.of_level(level).items()
        ],
        "not_checked": report.not_checked,
    }


def _count_split(tracklets: Sequence[Tracklet]) -> dict[str, Any]:
    """Count what a split holds, and its tracklets by camera (-1: unknown) and altitude."""
    cameras = Counter((tracklet.camid, tracklet.camera) for tracklet in tracklets)
    altitudes = Counter(tracklet.altitude for tracklet in tracklets if tracklet.altitude is not None)
    return {
        "people": len({tracklet.pid for tracklet in tracklets}),
        "tracklets": len(tracklets),
        "with_attributes": sum(tracklet.attributes is not None for tracklet in tracklets),
        "frames": sum(len(tracklet.frame_paths) for tracklet in tracklets),
        "cameras": {camera: count for (_, camera), count in sorted(cameras.items())},
        "altitudes": dict(sorted(altitudes.items())),
    }


def format_report(report: Report) -> str:
    """Write the report as text; the last line says whether training can start."""
    lines = [f"{report.name} in {printable(report.root)}", "", *_format_counts(report)]
    for level in LEVELS:
        findings = report.problems.of_level(level)
        if findings:
            lines += ["", f"{TITLES[level]}:"]
        for check, texts in findings.items():
            lines.append(f"  {check} ({len(texts)}): {CHECKS[check].meaning}")
            lines += [f"    {text}" for text in texts[:NUM_EXAMPLES]]
            if len(texts) > NUM_EXAMPLES:
                lines.append(f"    ... and {len(texts) - NUM_EXAMPLES} more")
    if report.not_checked:
        lines += ["", "Not checked:", *(f"  {text}" for text in report.not_checked)]
    state = "" if report.complete else "The check was interrupted. "
    verdict = {True: "Training can start", False: "Training cannot start", None: "Nothing blocks training so far"}
    counts = [sum(map(len, report.problems.of_level(level).values())) for level in (BLOCKING, WARNING)]
    verdict_line = f"{state}{verdict[report.can_train]}; blocking problems: {counts[0]}, warnings: {counts[1]}."
    return "\n".join([*lines, "", verdict_line])


def _format_counts(report: Report) -> Iterator[str]:
    """Yield the table of splits, and the published counts."""
    published, rows = report.dataset.published, []
    for split, tracklets in report.splits().items():
        counts = _count_split(tracklets)
        details = ", ".join(
            f"{'?' if camera == UNKNOWN else f'C{camera}' if isinstance(camera, int) else camera} {n}"
            for camera, n in counts["cameras"].items()
        )
        if counts["altitudes"]:
            details += "; " + ", ".join(f"{metres} m {n}" for metres, n in counts["altitudes"].items())
        cells = {f"{split} identities": counts["people"], f"{split} tracklets": counts["tracklets"]}
        shown = [f"{count} [{published[name]}]" if name in published else count for name, count in cells.items()]
        rows.append([split, *shown, counts["with_attributes"], counts["frames"], details])
    header = ["split", "people", "tracklets", "with attributes", "frames", "tracklets by camera; by altitude"]
    yield format_table(header, rows, "<>>>><")
    if published:
        yield f"Published counts: {', '.join(f'{name} {number}' for name, number in published.items())}."
