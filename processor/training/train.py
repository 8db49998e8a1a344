"""Train the network: one function for the run, one for an epoch, one for each part of a step."""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import cast

from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets.clips.batch_sampler import IdentityBatchSampler
from datasets.clips.clip_dataset import TrackletClips
from datasets.clips.transforms import Augmenter
from model import XTFCLIP
from solver import centralize_gradients
from utils.stopping import STOP_REQUESTS

from ..evaluation.bad_frames import BadFrames
from .checkpoints import SavePoints
from .cuda_graphs import RecordedStep, Recorder, find_obstacle
from .guards import FiniteGuard
from .monitor import TrainingMonitor
from .state import Measured, TrainingState

logger = logging.getLogger(__name__)


def train(
    state: TrainingState,
    loader: DataLoader,
    augment: Augmenter,
    output: Path,
    validate: Callable[[XTFCLIP], float | None],
    ideal_step_seconds: float = 0.0,
) -> None:
    """Train up to the last epoch, keeping the last checkpoint and, if validation chooses one, the best.

    Training continues from the state's epoch and step, or with the validation that is due. Process 0 writes into
    ``output``. ``validate`` returns the mAP, 0..1, of a model, or None if nobody can be scored.
    """
    solver = state.cfg.SOLVER.STAGE2
    if state.epoch >= solver.MAX_EPOCHS:
        logger.info("Already trained for %d epochs: raise SOLVER.STAGE2.MAX_EPOCHS to train on.", state.epoch)
    sampler = cast(IdentityBatchSampler, loader.batch_sampler)
    if state.cfg.DATALOADER.HARD_IDENTITIES:
        sampler.prefer_neighbours(state.memory.cpu().numpy())
    if state.epoch and not state.steps_before:  # as version 0.1.0 counted them
        state.steps_before = state.epoch * len(sampler)
    monitor = TrainingMonitor(state, output, ideal_step_seconds)
    save_points, recorded = SavePoints(state, output), record_step(state, augment)
    with closing(monitor):
        while True:
            if state.validation_is_due:
                validate_epoch(state, monitor, save_points, validate)
            if state.epoch >= solver.MAX_EPOCHS:
                break
            state.start_epoch()
            sampler.set_epoch(state.epoch, done=state.step)
            with STOP_REQUESTS.deferred():  # up to the next save point
                train_one_epoch(state, loader, augment, monitor, save_points, recorded)
                state.finish_epoch(len(sampler))
                save_points.save()
                save_points.stop_if_asked()


def validate_epoch(
    state: TrainingState,
    monitor: TrainingMonitor,
    save_points: SavePoints,
    validate: Callable[[XTFCLIP], float | None],
) -> None:
    """Validate the weights and, beside them, their moving average, whose mAP then chooses the best checkpoint."""
    data = state.cfg.DATASETS  # people of these keys are neither trained on nor tested, so they choose
    chooses = bool(data.VALIDATION_DIR or data.VALIDATION_FRACTION or data.VALIDATION_PIDS)
    mean_ap, averaged_map = validate(state.model), None
    if state.averaged is not None:
        logger.info("The table above is of the weights as they are, the next one of their moving average.")
        averaged_map = validate(cast(XTFCLIP, state.averaged.module))
    if mean_ap is not None:
        monitor.add_scores(state.epoch, mean_ap, averaged_map, chooses)
    state.validation_is_due = False
    if chooses:
        save_points.save_best(mean_ap if averaged_map is None else averaged_map)
    save_points.save()


def train_one_epoch(
    state: TrainingState,
    loader: DataLoader,
    augment: Augmenter,
    monitor: TrainingMonitor | None = None,
    save_points: SavePoints | None = None,
    recorded: RecordedStep | None = None,
) -> dict[str, float]:
    """Train on every batch that is left of an epoch; returns its means of every loss term, accuracy, rate and speed.

    ``recorded`` takes the steps as CUDA graphs.
    """
    runtime, num_parts = state.runtime, state.cfg.SOLVER.STAGE2.ACCUMULATION_STEPS
    monitor = monitor or TrainingMonitor(state)
    state.model.train()
    state.criterion.train()
    name = f"epoch {state.epoch + 1}"
    tracklets = cast(TrackletClips, loader.dataset).tracklets
    max_bad_fraction = state.cfg.DATALOADER.MAX_BAD_FRACTION
    bad_frames = BadFrames(tracklets, name, len(loader), max_bad_fraction, runtime.processes)
    bad_frames.go_on_from(state.epoch_so_far.get("bad_frames", []))
    guard = FiniteGuard(state, tracklets)
    monitor.start_epoch(state.epoch + 1, len(loader), state.epoch_so_far.get("measures"))
    for step, batch in enumerate(runtime.show_progress(loader, name, "step", done=state.step), start=state.step + 1):
        monitor.mark()
        bad_frames.add(batch)
        guard.remember()
        frames, labels, camids = batch["clips"], batch["label"], batch["camid"]
        draws = augment.draw(frames.shape, state.generator, pinned=runtime.device.type == "cuda")
        inputs = [frames, labels, camids, *draws]
        if state.epoch == 0 and step == 1:
            monitor.show_samples(frames, augment, draws)
        completes_batch = step % num_parts == 0
        if recorded:
            recorded(inputs, monitor.send_measures)
        else:
            inputs = [part.to(runtime.device, non_blocking=True) for part in inputs]
            with runtime.processes.exchange_gradients(state.parallel_model, now=completes_batch):
                compute_gradients(state, augment, inputs, monitor.send_measures)
        guard.check_losses(monitor.read_measures(), batch, step)
        if completes_batch and guard.may_update() and not recorded:
            update_weights(state)
        monitor.mark()
        if completes_batch and step < len(loader) and save_points is not None:  # the end of the epoch saves, too
            save_points.visit(step, monitor, bad_frames)
    bad_frames.finish()
    guard.finish()
    return monitor.finish_epoch()


def record_step(state: TrainingState, augment: Augmenter) -> RecordedStep | None:
    """Prepare the step that SOLVER.CUDA_GRAPHS asks for; None if it does not, or with a warning if it cannot be had."""
    if not state.cfg.SOLVER.CUDA_GRAPHS:
        return None
    if obstacle := find_obstacle(state.cfg, state.runtime):
        logger.warning("SOLVER.CUDA_GRAPHS is left out: %s.", obstacle)
        return None
    compute, update = partial(compute_gradients, state, augment), partial(update_weights, state)
    return RecordedStep(state, compute, update, Recorder(state.runtime.device))


def compute_gradients(
    state: TrainingState, augment: Augmenter, inputs: Sequence[Tensor], send: Callable[[Measured], None]
) -> None:
    """Augment a batch, compute its losses, ``send`` what the forward pass measured, and add to the gradients.

    The inputs are frames as bytes, (B, T, C, H, W), labels and cameras, (B,), and the draws of the augmentation.
    """
    frames, labels, camids, *draws = inputs
    terms = compute_losses(state, augment.apply(frames, *draws), camids, labels, send)
    state.scaler.scale(terms["total"] / state.cfg.SOLVER.STAGE2.ACCUMULATION_STEPS).backward()


def compute_losses(
    state: TrainingState,
    clips: Tensor,
    camids: Tensor,
    labels: Tensor,
    send: Callable[[Measured], None] | None = None,
) -> dict[str, Tensor]:
    """Run this process's slice of a batch through the model, which returns the whole one, and compute its losses."""
    (labels,) = state.runtime.processes.gather_batch(labels)
    with state.runtime.autocast():
        output = state.parallel_model(clips, camids, memory=state.memory)
        terms = state.criterion(output, labels)
    if send is not None:
        send(Measured({name: term.detach() for name, term in terms.items()}, output.detach(), labels))
    return terms


def update_weights(state: TrainingState) -> None:
    """Unscale, centralise and clip the gradients, take one optimiser step with them, and remove them."""
    state.scaler.unscale_(state.optimizer)
    solver = state.cfg.SOLVER.STAGE2
    if solver.GRADIENT_CENTRALIZATION:
        centralize_gradients(state.model.parameters())
    if solver.CLIP_GRADIENT_NORM:
        learned = [*state.model.parameters(), *state.criterion.parameters()]
        nn.utils.clip_grad_norm_(learned, solver.CLIP_GRADIENT_NORM)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    if state.averaged is not None:
        state.averaged.update(state.model)
