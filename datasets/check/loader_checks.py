"""What the project's own code says of a data set: the loader, and the sampler of training batches."""

from collections.abc import Iterator, Sequence

from ..readers.benchmark import Benchmark
from .findings import Report
from .log_capture import captured_warnings
from .settings import CheckSettings
from .tracklet_checks import FolderJob, RecordJob


def read_dataset(settings: CheckSettings, report: Report, keep_remarks: bool) -> Benchmark | None:
    """Read the data set as training does; return None, and report why, if that fails.

    Args:
        settings: What to read.
        report: Receives the error.
        keep_remarks: Whether it receives the loader's warnings too; a walk of the folders finds their causes itself.
    """
    with captured_warnings() as messages:
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
