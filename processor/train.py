"""The training loop: one function for the run, one for an epoch, one for each step of a batch."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from datasets.clips.batch_sampler import IdentityBatchSampler
from datasets.clips.clip_dataset import TrackletClips
from datasets.clips.transforms import Augmenter
from model import XTFCLIP
from solver import centralize_gradients
from utils.processes import Processes
from utils.runtime import Runtime

from .bad_frames import BadFrames
from .state import BEST_CHECKPOINT, LAST_CHECKPOINT, TrainingState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOptions:
    """How long to train, and how often to report.

    Attributes:
        num_epochs: Epochs in all, those before a resume included.
        log_period: Steps between two log lines.
        eval_period: Epochs between two validations; the last epoch is always validated. 0 for none.
        max_bad_fraction: Share of an epoch's frames, 0..1, that may be unreadable.
    """

    num_epochs: int
    log_period: int = 50
    eval_period: int = 0
    max_bad_fraction: float = 1.0


def train(
    state: TrainingState,
    loader: DataLoader,
    augment: Augmenter,
    runtime: Runtime,
    options: TrainingOptions,
    output: Path,
    validate: Callable[[XTFCLIP], float],
) -> None:
    """Train up to the last epoch, and keep the last checkpoint and the best by validation.

    With several processes, each gets its slice of every batch, and process 0 writes the files.

    Args:
        state: Training continues from its epoch.
        loader: Batches of P x K clips, of ``datasets.make_train_loader``.
        augment: Turns uint8 clips into augmented, normalised floats.
        runtime: Device and precision.
        options: Length of the run and periods.
        output: Folder for checkpoints and TensorBoard files.
        validate: Returns the mAP, 0..1, that picks the best checkpoint; the same in every process.
    Raises:
        FloatingPointError: If a loss is not finite; the last checkpoint is from before.
        UnreadableFrameError: If too many frames of an epoch cannot be read; likewise.
    """
    if state.epoch >= options.num_epochs:
        logger.info("Already trained for %d epochs: raise SOLVER.STAGE2.MAX_EPOCHS to train on.", state.epoch)
    logger.info(
        "total = %g id + %g triplet + %g memory + %g / T frame; id and triplet are sums over the three features",
        state.criterion.id_weight,
        state.criterion.triplet_weight,
        state.criterion.memory_weight,
        state.criterion.frame_weight,
    )
    with ScalarBoard(output / "tensorboard", runtime.processes) as board:
        while state.epoch < options.num_epochs:
            cast(IdentityBatchSampler, loader.batch_sampler).set_epoch(state.epoch)
            means = train_one_epoch(state, loader, augment, runtime, options)
            for name, value in means.items():
                board.add(f"train/{name}", value, state.epoch + 1)
            state.criterion.next_epoch()
            state.schedule.step()
            state.epoch += 1
            state.save(output / LAST_CHECKPOINT)  # before validation, which may fail
            is_last = state.epoch == options.num_epochs
            if options.eval_period and (state.epoch % options.eval_period == 0 or is_last):
                mean_ap = validate(state.model)
                board.add("validation/mAP", mean_ap, state.epoch)
                if mean_ap >= state.best:
                    state.best = mean_ap
                    state.save(output / BEST_CHECKPOINT)
                    state.save(output / LAST_CHECKPOINT)


def train_one_epoch(
    state: TrainingState, loader: DataLoader, augment: Augmenter, runtime: Runtime, options: TrainingOptions
) -> dict[str, float]:
    """Train on every batch once; returns the epoch's means of every loss term, accuracy, rate and speed."""
    state.model.train()
    state.criterion.train()
    name = f"epoch {state.epoch + 1}"
    record = EpochRecord(state.epoch + 1, len(loader), options.log_period)
    tracklets = cast(TrackletClips, loader.dataset).tracklets
    bad_frames = BadFrames(tracklets, name, len(loader), options.max_bad_fraction, runtime.processes)
    for batch in runtime.show_progress(loader, name, "step"):
        bad_frames.add(batch)
        clips = augment(batch["clips"].to(runtime.device, non_blocking=True), state.generator)
        labels = batch["label"].to(runtime.device, non_blocking=True)
        camids = batch["camid"].to(runtime.device, non_blocking=True)
        terms, accuracy = compute_losses(state, clips, camids, labels, runtime)
        num_clips = len(clips) * runtime.processes.world_size
        record.add({**terms, "accuracy": accuracy}, num_clips, state.optimizer.param_groups[0]["lr"])
        update_weights(state, terms["total"])
    bad_frames.finish()
    return record.finish()


def compute_losses(
    state: TrainingState, clips: Tensor, camids: Tensor, labels: Tensor, runtime: Runtime
) -> tuple[dict[str, Tensor], Tensor]:
    """Run a batch through model and losses; returns the terms and the share of clips that f_img's classifier knows.

    The clips are this process's slice of the batch. The model returns the whole batch, so the losses, and all that they
    mine and accumulate, are the same in every process.
    """
    (labels,) = runtime.processes.gather_batch(labels)
    with runtime.autocast():
        output = state.parallel_model(clips, camids, memory=state.memory)
        terms = state.criterion(output, labels)
    return terms, (output.id_logits[0].argmax(dim=1) == labels).float().mean()


def update_weights(state: TrainingState, loss: Tensor) -> None:
    """Compute the gradients of a loss, unscale and centralise them, and take one optimiser step."""
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    state.scaler.unscale_(state.optimizer)
    if state.centralize:
        centralize_gradients(state.model.parameters())
    state.scaler.step(state.optimizer)
    state.scaler.update()


class ScalarBoard:
    """Write scalars for TensorBoard, in process 0; the other processes write nothing.

    Args:
        folder: Where TensorBoard's files go.
        processes: This process among all.
    """

    def __init__(self, folder: Path, processes: Processes) -> None:
        self._writer = SummaryWriter(str(folder)) if processes.is_main else None

    def __enter__(self) -> "ScalarBoard":
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer:
            self._writer.close()

    def add(self, name: str, value: float, epoch: int) -> None:
        """Write the value of a scalar after an epoch."""
        if self._writer:
            self._writer.add_scalar(name, value, epoch)


class EpochRecord:
    """Collect the measures of one epoch: means and log lines.

    Args:
        epoch: 1-based, for messages.
        num_steps: Steps in the epoch.
        log_period: Steps between two lines.
    """

    def __init__(self, epoch: int, num_steps: int, log_period: int) -> None:
        self.epoch = epoch
        self.num_steps = num_steps
        self.log_period = log_period
        self.sums: dict[str, float] = {}
        self.steps = 0
        self.clips = 0
        self.rate = 0.0
        self.start = time.perf_counter()

    def add(self, measures: dict[str, Tensor], num_clips: int, rate: float) -> None:
        """Record one step; raises FloatingPointError, naming every term, if one is not finite."""
        names = list(measures)
        values = dict(zip(names, torch.stack([measures[name].detach() for name in names]).tolist(), strict=True))
        self.steps += 1
        if not all(math.isfinite(value) for value in values.values()):
            raise FloatingPointError(
                f"Loss is not finite in epoch {self.epoch}, step {self.steps}: {_format(values)}. "
                "Lower SOLVER.STAGE2.BASE_LR or set SOLVER.PRECISION fp32, then continue with --resume."
            )
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.clips += num_clips
        self.rate = rate
        if self.steps % self.log_period == 0 or self.steps == self.num_steps:
            logger.info("epoch %d step %d/%d: %s", self.epoch, self.steps, self.num_steps, _format(self.means()))

    def means(self) -> dict[str, float]:
        """Return the means so far, the learning rate and the speed in clips per second."""
        means = {name: value / self.steps for name, value in self.sums.items()}
        return {**means, "lr": self.rate, "clips_per_second": self.clips / (time.perf_counter() - self.start)}

    def finish(self) -> dict[str, float]:
        """Return the epoch's means; raises ValueError if it had no step."""
        if not self.steps:
            raise ValueError("The training loader returned no batch: there are fewer identities than a batch holds.")
        return self.means()


def _format(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.3g}" if name == "lr" else f"{name} {value:.3f}" for name, value in values.items())
