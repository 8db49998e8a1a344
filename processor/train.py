"""The training loop: one function for the run, one for an epoch, one for each step of a batch."""

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets.clips.batch_sampler import IdentityBatchSampler
from datasets.clips.clip_dataset import TrackletClips
from datasets.clips.transforms import Augmenter
from model import XTFCLIP
from solver import centralize_gradients
from utils.runtime import Runtime

from .bad_frames import BadFrames
from .monitor import TrainingMonitor
from .state import BEST_CHECKPOINT, LAST_CHECKPOINT, TrainingState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOptions:
    """How long to train, and how often to report.

    Attributes:
        num_epochs: Epochs in all, those before a resume included.
        log_period: Steps between two log lines.
        eval_period: Epochs between two validations; the last epoch is always validated. 0 for none.
        accumulation_steps: Steps whose gradients are averaged before the weights change.
        max_bad_fraction: Share of an epoch's frames, 0..1, that may be unreadable.
    """

    num_epochs: int
    log_period: int = 50
    eval_period: int = 0
    accumulation_steps: int = 1
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
        output: Folder for checkpoints and what ``TrainingMonitor`` writes.
        validate: Returns the mAP, 0..1, of a model; the same in every process. That of the averaged weights, where
            there are some, picks the best checkpoint.
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
    monitor = TrainingMonitor(
        output,
        options.num_epochs,
        options.log_period,
        runtime.device,
        state.epoch,
        enabled=runtime.processes.is_main,
    )
    with closing(monitor):
        while state.epoch < options.num_epochs:
            cast(IdentityBatchSampler, loader.batch_sampler).set_epoch(state.epoch)
            train_one_epoch(state, loader, augment, runtime, options, monitor)
            state.criterion.next_epoch()
            state.schedule.step()
            state.epoch += 1
            state.save(output / LAST_CHECKPOINT)  # before validation, which may fail
            is_last = state.epoch == options.num_epochs
            if options.eval_period and (state.epoch % options.eval_period == 0 or is_last):
                mean_ap = validate_weights(state, monitor, validate)
                if mean_ap >= state.best:
                    state.best = mean_ap
                    state.save(output / BEST_CHECKPOINT)
                    state.save(output / LAST_CHECKPOINT)


def validate_weights(state: TrainingState, monitor: TrainingMonitor, validate: Callable[[XTFCLIP], float]) -> float:
    """Validate the weights and, beside them, their moving average; returns the mAP that picks the best checkpoint."""
    mean_ap = validate(state.model)
    if state.averaged is None:
        monitor.add_validation(mean_ap)
        return mean_ap
    logger.info("The table above is of the weights as they are, the next one of their moving average.")
    averaged = validate(cast(XTFCLIP, state.averaged.module))
    monitor.add_validation(mean_ap, averaged)
    return averaged


def train_one_epoch(
    state: TrainingState,
    loader: DataLoader,
    augment: Augmenter,
    runtime: Runtime,
    options: TrainingOptions,
    monitor: TrainingMonitor | None = None,
) -> dict[str, float]:
    """Train on every batch once; returns the epoch's means of every loss term, accuracy, rate and speed.

    Without a monitor, nothing but log lines is written.
    """
    monitor = monitor or TrainingMonitor(
        Path(), options.num_epochs, options.log_period, runtime.device, state.epoch, enabled=False
    )
    state.model.train()
    state.criterion.train()
    name = f"epoch {state.epoch + 1}"
    tracklets = cast(TrackletClips, loader.dataset).tracklets
    bad_frames = BadFrames(tracklets, name, len(loader), options.max_bad_fraction, runtime.processes)
    monitor.start_epoch(state.epoch + 1, len(loader))
    for step, batch in enumerate(runtime.show_progress(loader, name, "step")):
        monitor.start_step()
        bad_frames.add(batch)
        clips = augment(batch["clips"].to(runtime.device, non_blocking=True), state.generator)
        labels = batch["label"].to(runtime.device, non_blocking=True)
        camids = batch["camid"].to(runtime.device, non_blocking=True)
        if state.epoch == step == 0:
            monitor.show_samples(clips, augment.normalize.invert)
        completes_batch = (step + 1) % options.accumulation_steps == 0
        with runtime.processes.exchange_gradients(state.parallel_model, now=completes_batch):
            terms, _ = compute_losses(state, clips, camids, labels, runtime, monitor)
            monitor.finish_forward(len(clips) * runtime.processes.world_size, state.optimizer.param_groups[0]["lr"])
            add_gradients(state, terms["total"] / options.accumulation_steps)
        monitor.finish_backward()
        if completes_batch:
            update_weights(state)
        monitor.finish_step()
    bad_frames.finish()
    return monitor.finish_epoch()


def compute_losses(
    state: TrainingState,
    clips: Tensor,
    camids: Tensor,
    labels: Tensor,
    runtime: Runtime,
    monitor: TrainingMonitor | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Run a batch through model and losses; returns the terms and the share of clips that f_img's classifier knows.

    The clips are this process's slice of the batch. The model returns the whole batch, so the losses, and all that they
    mine and accumulate, are the same in every process.
    """
    (labels,) = runtime.processes.gather_batch(labels)
    with runtime.autocast():
        output = state.parallel_model(clips, camids, memory=state.memory)
        terms = state.criterion(output, labels)
    accuracy = (output.id_logits[0].argmax(dim=1) == labels).float().mean()
    if monitor is not None:
        monitor.add({**terms, **state.criterion.hard_terms(output, labels), "accuracy": accuracy})
        monitor.add_distances(output.features, labels)
    return terms, accuracy


def add_gradients(state: TrainingState, loss: Tensor) -> None:
    """Add the gradients of a loss, scaled for their precision, to those of the steps since the last update."""
    state.scaler.scale(loss).backward()


def update_weights(state: TrainingState) -> None:
    """Unscale, centralise and clip the gradients, take one optimiser step with them, and remove them."""
    state.scaler.unscale_(state.optimizer)
    if state.centralize:
        centralize_gradients(state.model.parameters())
    if state.max_gradient_norm:
        nn.utils.clip_grad_norm_(state.model.parameters(), state.max_gradient_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    if state.averaged is not None:
        state.averaged.update(state.model)
