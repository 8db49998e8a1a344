"""What the project's own readers say of a data set: the loader, the batches of training, the attribute tables."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..attributes import AGVPREID_SCHEME, AttributeScheme, read_attributes
from ..tracklet import Benchmark
from .findings import AttributeCounts, Report
from .settings import CheckSettings
from .tracklet_checks import FolderJob, RecordJob


def read_dataset(settings: CheckSettings, report: Report, keep_remarks: bool) -> Benchmark | None:
    """Read the data set as training does; return None, and report why, if that fails.

    Args:
        settings: What to read.
        report: Receives the error.
        keep_remarks: Whether it receives the loader's warnings too; a walk of the folders finds their causes itself.
    """
    with _captured_warnings() as messages:
        try:
            return settings.read_dataset()
        except (OSError, ValueError, TypeError) as error:
            report.add("loader", str(error))
            return None
        finally:
            if keep_remarks:
                report.add("loader's remark", *messages)


def count_batches(
    settings: CheckSettings, dataset: Benchmark | None, jobs: Sequence[FolderJob | RecordJob], report: Report
) -> int:
    """Count the batches of an epoch; return 0, and report why, if none can be drawn.

    Args:
        settings: P x K and how to draw.
        dataset: The data set; None if it cannot be read. The number of training identities then decides.
        jobs: The tracklets found, for that case.
        report: Receives the problem.
    """
    if dataset is not None:
        try:
            return settings.count_batches(dataset)
        except ValueError as error:
            report.add("batches", str(error))
            return 0
    people = {job.folder.pid for job in jobs if isinstance(job, FolderJob) and job.split == "train"}
    wanted = settings.batch_size // settings.num_instances
    if jobs and len(people) < wanted:
        report.add(
            "batches",
            f"SOLVER.STAGE2.IMS_PER_BATCH / DATALOADER.NUM_INSTANCE = {wanted} identities a batch, but training has "
            f"only {len(people)}.",
        )
    return 0


def list_records(dataset: Benchmark) -> Iterator[RecordJob]:
    """Yield all tracklets of a data set, training first."""
    for tracklet in dataset.train:
        yield RecordJob("train", tracklet)
    for case in dataset.cases.values():
        for side, tracklets in (("query", case.query), ("gallery", case.gallery)):
            for tracklet in tracklets:
                yield RecordJob(f"{case.name}/{side}", tracklet)


def check_table(path: Path, split: str, pids: set[int], report: Report) -> None:
    """Read the attribute table of a split, and count for how many people it has known codes.

    Args:
        path: The table, which may be missing.
        split: Its split.
        pids: People of the split.
        report: Receives counts and findings.
    """
    if not os.path.lexists(path):
        report.add("no attribute table", str(path))
        return
    if not path.is_file():  # opening a pipe would block
        report.add("attribute table", f"{path}: it is not a regular file, nor a link to one.")
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
    report.attributes[split] = _count_attributes(AGVPREID_SCHEME, codes, len(table))


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


class _MessageList(logging.Handler):
    """Collects the texts of warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _captured_warnings() -> Iterator[list[str]]:
    """Collect what ``datasets`` logs as a warning, and keep all that it logs from the console."""
    handler = _MessageList()
    source = logging.getLogger("datasets")
    source.addHandler(handler)
    source.propagate = False
    try:
        yield handler.messages
    finally:
        source.propagate = True
        source.removeHandler(handler)
