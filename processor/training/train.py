"""The training loop: one function for the run, one for an epoch, one for each part of a step."""

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
from utils.stopping import STOP_REQUESTS

from ..evaluation.bad_frames import BadFrames
from .guards import FiniteGuard
from .monitor import TrainingMonitor
from .save_points import SavePoints
from .state import BEST_CHECKPOINT, TrainingState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOptions:
    """How long to train, and how often to report, to save and to validate.

    Attributes:
        num_epochs: Epochs in all, those before a resume included.
        log_period: Steps between two log lines.
        eval_period: Epochs between two validations; the last epoch is always validated. 0 for none.
        keeps_best: Whether validation chooses a best checkpoint; its people must be neither trained on nor tested.
        checkpoint_minutes: Time between two checkpoints within an epoch; 0 for none.
        accumulation_steps: Steps whose gradients are averaged before the weights change.
        skips_non_finite: Whether a batch whose loss is not finite is skipped instead of stopping training.
        max_bad_fraction: Share of an epoch's frames, 0..1, that may be unreadable.
        ideal_step_seconds: What a step would take at the device's rate of matrix products; 0 if that was not measured.
    """

    num_epochs: int
    log_period: int = 50
    eval_period: int = 0
    keeps_best: bool = False
    checkpoint_minutes: float = 0.0
    accumulation_steps: int = 1
    skips_non_finite: bool = False
    max_bad_fraction: float = 1.0
    ideal_step_seconds: float = 0.0

    def validates_after(self, epoch: int) -> bool:
        """Whether the model is validated after this epoch, counted from 1."""
        return self.eval_period > 0 and (epoch % self.eval_period == 0 or epoch == self.num_epochs)


def train(
    state: TrainingState,
    loader: DataLoader,
    augment: Augmenter,
    runtime: Runtime,
    options: TrainingOptions,
    output: Path,
    validate: Callable[[XTFCLIP], float | None],
) -> None:
    """Train up to the last epoch, keeping the last checkpoint and, if validation chooses one, the best.

    With several processes, each gets its slice of every batch, and process 0 writes the files.

    Args:
        state: Training continues from its epoch and step, or with the validation that is due.
        loader: Batches of P x K clips, of ``datasets.make_train_loader``.
        augment: Turns uint8 clips into augmented, normalised floats.
        runtime: Device and precision.
        options: Length of the run and periods.
        output: Folder for checkpoints and what ``TrainingMonitor`` writes.
        validate: Returns the mAP, 0..1, of a model, or None if nobody can be scored; the same in every process.
    Raises:
        FloatingPointError: If a loss or the weights are not finite; the last checkpoint is from before.
        UnreadableFrameError: If too many frames of an epoch cannot be read; likewise.
        Stopped: If a signal asks training to stop; within an epoch the state is saved first.
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
    sampler = cast(IdentityBatchSampler, loader.batch_sampler)
    monitor = TrainingMonitor(
        output,
        options.num_epochs,
        options.log_period,
        runtime.device,
        state.epoch,
        first_step=state.epoch * len(sampler) + state.step + 1,
        enabled=runtime.processes.is_main,
        ideal_step_seconds=options.ideal_step_seconds,
    )
    save_points = SavePoints(state, output, options.checkpoint_minutes)
    with closing(monitor):
        while True:
            if state.validation_is_due:
                validate_epoch(state, monitor, options, save_points, validate)
            if state.epoch >= options.num_epochs:
                break
            sampler.set_epoch(state.epoch, done=state.step)
            with STOP_REQUESTS.deferred():  # up to the next save point
                train_one_epoch(state, loader, augment, runtime, options, monitor, save_points)
                state.finish_epoch()
                state.validation_is_due = options.validates_after(state.epoch)
                save_points.save()
                save_points.stop_if_asked()


def validate_epoch(
    state: TrainingState,
    monitor: TrainingMonitor,
    options: TrainingOptions,
    save_points: SavePoints,
    validate: Callable[[XTFCLIP], float | None],
) -> None:
    """Validate the weights and, beside them, their moving average; keep the best checkpoint if one is chosen.

    Where there is a moving average, its mAP chooses.
    """
    mean_ap, averaged_map = validate(state.model), None
    if state.averaged is not None:
        logger.info("The table above is of the weights as they are, the next one of their moving average.")
        averaged_map = validate(cast(XTFCLIP, state.averaged.module))
    if mean_ap is not None:
        monitor.add_scores(state.epoch, mean_ap, averaged_map, chooses=options.keeps_best)
    score = mean_ap if averaged_map is None else averaged_map
    state.validation_is_due = False
    if options.keeps_best and score is not None and score >= state.best:
        state.best = score
        state.save(save_points.output / BEST_CHECKPOINT)
    save_points.save()


def train_one_epoch(
    state: TrainingState,
    loader: DataLoader,
    augment: Augmenter,
    runtime: Runtime,
    options: TrainingOptions,
    monitor: TrainingMonitor | None = None,
    save_points: SavePoints | None = None,
) -> dict[str, float]:
    """Train on every batch that is left of an epoch; returns its means of every loss term, accuracy, rate and speed.

    Without a monitor, nothing but log lines is written; without save points, nothing is saved.
    """
    monitor = monitor or TrainingMonitor(
        Path(), options.num_epochs, options.log_period, runtime.device, state.epoch, enabled=False
    )
    state.model.train()
    state.criterion.train()
    name = f"epoch {state.epoch + 1}"
    tracklets = cast(TrackletClips, loader.dataset).tracklets
    bad_frames = BadFrames(tracklets, name, len(loader), options.max_bad_fraction, runtime.processes)
    guard = FiniteGuard(state, tracklets, options.skips_non_finite)
    monitor.start_epoch(state.epoch + 1, len(loader))
    if state.step:
        bad_frames.go_on_from(state.epoch_so_far["bad_frames"])
        monitor.go_on_from(state.epoch_so_far["measures"])
    for step, batch in enumerate(runtime.show_progress(loader, name, "step", done=state.step), start=state.step + 1):
        monitor.start_step()
        bad_frames.add(batch)
        guard.remember()
        clips = augment(batch["clips"].to(runtime.device, non_blocking=True), state.generator)
        labels = batch["label"].to(runtime.device, non_blocking=True)
        camids = batch["camid"].to(runtime.device, non_blocking=True)
        if state.epoch == 0 and step == 1:
            monitor.show_samples(clips, augment.normalize.invert)
        completes_batch = step % options.accumulation_steps == 0
        with runtime.processes.exchange_gradients(state.parallel_model, now=completes_batch):
            terms = compute_losses(state, clips, camids, labels, runtime, monitor)
            monitor.finish_forward(len(clips) * runtime.processes.world_size, state.optimizer.param_groups[0]["lr"])
            add_gradients(state, terms["total"] / options.accumulation_steps)
        guard.check_losses(monitor.finish_backward(), batch, step)
        if completes_batch and guard.may_update():
            update_weights(state)
        monitor.finish_step()
        if completes_batch and step < len(loader) and save_points is not None:  # the end of the epoch saves, too
            save_points.visit(step, monitor, bad_frames)
    bad_frames.finish()
    guard.finish()
    return monitor.finish_epoch()


def compute_losses(
    state: TrainingState,
    clips: Tensor,
    camids: Tensor,
    labels: Tensor,
    runtime: Runtime,
    monitor: TrainingMonitor | None = None,
) -> dict[str, Tensor]:
    """Run a batch through model and losses; returns the loss terms.

    The clips are this process's slice of the batch. The model returns the whole batch, so the losses, and all that they
    mine and accumulate, are the same in every process.
    """
    (labels,) = runtime.processes.gather_batch(labels)
    with runtime.autocast():
        output = state.parallel_model(clips, camids, memory=state.memory)
        terms = state.criterion(output, labels)
    if monitor is not None:
        accuracy = (output.id_logits[0].argmax(dim=1) == labels).float().mean()  # of f_img's classifier
        monitor.add({**terms, **state.criterion.hard_terms(output, labels), "accuracy": accuracy})
        monitor.add_distances(output.features, labels)
    return terms


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
