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
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
Moment = Any  # seconds of the clock, on the CPU; a torch.cuda.Event on CUDA


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


class TrainingMonitor:
    """Collects the measures of training and shows them.

    The calls of a step, in this order: ``start_step`` when its batch is there; ``send_measures`` after the forward
    pass; ``read_measures`` after the backward pass, before the weights change; ``finish_step``.

    Args:
        options: Epochs of the run, and steps between two log lines and between two histograms of distances.
        runtime: Device that trains; process 0 writes the files.
        output: Folder of the run; None for log lines alone.
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
        # Of measures on their way to the host: names, values, and in some steps distances and the mask of pairs of one
        # person, (B, B) each; they are valid once the moment has come.
        self._sent: tuple[list[str], Tensor, list[Tensor], Moment]
        self._moments: list[Moment] = []  # the start of an epoch, then start and end of each step, until they are read

    def start_epoch(self, epoch: int, num_steps: int, so_far: Mapping[str, Any] | None = None) -> None:
        """Begin an epoch, counted from 1, or go on with one of which ``measures_so_far`` returned a part."""
        self._epoch = _Epoch(epoch, num_steps, **deepcopy(so_far or {}))
        self._moments = [self._mark()]

    def measures_so_far(self) -> dict[str, Any]:
        """Return what an epoch that is resumed within needs."""
        return {name: deepcopy(getattr(self._epoch, name)) for name in ("steps", "measured_steps", "sums")}

    def start_step(self) -> None:
        """Note that the batch is there: what came before was waiting for data."""
        self._moments.append(self._mark())

    def show_samples(self, clips: Tensor, restore: Callable[[Tensor], Tensor]) -> None:
        """Draw the first clips, (B, T, C, H, W), a row each; ``restore`` turns them back into pixels, 0..1."""
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
        """Send what a forward pass measured, scalars on the device, to the host, without waiting for it.

        Once in a log period, the distances between clips are sent, too: of their features, (B, width) each, joined and
        normalised as at test time, with their labels, (B,).
        """
        self._epoch.clips += len(labels)
        self._epoch.rate = rate
        tensors = [torch.stack([value.float() for value in measures.values()])]
        if self._board and self._epoch.steps % self.options.log_period == 0:
            joined = F.normalize(torch.cat([feature.float() for feature in features], dim=1), dim=1)
            distances = torch.cdist(joined, joined, compute_mode="donot_use_mm_for_euclid_dist")
            tensors += [distances, labels.unsqueeze(0) == labels.unsqueeze(1)]
        copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._sent = list(measures), copies[0], copies[1:], self._mark()

    def read_measures(self) -> Row:
        """Wait for the measures of the step, show them, and return them; means leave out those that are not finite."""
        (names, numbers, distances, copied), epoch = self._sent, self._epoch
        if self.device.type == "cuda":
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
            means = " ".join(
                f"{name} {value:{'.3g' if name == 'lr' else '.3f'}}" for name, value in self._means().items()
            )
            left = format_duration(self.seconds_left())
            logger.info("epoch %d step %d/%d: %s, %s left", epoch.number, epoch.steps, epoch.num_steps, means, left)
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
        """Write the epoch's row and curves; returns its means."""
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
        """Add the mAP, 0..1, of the weights after an epoch, counted from 1, and of their moving average, if any.

        Scores of validation people choose a checkpoint; those of test people do not.
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
            self._board = None
            logger.warning("%s, curves and TensorBoard in %s are not written any more: %s", HISTORY, self.output, error)

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
                if self.device.type == "cuda":
                    end.synchronize()
                    self._epoch.seconds[name] += start.elapsed_time(end) / 1000
                else:
                    self._epoch.seconds[name] += end - start
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
    """Draw the means of each epoch, with its number as "epoch", as a PNG; a curve that no row has is left out."""
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
