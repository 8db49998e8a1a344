"""Show a training run while it runs: log lines, TensorBoard, history.csv, curves and sample clips.

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
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from utils.files import set_aside, write_text
from utils.mistake import Mistake
from utils.progress import format_duration
from utils.runtime import Runtime

from .state import TrainingOptions

logger = logging.getLogger(__name__)

HISTORY = "history.csv"
CURVES = "curves.png"
SAMPLES = "samples.png"
MAX_SAMPLES = 8  # clips, and frames of each, in the picture of samples
LOSSES = ("id", "triplet", "memory", "frame")
PHASES = ("data", "step")  # waiting for a batch, computing with it
SCORES = ("validation_mAP", "monitoring_mAP")  # of people who choose a checkpoint, and of the test people
AVERAGED = "_averaged"  # added to the name of a score of the weights' moving average

Row = dict[str, float]
Moment = torch.cuda.Event | float


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
    seconds: Row = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    start: float = field(default_factory=time.perf_counter)


class _Sent(NamedTuple):
    """Measures on their way to the host; they are valid once the moment ``copied`` has come."""

    names: list[str]
    values: Tensor
    distances: list[Tensor]  # in some steps: distances, and the mask of pairs of one person, (B, B) each
    copied: Moment


class TrainingMonitor:
    """Collects the measures of training and shows them.

    The calls of a step, in this order: ``start_step`` when its batch is there; ``send_measures`` after the forward
    pass; ``read_measures`` after the backward pass, before the weights change; ``finish_step``.

    Args:
        options: Epochs of the run, and steps between two log lines and between two histograms of distances.
        runtime: Device that trains; process 0 writes the files.
        output: Folder of the run, to which files are written; None for log lines alone.
        finished_epochs: Epochs before a resume. The history keeps their rows, and drops all later ones.
        first_step: The run's step, counted from 1, with which this begins: TensorBoard hides earlier points from there.
    """

    def __init__(
        self,
        options: TrainingOptions,
        runtime: Runtime,
        output: Path | None,
        finished_epochs: int = 0,
        first_step: int = 1,
    ) -> None:
        self.options = options
        self.device = runtime.device
        self.rows: list[Row] = []
        self._board: SummaryWriter | None = None
        if output is not None and runtime.processes.is_main:
            self.output = output
            self.rows = read_history(output / HISTORY, finished_epochs)
            with self._writing():
                self._board = SummaryWriter(str(output / "tensorboard"), purge_step=first_step)
        self._epoch = _Epoch(0, 0)
        self._start = time.perf_counter()
        self._steps_of_run = 0
        self._sent: _Sent | None = None
        self._moments: list[Moment] = []  # the start of an epoch, then start and end of each step, until they are read

    def start_epoch(self, epoch: int, num_steps: int, so_far: Mapping[str, Any] | None = None) -> None:
        """Begin an epoch, counted from 1, or go on with one of which ``measures_so_far`` returned a part."""
        self._epoch = _Epoch(epoch, num_steps)
        if so_far:
            self._epoch.steps, self._epoch.measured_steps = so_far["steps"], so_far["measured_steps"]
            self._epoch.sums = dict(so_far["sums"])
        self._moments = [self._mark()]

    def measures_so_far(self) -> dict[str, Any]:
        """Return what an epoch that is resumed within needs: numbers of steps and sums of their measures."""
        epoch = self._epoch
        return {"steps": epoch.steps, "measured_steps": epoch.measured_steps, "sums": dict(epoch.sums)}

    def start_step(self) -> None:
        """Note that the batch is there: what came before was waiting for data."""
        self._moments.append(self._mark())

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

    @torch.no_grad()
    def send_measures(
        self, measures: Mapping[str, Tensor], rate: float, features: Sequence[Tensor], labels: Tensor
    ) -> None:
        """Send what a forward pass measured to the host, without waiting for it.

        Args:
            measures: Scalars on the device.
            rate: Learning rate of the step.
            features: (B, width) each, of the whole batch. Once in a log period, the distances between clips are sent,
                too: of these features, joined and normalised as at test time.
            labels: Identities, (B,).
        """
        self._epoch.clips += len(labels)
        self._epoch.rate = rate
        tensors = [torch.stack([value.float() for value in measures.values()])]
        if self._board and self._epoch.steps % self.options.log_period == 0:
            joined = F.normalize(torch.cat([feature.float() for feature in features], dim=1), dim=1)
            distances = torch.cdist(joined, joined, compute_mode="donot_use_mm_for_euclid_dist")
            tensors += [distances, labels.unsqueeze(0) == labels.unsqueeze(1)]
        copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._sent = _Sent(list(measures), copies[0], copies[1:], self._mark())

    def read_measures(self) -> Row:
        """Wait for the measures of the step, show them, and return them; means leave out those that are not finite."""
        assert self._sent is not None, "send_measures comes first"
        (names, numbers, distances, copied), self._sent, epoch = self._sent, None, self._epoch
        if isinstance(copied, torch.cuda.Event):
            copied.synchronize()  # the forward pass is over; the device is busy with the backward pass
        values = dict(zip(names, numbers.tolist(), strict=True))
        epoch.steps += 1
        self._steps_of_run += 1
        if all(math.isfinite(value) for value in values.values()):
            epoch.measured_steps += 1
            for name, value in values.items():
                epoch.sums[name] = epoch.sums.get(name, 0.0) + value
            with self._writing():
                self._write_step(values, distances)
        self._read_moments()
        if epoch.steps % self.options.log_period == 0 or epoch.steps == epoch.num_steps:
            logger.info(
                "epoch %d step %d/%d: %s, %s left",
                epoch.number,
                epoch.steps,
                epoch.num_steps,
                _format(self._means()),
                format_duration(self.seconds_left()),
            )
        return values

    def finish_step(self) -> None:
        """Note that the weights have changed; the next wait for data begins."""
        self._moments.append(self._mark())

    def seconds_left(self) -> float:
        """Estimate the seconds until the end of the run, from all that this process has done so far."""
        epoch = self._epoch
        steps = epoch.num_steps - epoch.steps + (self.options.num_epochs - epoch.number) * epoch.num_steps
        return (time.perf_counter() - self._start) / max(self._steps_of_run, 1) * steps

    def finish_epoch(self) -> Row:
        """Write the epoch's row and curves; returns its means.

        Raises:
            Mistake: If the epoch had no step.
        """
        epoch = self._epoch
        if not epoch.steps:
            raise Mistake("The training loader returned no batch: there are fewer identities than a batch holds.")
        self._read_moments()
        seconds = {f"seconds_{name}": total / max(epoch.timed_steps, 1) for name, total in epoch.seconds.items()}
        means = {**self._means(), **seconds}
        whole = sum(seconds.values())
        if whole:
            shares = ", ".join(f"{name} {seconds[f'seconds_{name}'] / whole:.0%}" for name in PHASES)
            if self.options.ideal_step_seconds:
                means["share_of_rate"] = self.options.ideal_step_seconds / whole
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

    def _mark(self) -> Moment:
        """Return this moment; on CUDA, the one when the device has finished all that was asked of it so far."""
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _read_moments(self) -> None:
        """Add the phases of the step that has ended, if any, to those of the epoch."""
        if len(self._moments) > len(PHASES):
            self._epoch.timed_steps += 1
            for name, start, end in zip(PHASES, self._moments, self._moments[1:], strict=False):
                self._epoch.seconds[name] += _seconds_between(start, end)
            del self._moments[: len(PHASES)]

    def _means(self) -> Row:
        """Return the means of the epoch so far, the learning rate and the speed."""
        epoch = self._epoch
        averages = {name: value / epoch.measured_steps for name, value in epoch.sums.items()}
        return {**averages, "lr": epoch.rate, "clips_per_second": epoch.clips / (time.perf_counter() - epoch.start)}

    def _write_step(self, values: Row, distances: Sequence[Tensor]) -> None:
        if self._board is None:
            return
        step = (self._epoch.number - 1) * self._epoch.num_steps + self._epoch.steps
        for name, value in values.items():
            self._board.add_scalar(f"step/{name}", value, step)
        if distances:
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
        Mistake: If the file is damaged.
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


def draw_curves(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw losses, accuracy with validation, learning rate, and seconds of a step, over the epochs.

    Args:
        rows: Means of each epoch, with its number as "epoch"; a curve that no row has is left out.
        path: PNG file to write.
    """
    figure = Figure(figsize=(14, 8))  # no pyplot: it needs no display and keeps no state
    figure.subplots_adjust(0.04, 0.07, 0.84, 0.95, hspace=0.25, wspace=0.38)  # legends stand beside the axes
    (losses, accuracy), (rate, seconds) = figure.subplots(2, 2)
    for index, name in enumerate(LOSSES):
        _plot(losses, rows, name, color=f"C{index}")
        _plot(losses, rows, f"{name}_hard", color=f"C{index}", linestyle=":")
    _plot(losses, rows, "total", color="black")
    losses.set(title="loss terms, unweighted (dotted: against the hard labels)", yscale="log")
    _plot(accuracy, rows, "accuracy")
    for name in SCORES:
        _plot(accuracy, rows, name, linestyle="", marker="o")
        _plot(accuracy, rows, name + AVERAGED, linestyle="", marker="s")
    accuracy.set(title="accuracy in training, and validation mAP", ylim=(0, 1.02))
    _plot(rate, rows, "lr")
    rate.set(title="learning rate", yscale="log")
    names = [f"seconds_{name}" for name in PHASES]
    timed = [row for row in rows if all(name in row for name in names)]
    if timed:
        epochs = [row["epoch"] for row in timed]
        seconds.stackplot(epochs, *([row[name] for row in timed] for name in names), labels=PHASES)
    seconds.set(title="seconds of a step (data: waiting for it)")
    for axes in (losses, accuracy, rate, seconds):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=80)


def _plot(axes: Axes, rows: Sequence[Mapping[str, float]], name: str, **style: Any) -> None:
    points = [(row["epoch"], row[name]) for row in rows if name in row]
    if points:
        axes.plot(*zip(*points, strict=True), label=name, **{"marker": ".", **style})


def _seconds_between(start: Moment, end: Moment) -> float:
    """Return the seconds between two moments; on CUDA, wait until the second has come."""
    if isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
        end.synchronize()
        return start.elapsed_time(end) / 1000
    assert isinstance(start, float)
    assert isinstance(end, float)
    return end - start


def _format(values: Row) -> str:
    return " ".join(f"{name} {value:.3g}" if name == "lr" else f"{name} {value:.3f}" for name, value in values.items())
