"""Show a training run while it runs: log lines, TensorBoard, history.csv, curves and sample clips.

The host waits once in a step: for the measures of the forward pass, while the device computes the backward pass.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from datasets.clips.transforms import Augmenter
from utils.device import peak_gib
from utils.files import set_aside, write_text, write_whole
from utils.mistake import Mistake
from utils.progress import format_duration
from utils.text import format_csv, read_csv

from .state import Measured, TrainingState

logger = logging.getLogger(__name__)

HISTORY = "history.csv"
CURVES = "curves.png"
SAMPLES = "samples.png"
MAX_SAMPLES = 8  # clips, and frames of each, in the picture of samples
PHASES = ("seconds_data", "seconds_step")  # waiting for a batch, computing with it
SCORES = ("validation_mAP", "monitoring_mAP")  # of people who choose a checkpoint, and of the test people
AVERAGED = "_averaged"  # added to the name of a score of the weights' moving average
# The charts of curves.png: title, scale of the y axis, columns of the history.
LOSSES = ("id", "triplet", "memory", "frame", "total", "id_hard", "memory_hard", "frame_hard")
CHARTS = (
    ("loss terms, unweighted (dotted: against the hard labels)", "log", LOSSES),
    ("accuracy in training, and mAP", "linear", ("accuracy", *SCORES, *(score + AVERAGED for score in SCORES))),
    ("learning rate", "log", ("lr",)),
    ("seconds of a step (data: waiting for it)", "linear", PHASES),
)

Row = dict[str, float]
Moment = Any  # seconds of the clock, on the CPU; a torch.cuda.Event on CUDA


@dataclass
class _Epoch:
    """What was measured in an epoch so far; a resumed one goes on from ``steps``, ``sums``, ``counts``."""

    number: int
    num_steps: int
    rate: float
    steps: int = 0
    sums: Row = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # of the steps that each sum is over
    clips: int = 0
    moments: list[Moment] = field(default_factory=list)  # the start of the epoch, then start and end of each step
    start: float = field(default_factory=time.perf_counter)


class TrainingMonitor:
    """Collects the measures of training and shows them: in log lines, and in process 0 in files of ``output``, if any.

    The calls of a step, in this order: ``mark`` when its batch is there; ``send_measures`` after the forward pass;
    ``read_measures`` after the backward pass, before the weights change; ``mark`` after that.

    TensorBoard counts the steps of the run from 1, and hides points of those that are repeated.
    ``ideal_step_seconds`` are those at the device's rate of matrix products; 0 if that was not measured.
    """

    def __init__(self, state: TrainingState, output: Path | None = None, ideal_step_seconds: float = 0.0) -> None:
        self.state = state
        self.solver = state.cfg.SOLVER.STAGE2
        self.device = state.runtime.device
        self.ideal_step_seconds = ideal_step_seconds
        self.rows: list[Row] = []
        self._board: SummaryWriter | None = None  # None writes no files
        if output is not None and state.runtime.processes.is_main:
            self.output = output
            self.rows = read_history(output / HISTORY, state.epoch)  # those of epochs that are repeated are dropped
            self._board = SummaryWriter(str(output / "tensorboard"), purge_step=state.steps_before + state.step + 1)
        self._epoch = _Epoch(0, 0, 0.0)
        self._start = time.perf_counter()
        self._steps_of_run = 0
        # Of measures on their way to the host: names, values, and in some steps distances and the mask of pairs of one
        # person, (B, B) each; they are valid once the moment has come.
        self._sent: tuple[list[str], Tensor, list[Tensor], Moment]

    def start_epoch(self, epoch: int, num_steps: int, so_far: Mapping[str, Any] | None = None) -> None:
        """Begin an epoch, counted from 1, or go on with one of which ``measures_so_far`` returned a part."""
        so_far = deepcopy(dict(so_far or {}))
        if "measured_steps" in so_far:  # version 0.1.0 had one count for all sums
            so_far["counts"] = dict.fromkeys(so_far["sums"], so_far.pop("measured_steps"))
        self._epoch = _Epoch(epoch, num_steps, rate=self.state.rate, **so_far)
        self.mark()

    def measures_so_far(self) -> dict[str, Any]:
        """Return what an epoch that is resumed within needs."""
        return {name: deepcopy(getattr(self._epoch, name)) for name in ("steps", "sums", "counts")}

    def mark(self) -> None:
        """Note the moment at which a step's batch is there, or its weights have changed and the next wait begins."""
        self._epoch.moments.append(self._moment())

    def show_samples(self, frames: Tensor, augment: Augmenter, draws: Sequence[Tensor]) -> None:
        """Draw the first clips of a batch of bytes, (B, T, C, H, W), a row each, augmented by their ``draws``."""
        if self._board is None:
            return
        shown = frames[:MAX_SAMPLES]
        # A draw has a row for each clip or for each frame.
        clips = augment.apply(shown, *(part[: len(part) * len(shown) // len(frames)] for part in draws))
        pixels = augment.normalize.invert(clips[:, :MAX_SAMPLES]).clamp(0, 1).mul(255).byte().cpu()
        rows, columns, channels, height, width = pixels.shape
        grid = pixels.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels).numpy()
        write_whole(lambda file: Image.fromarray(grid).save(file, "PNG"), self.output / SAMPLES)
        self._board.add_image("samples", grid, 0, dataformats="HWC")

    @torch.no_grad()
    def send_measures(self, measured: Measured) -> None:
        """Send what a forward pass measured to the host, without waiting for it.

        Terms that are only logged take some dozens of small kernels: on CUDA they are computed in the first step of a
        log period only. This step also sends the distances between clips, whose features are joined and normalised as
        at test time.
        """
        values, output, labels = dict(measured.terms), measured.output, measured.labels
        self._epoch.clips += len(labels)
        begins_period = self._epoch.steps % self.solver.LOG_PERIOD == 0
        if begins_period or self.device.type != "cuda":
            values |= self.state.criterion.hard_terms(output, labels)
            values["accuracy"] = (output.id_logits[0].argmax(dim=1) == labels).float().mean()  # of f_img's classifier
        tensors = [torch.stack([value.float() for value in values.values()])]
        if begins_period and self._board:
            joined = F.normalize(torch.cat([feature.float() for feature in output.features], dim=1), dim=1)
            distances = torch.cdist(joined, joined, compute_mode="donot_use_mm_for_euclid_dist")
            tensors += [distances, labels.unsqueeze(0) == labels.unsqueeze(1)]
        copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._sent = list(values), copies[0], copies[1:], self._moment()

    def read_measures(self) -> Row:
        """Wait for the measures of the step, show them, and return them; means leave out those that are not finite."""
        (names, numbers, distances, copied), epoch = self._sent, self._epoch
        if self.device.type == "cuda":
            copied.synchronize()  # the forward pass is over; the device is busy with the backward pass
        values = dict(zip(names, numbers.tolist(), strict=True))
        epoch.steps += 1
        self._steps_of_run += 1
        if all(math.isfinite(value) for value in values.values()):
            for name, value in values.items():
                epoch.sums[name] = epoch.sums.get(name, 0.0) + value
                epoch.counts[name] = epoch.counts.get(name, 0) + 1
            self._write_step(values, distances)
        if epoch.steps % self.solver.LOG_PERIOD == 0 or epoch.steps == epoch.num_steps:
            means = " ".join(f"{name} {value:#.4g}" for name, value in self._means().items())
            steps_left = epoch.num_steps * (self.solver.MAX_EPOCHS - epoch.number + 1) - epoch.steps
            left = format_duration((time.perf_counter() - self._start) / self._steps_of_run * steps_left)
            logger.info("epoch %d step %d/%d: %s, %s left", epoch.number, epoch.steps, epoch.num_steps, means, left)
        return values

    def finish_epoch(self) -> Row:
        """Write the epoch's row and curves; returns its means."""
        epoch = self._epoch
        if not epoch.steps:
            raise Mistake("The training loader returned no batch: there are fewer identities than a batch holds.")
        seconds = self._mean_seconds()
        means = {**self._means(), **seconds}
        if (peak := peak_gib(self.device)) is not None:
            means["peak_gib"] = peak
        if whole := sum(seconds.values()):
            shares = ", ".join(f"{name.removeprefix('seconds_')} {seconds[name] / whole:.0%}" for name in PHASES)
            if self.ideal_step_seconds:
                means["share_of_rate"] = self.ideal_step_seconds / whole
                shares += f"; {means['share_of_rate']:.0%} of the device's rate of matrix products"
            logger.info("epoch %d: %.3g s a step: %s", epoch.number, whole, shares)
        if self._board:
            self.rows.append({"epoch": epoch.number, **means})
            for name, value in means.items():
                self._board.add_scalar(f"train/{name}", value, epoch.number)
            self._write_history()
        return means

    def add_scores(self, epoch: int, mean_ap: float, averaged: float | None, chooses: bool) -> None:
        """Add the mAP, 0..1, of the weights after an epoch and of their moving average, if any."""
        if self._board is None:
            return
        if not self.rows or self.rows[-1]["epoch"] != epoch:  # the history of a resumed run was removed
            self.rows.append({"epoch": epoch})
        column = SCORES[0] if chooses else SCORES[1]
        for name, value in ((column, mean_ap), (column + AVERAGED, averaged)):
            if value is not None:
                self._board.add_scalar(name.replace("_", "/", 1), value, epoch)
                self.rows[-1][name] = value
        self._write_history()

    def close(self) -> None:
        """Write what TensorBoard still holds back."""
        if self._board:
            self._board.close()

    def _moment(self) -> Moment:
        """Return this moment; on CUDA, the one when the device has finished all that was asked of it so far."""
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _mean_seconds(self) -> Row:
        """Return the mean seconds of each phase of the epoch's steps; waits for the device."""
        pairs = zip(self._epoch.moments, self._epoch.moments[1:], strict=False)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            seconds = [start.elapsed_time(end) / 1000 for start, end in pairs]
        else:
            seconds = [end - start for start, end in pairs]
        num_steps = max(len(seconds) // len(PHASES), 1)  # none if a resumed epoch was over already
        return {name: sum(seconds[phase :: len(PHASES)]) / num_steps for phase, name in enumerate(PHASES)}

    def _means(self) -> Row:
        """Return the means of the epoch so far, the learning rate and the speed."""
        epoch = self._epoch
        averages = {name: value / epoch.counts[name] for name, value in epoch.sums.items()}
        return {**averages, "lr": epoch.rate, "clips_per_second": epoch.clips / (time.perf_counter() - epoch.start)}

    def _write_step(self, values: Row, distances: Sequence[Tensor]) -> None:
        if self._board is None:
            return
        step = self.state.steps_before + self._epoch.steps
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
        text = format_csv([columns, *([row.get(name) for name in columns] for row in self.rows)])
        write_text(text, self.output / HISTORY)
        draw_curves(self.rows, self.output / CURVES)


def read_history(path: Path, finished_epochs: float = math.inf) -> list[Row]:
    """Read the rows of the first epochs of a history; later rows are of epochs that a resumed run repeats.

    The history of another run, of which no epoch counts, is set aside as ``history.csv.old``, and one that cannot be
    read, as after a spreadsheet saved it, as ``history.csv.damaged``.
    """
    if not path.is_file():
        return []
    if not finished_epochs:
        set_aside(path)
        return []
    try:
        rows = [{name: float(value) for name, value in row.items() if value} for _, row in read_csv(path)[1]]
        return [{**row, "epoch": int(row["epoch"])} for row in rows if row["epoch"] <= finished_epochs]
    except (KeyError, ValueError) as error:
        kept = set_aside(path, "damaged")
        logger.warning("%s cannot be read (%r): kept as %s. The curves begin with this epoch.", path, error, kept.name)
        return []


def draw_curves(rows: Sequence[Row], path: Path) -> None:
    """Draw the columns of a history over its epochs, as a PNG; a curve that no row has is left out."""
    figure = Figure(figsize=(14, 8))  # no pyplot: it needs no display and keeps no state
    figure.subplots_adjust(0.06, 0.07, 0.84, 0.95, hspace=0.25, wspace=0.42)  # legends stand beside the axes
    for axes, (title, scale, names) in zip(figure.subplots(2, 2).flat, CHARTS, strict=True):
        for name in names:
            if points := [(row["epoch"], row[name]) for row in rows if name in row]:
                axes.plot(*zip(*points, strict=True), linestyle=":" if "_hard" in name else "-", marker=".", label=name)
        axes.set(title=title, xlabel="epoch", yscale=scale)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    write_whole(lambda file: figure.savefig(file, dpi=80), path)
