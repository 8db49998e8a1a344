"""What is seen of training while it runs: log lines, TensorBoard, history.csv, curves and sample clips.

Measures stay on the device until the backward pass has been queued; only then does the host wait for them, while the
device goes on computing. This is the only wait of a step.
"""

import csv
import io
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from utils.files import set_aside, write_text
from utils.mistake import Mistake
from utils.progress import format_duration

from .curves import draw_curves

logger = logging.getLogger(__name__)

HISTORY = "history.csv"
CURVES = "curves.png"
SAMPLES = "samples.png"
MAX_SAMPLES = 8  # clips, and frames of each, in the picture of samples
PHASES = ("data", "forward", "backward", "update")
SCORES = ("validation_mAP", "monitoring_mAP")  # of people who choose a checkpoint, and of the test people
AVERAGED = "_averaged"  # added to the name of a score of the weights' moving average

Row = dict[str, float]


class Clock:
    """Marks moments without waiting for the device: events on CUDA, the host's clock elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mark(self) -> "torch.cuda.Event | float":
        """Return this moment; on CUDA, the moment when the device has finished all that was asked of it so far."""
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def seconds_between(self, start: "torch.cuda.Event | float", end: "torch.cuda.Event | float") -> float:
        """Return the seconds between two marks; on CUDA, wait until the second has come."""
        if isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
            end.synchronize()
            return start.elapsed_time(end) / 1000
        assert isinstance(start, float)
        assert isinstance(end, float)
        return end - start


@dataclass
class _Pending:
    """Measures on their way to the host.

    Attributes:
        names: Names of the values.
        values: On the CPU; valid once ``copied`` has come.
        distances: Distances and same-person mask, (B, B) each, likewise; None in most steps.
        copied: Mark behind the copies.
    """

    names: list[str]
    values: Tensor
    distances: tuple[Tensor, Tensor] | None
    copied: "torch.cuda.Event | float"


@dataclass
class _Epoch:
    """Sums over the steps of an epoch so far."""

    number: int
    num_steps: int
    steps: int = 0
    measured_steps: int = 0  # those whose measures are finite
    timed_steps: int = 0  # those that this process has taken; a resumed epoch has others
    clips: int = 0
    rate: float = 0.0
    sums: Row = field(default_factory=dict)
    phases: Row = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    start: float = field(default_factory=time.perf_counter)


class TrainingMonitor:
    """Collects the measures of training and shows them.

    The calls of a step, in this order: ``start_step`` when its batch is there; ``add`` any number of times;
    ``finish_forward``; ``finish_backward``, before the weights change; ``finish_step``.

    Args:
        output: Folder of the run, to which files are written.
        num_epochs: Epochs of the run.
        log_period: Steps between two log lines, and between two histograms of distances.
        device: Device that trains.
        finished_epochs: Epochs before a resume. The history keeps their rows, and drops all later ones.
        first_step: The run's step, counted from 1, with which this begins: TensorBoard hides earlier points from there.
        enabled: Whether to write files; False in all processes but the first.
        ideal_step_seconds: What a step would take at the device's rate of matrix products; 0 if that is not known.
    """

    def __init__(
        self,
        output: Path,
        num_epochs: int,
        log_period: int,
        device: torch.device,
        finished_epochs: int = 0,
        first_step: int = 1,
        enabled: bool = True,
        ideal_step_seconds: float = 0.0,
    ) -> None:
        self.output = output
        self.ideal_step_seconds = ideal_step_seconds
        self.num_epochs = num_epochs
        self.log_period = log_period
        self.rows = read_history(output / HISTORY, finished_epochs) if enabled else []
        self._clock = Clock(device)
        self._board: SummaryWriter | None = None
        if enabled:
            with self._writing():
                self._board = SummaryWriter(str(output / "tensorboard"), purge_step=first_step)
        self._epoch = _Epoch(0, 0)
        self._start = time.perf_counter()
        self._steps_of_run = 0
        self._measures: dict[str, Tensor] = {}
        self._distances: tuple[Tensor, Tensor] | None = None
        self._pending: _Pending | None = None
        self._marks: list[torch.cuda.Event | float] = []  # of the current step: its start, then the end of each phase
        self._finished_marks: list[torch.cuda.Event | float] = []  # of the step before, until they are read

    def start_epoch(self, epoch: int, num_steps: int) -> None:
        """Begin an epoch, counted from 1."""
        self._epoch = _Epoch(epoch, num_steps)
        self._pending = None
        self._finished_marks = []
        self._marks = [self._clock.mark()]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Run a block that writes; training goes on if it cannot, because only checkpoints must be written."""
        try:
            yield
        except (OSError, Mistake) as error:
            logger.warning(
                "%s, curves and TensorBoard in %s are not written from here on: %s", HISTORY, self.output, error
            )
            self._board = None

    def measures_so_far(self) -> dict[str, Any]:
        """Return what an epoch that is resumed within needs: numbers of steps and sums of their measures."""
        epoch = self._epoch
        return {"steps": epoch.steps, "measured_steps": epoch.measured_steps, "sums": dict(epoch.sums)}

    def go_on_from(self, measures: Mapping[str, Any]) -> None:
        """Continue the epoch that was just started from ``measures_so_far``."""
        self._epoch.steps = measures["steps"]
        self._epoch.measured_steps = measures["measured_steps"]
        self._epoch.sums = dict(measures["sums"])

    def start_step(self) -> None:
        """Note that the batch is there: what came before was waiting for data."""
        self._marks.append(self._clock.mark())

    def add(self, measures: Mapping[str, Tensor]) -> None:
        """Take scalars of the current step, on the device; nothing waits for them."""
        self._measures.update({name: value.detach() for name, value in measures.items()})

    @torch.no_grad()
    def add_distances(self, features: Sequence[Tensor], labels: Tensor) -> None:
        """Once in a log period, take the distances between the clips of a batch.

        Args:
            features: (B, width) each; they are joined and normalised, as at test time.
            labels: Identities, (B,).
        """
        if self._board and self._epoch.steps % self.log_period == 0:
            joined = F.normalize(torch.cat([feature.float() for feature in features], dim=1), dim=1)
            distances = torch.cdist(joined, joined, compute_mode="donot_use_mm_for_euclid_dist")
            self._distances = distances, labels.unsqueeze(0) == labels.unsqueeze(1)

    def show_samples(self, clips: Tensor, restore: Callable[[Tensor], Tensor]) -> None:
        """Draw the first clips of a batch, a row each, as the model sees them; the first batch of a run is enough.

        Args:
            clips: (B, T, C, H, W), normalised.
            restore: Turns them back into pixels, 0..1.
        """
        if self._board is None:
            return
        pixels = restore(clips[:MAX_SAMPLES, :MAX_SAMPLES].float()).clamp(0, 1).mul(255).byte().cpu()
        rows, columns, channels, height, width = pixels.shape
        grid = pixels.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels).numpy()
        with self._writing():
            Image.fromarray(grid).save(self.output / SAMPLES)
            self._board.add_image("samples", grid, 0, dataformats="HWC")

    def finish_forward(self, num_clips: int, rate: float) -> None:
        """Send the measures to the host, without waiting for them.

        Args:
            num_clips: Clips of the step, in all processes.
            rate: Learning rate of the step.
        """
        names = list(self._measures)
        values = torch.stack([self._measures[name].float() for name in names]).to("cpu", non_blocking=True)
        distances = self._distances
        if distances is not None:
            distances = distances[0].to("cpu", non_blocking=True), distances[1].to("cpu", non_blocking=True)
        self._marks.append(self._clock.mark())
        self._pending = _Pending(names, values, distances, self._marks[-1])
        self._measures, self._distances = {}, None
        self._epoch.clips += num_clips
        self._epoch.rate = rate

    def finish_backward(self) -> Row:
        """Read the measures of the step, whose backward pass is queued, show them, and return them.

        Means leave out the steps with measures that are not finite.
        """
        self._marks.append(self._clock.mark())
        pending, epoch = self._pending, self._epoch
        if pending is None:
            raise RuntimeError("finish_backward must follow finish_forward.")
        self._pending = None
        if isinstance(pending.copied, torch.cuda.Event):
            pending.copied.synchronize()  # the forward pass is over; the device is busy with the backward pass
        values = dict(zip(pending.names, pending.values.tolist(), strict=True))
        epoch.steps += 1
        self._steps_of_run += 1
        if all(math.isfinite(value) for value in values.values()):
            epoch.measured_steps += 1
            for name, value in values.items():
                epoch.sums[name] = epoch.sums.get(name, 0.0) + value
            with self._writing():
                self._write_step(values, pending.distances)
        self._read_marks()
        if epoch.steps % self.log_period == 0 or epoch.steps == epoch.num_steps:
            logger.info(
                "epoch %d step %d/%d: %s, %s left",
                epoch.number,
                epoch.steps,
                epoch.num_steps,
                _format({**self._averages(), **self._speed()}),
                format_duration(self.seconds_left()),
            )
        return values

    def finish_step(self) -> None:
        """Note that the weights have changed; the next wait for data begins."""
        self._marks.append(self._clock.mark())
        self._finished_marks, self._marks = self._marks, self._marks[-1:]

    def seconds_left(self) -> float:
        """Estimate the seconds until the end of the run, from all that this process has done so far."""
        epoch = self._epoch
        steps = epoch.num_steps - epoch.steps + (self.num_epochs - epoch.number) * epoch.num_steps
        return (time.perf_counter() - self._start) / max(self._steps_of_run, 1) * steps

    def finish_epoch(self) -> Row:
        """Write the epoch's row and curves; returns its means.

        Raises:
            ValueError: If the epoch had no step.
        """
        epoch = self._epoch
        if not epoch.steps:
            raise Mistake("The training loader returned no batch: there are fewer identities than a batch holds.")
        self._read_marks()
        timed_steps = max(epoch.timed_steps, 1)
        seconds = {f"seconds_{name}": total / timed_steps for name, total in epoch.phases.items()}
        means = {**self._averages(), **self._speed(), **seconds}
        whole = sum(seconds.values())
        if whole:
            shares = ", ".join(f"{name} {seconds[f'seconds_{name}'] / whole:.0%}" for name in PHASES)
            if self.ideal_step_seconds:
                means["share_of_rate"] = self.ideal_step_seconds / whole
                shares += f"; {means['share_of_rate']:.0%} of the device's rate of matrix products"
            logger.info("epoch %d: %.3g s a step: %s", epoch.number, whole, shares)
        if self._board:
            self.rows.append({"epoch": epoch.number, **means})
            with self._writing():
                for name, value in means.items():
                    self._board.add_scalar(f"train/{name}", value, epoch.number)
                self._write_history()
        return means

    def add_scores(self, epoch: int, mean_ap: float, averaged: float | None, chooses: bool) -> None:
        """Add scores after an epoch.

        Args:
            epoch: Number of the epoch, counted from 1.
            mean_ap: mAP, 0..1, of the weights.
            averaged: mAP, 0..1, of their moving average; None without one.
            chooses: Whether the scores choose a checkpoint: those of validation people, and not of test people.
        """
        if self._board is None:
            return
        if not self.rows or self.rows[-1]["epoch"] != epoch:  # the history of a resumed run was removed
            self.rows.append({"epoch": epoch})
        with self._writing():
            column = SCORES[0] if chooses else SCORES[1]
            for name, value in ((column, mean_ap), (column + AVERAGED, averaged)):
                if value is not None:
                    self._board.add_scalar(name.replace("_", "/", 1), value, epoch)
                    self.rows[-1][name] = value
            self._write_history()

    def close(self) -> None:
        """Write what TensorBoard still holds back."""
        if self._board:
            with self._writing():
                self._board.close()

    def _averages(self) -> Row:
        return {name: value / self._epoch.measured_steps for name, value in self._epoch.sums.items()}

    def _speed(self) -> Row:
        epoch = self._epoch
        return {"lr": epoch.rate, "clips_per_second": epoch.clips / (time.perf_counter() - epoch.start)}

    def _read_marks(self) -> None:
        """Add the phases of the last finished step to those of the epoch."""
        self._epoch.timed_steps += bool(self._finished_marks)
        for name, start, end in zip(PHASES, self._finished_marks, self._finished_marks[1:], strict=False):
            self._epoch.phases[name] += self._clock.seconds_between(start, end)
        self._finished_marks = []

    def _write_step(self, values: Row, distances: tuple[Tensor, Tensor] | None) -> None:
        if self._board is None:
            return
        step = (self._epoch.number - 1) * self._epoch.num_steps + self._epoch.steps
        for name, value in values.items():
            self._board.add_scalar(f"step/{name}", value, step)
        if distances is not None:
            matrix, same = distances
            pairs = torch.ones_like(same).triu(1)  # each pair once, and no clip with itself
            for name, chosen in (("positive", same & pairs), ("negative", ~same & pairs)):
                if chosen.any():
                    self._board.add_histogram(f"distances/{name}", matrix[chosen], step)

    def _write_history(self) -> None:
        """Rewrite the history, whole or not at all, and draw the curves."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        columns = sorted(names, key=lambda name: name.startswith(SCORES))  # scores last
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(text.getvalue(), self.output / HISTORY)
        draw_curves(self.rows, self.output / CURVES)


def read_history(path: Path, finished_epochs: int) -> list[Row]:
    """Read the rows of the first epochs of a history; later rows are of epochs that a resumed run repeats.

    The history of another run, of which no epoch counts, is set aside as ``history.csv.old``.

    Raises:
        ValueError: If the file is damaged.
    """
    if not path.is_file():
        return []
    if not finished_epochs:
        set_aside(path)
        return []
    with path.open(newline="", encoding="utf-8") as file:
        try:
            rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
            rows = [{**row, "epoch": int(row["epoch"])} for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise Mistake(f"{path} is damaged ({error}): remove it, and the history begins here.") from error
    return [row for row in rows if row["epoch"] <= finished_epochs]


def _format(values: Row) -> str:
    return " ".join(f"{name} {value:.3g}" if name == "lr" else f"{name} {value:.3f}" for name, value in values.items())
