"""Checks of attributes: the tables of data sets that have some, and for how many people the codes are known."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..attributes import AttributeScheme, read_attributes
from .findings import AttributeCounts, Report
from .log_capture import captured_warnings
from .tracklet_checks import RecordJob


def check_table(path: Path, split: str, pids: set[int], scheme: AttributeScheme, report: Report) -> None:
    """Read the attribute table of a split, and count for how many people it has known codes.

    Args:
        path: The table, which may be missing.
        split: Its split.
        pids: People of the split.
        scheme: Columns and unknown codes of the table.
        report: Receives counts and findings.
    """
    if not os.path.lexists(path):
        report.add("no attribute table", str(path))
        return
    if not path.is_file():  # opening a pipe would block
        report.add("attribute table", f"{path}: it is not a regular file, nor a link to one.")
        return
    with captured_warnings() as messages:
        try:
            table = read_attributes(path)
        except (OSError, ValueError) as error:
            report.add("attribute table", str(error))
            return
    report.add("attribute code", *messages)
    report.add("people without attributes", *(f"{split}: identity {pid}" for pid in sorted(pids - table.keys())))
    codes = {pid: [table[pid]] for pid in pids & table.keys()}
    report.attributes[split] = _count_attributes(scheme, codes, len(table))


def count_attributes(scheme: AttributeScheme | None, records: Iterable[RecordJob], report: Report) -> None:
    """Count attributes of a data set that keeps them with its tracklets, by split."""
    codes_of: dict[str, dict[int, list[tuple[int, ...]]]] = {}  # by split and person
    for record in records:
        if (codes := record.tracklet.attributes) is not None:
            codes_of.setdefault(record.split, {}).setdefault(record.tracklet.pid, []).append(codes)
    if scheme is not None:
        for split, people in codes_of.items():
            report.attributes[split] = _count_attributes(scheme, people, sum(map(len, people.values())))


def _count_attributes(
    scheme: AttributeScheme, codes_of: Mapping[int, Sequence[tuple[int, ...]]], num_rows: int
) -> AttributeCounts:
    known = {
        column: sum(any(codes[place] != unknown for codes in rows) for rows in codes_of.values())
        for place, (column, unknown) in enumerate(zip(*scheme, strict=True))
    }
    return AttributeCounts(num_rows, len(codes_of), known)
