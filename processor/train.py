"""Training: one function per epoch, one for the run, and the state that a checkpoint holds."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from yacs.config import CfgNode

from datasets.clips.transforms import Augmenter
from solver import centralize_gradients
from utils.checkpoint import read_checkpoint, write_checkpoint
from utils.runtime import Runtime

from .bad_frames import BadFrames

logger = logging.getLogger(__name__)

LAST_CHECKPOINT = "checkpoint_last.pth"
BEST_CHECKPOINT = "checkpoint_best.pth"


@dataclass
class Training:
    """Everything that changes while training, and what belongs to it: the content of a checkpoint.

    Attributes:
        model, criterion, optimizer, schedule, scaler: As their names say; the criterion holds label smoothing's state.
        memory: CLIP memory (K, P), frozen.
        pids, camids: Training identities and cameras as annotated; their positions are the labels and camera indices.
        centralize: Whether to centralise gradients.
        generator: Draws the augmentation.
        epoch: Epochs done.
        best: Best validation mAP so far, visual only, 0..1.
    """

    model: nn.Module
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    memory: Tensor
    pids: list[int]
    camids: list[int]
    centralize: bool = True
    generator: torch.Generator = field(default_factory=torch.Generator)
    epoch: int = 0
    best: float = 0.0

    def save(self, path: Path, cfg: CfgNode) -> None:
        """Write a checkpoint from which training continues exactly."""
        content = {
            "model": self.model.state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "memory": self.memory,
            "pids": self.pids,
            "camids": self.camids,
            "generator": self.generator.get_state(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "epoch": self.epoch,
            "best": self.best,
            "config": cfg.dump(),
        }
        write_checkpoint(content, path)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint of the same data and configuration.

        Raises:
            FileNotFoundError, ValueError: As ``read_checkpoint``; ValueError also if it was not written by ``save``, or
                belongs to other identities or cameras.
        """
        content = read_checkpoint(path)
        if "optimizer" not in content:
            raise ValueError(f"{path} holds weights only: training cannot resume from it. Use it with eval_main.py.")
        if content["pids"] != self.pids or content["camids"] != self.camids:
            raise ValueError(
                f"{path} was trained on {len(content['pids'])} identities and {len(content['camids'])} cameras, not on "
                f"the {len(self.pids)} and {len(self.camids)} of DATASETS.ROOT_DIR: training cannot resume."
            )
        configured = [
            {key: group[key] for key in ("initial_lr", "weight_decay", "fused")}
            for group in self.optimizer.param_groups
        ]
        try:
            self.model.load_state_dict(content["model"])
            self.criterion.load_state_dict(content["criterion"])
            self.optimizer.load_state_dict(content["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{path} belongs to another configuration, resume with its own: {error}") from error
        self.schedule.load_state_dict(content["schedule"])
        if content["scaler"] and self.scaler.is_enabled():  # a run may resume in another precision
            self.scaler.load_state_dict(content["scaler"])
        self.memory = content["memory"].to(self.memory.device)
        self.generator.set_state(content["generator"])
        torch.set_rng_state(content["rng"])
        if content["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(content["cuda_rng"][: torch.cuda.device_count()])
        self.epoch = content["epoch"]
        self.best = content["best"]
        # Rates and decay are the configuration's, not the checkpoint's: a run may resume with others.
        self.schedule.base_lrs = [group["initial_lr"] for group in configured]
        for group, own, factor in zip(self.optimizer.param_groups, configured, self.schedule.lr_lambdas, strict=True):
            group.update(own, lr=own["initial_lr"] * factor(self.epoch))
        logger.info("Resumed from %s after epoch %d", path, self.epoch)


def keep_old_checkpoints(output: Path) -> None:
    """Move the checkpoints of an earlier run aside, so that a new run neither overwrites nor is mistaken for it."""
    for name in (LAST_CHECKPOINT, BEST_CHECKPOINT):
        if (output / name).is_file():
            (output / name).replace(output / f"{name}.old")
            logger.warning("%s is of an earlier run: kept as %s.old (--resume would have continued it)", name, name)


def train(
    cfg: CfgNode,
    training: Training,
    loader: DataLoader,
    augment: Augmenter,
    runtime: Runtime,
    output: Path,
    validate: Callable[[nn.Module], float],
) -> None:
    """Train up to MAX_EPOCHS, keeping the last checkpoint and the best by validation.

    Args:
        cfg: Its SOLVER.STAGE2 says how long, and how often to log and to validate; DATALOADER.MAX_BAD_FRACTION how
            many frames may be unreadable.
        training: Continues from its epoch.
        loader: Batches of P x K clips.
        augment: uint8 clips to augmented, normalised floats.
        runtime: Device and precision.
        output: Folder for checkpoints and TensorBoard files.
        validate: Gives the mAP that picks the best checkpoint.
    Raises:
        FloatingPointError: If a loss is not finite; the last checkpoint is from before.
        UnreadableFrameError: If too many frames of an epoch cannot be read; likewise.
    """
    stage = cfg.SOLVER.STAGE2
    if training.epoch >= stage.MAX_EPOCHS:
        logger.info("Already trained for %d epochs: raise SOLVER.STAGE2.MAX_EPOCHS to train on.", training.epoch)
    logger.info(
        "total = %g id + %g triplet + %g memory + %g / T frame; id and triplet are sums over the three features",
        training.criterion.id_weight,
        training.criterion.triplet_weight,
        training.criterion.memory_weight,
        training.criterion.frame_weight,
    )
    with SummaryWriter(str(output / "tensorboard")) as board:
        while training.epoch < stage.MAX_EPOCHS:
            loader.batch_sampler.set_epoch(training.epoch)
            means = train_one_epoch(
                training, loader, augment, runtime, stage.LOG_PERIOD, cfg.DATALOADER.MAX_BAD_FRACTION
            )
            for name, value in means.items():
                board.add_scalar(f"train/{name}", value, training.epoch + 1)
            training.criterion.next_epoch()
            training.schedule.step()
            training.epoch += 1
            training.save(output / LAST_CHECKPOINT, cfg)  # before validation, which may fail
            is_last = training.epoch == stage.MAX_EPOCHS
            if stage.EVAL_PERIOD and (training.epoch % stage.EVAL_PERIOD == 0 or is_last):
                score = validate(training.model)
                board.add_scalar("validation/mAP", score, training.epoch)
                if score >= training.best:
                    training.best = score
                    training.save(output / BEST_CHECKPOINT, cfg)
                    training.save(output / LAST_CHECKPOINT, cfg)


def train_one_epoch(
    training: Training,
    loader: DataLoader,
    augment: Augmenter,
    runtime: Runtime,
    log_period: int,
    max_bad_fraction: float = 1.0,
) -> dict[str, float]:
    """Train on every batch once; returns the epoch's means of every loss term, accuracy, rate and speed."""
    training.model.train()
    training.criterion.train()
    record = EpochRecord(training.epoch + 1, len(loader), log_period)
    bad_frames = BadFrames(loader.dataset.tracklets, f"epoch {training.epoch + 1}", len(loader), max_bad_fraction)
    for batch in tqdm(loader, desc=f"epoch {training.epoch + 1}", unit="step", disable=None, leave=False):
        bad_frames.add(batch)
        clips = augment(batch["clips"].to(runtime.device, non_blocking=True), training.generator)
        labels = batch["label"].to(runtime.device, non_blocking=True)
        camids = batch["camid"].to(runtime.device, non_blocking=True)
        terms, accuracy = compute_losses(training, clips, camids, labels, runtime)
        record.add({**terms, "accuracy": accuracy}, len(clips), training.optimizer.param_groups[0]["lr"])
        update_weights(training, terms["total"])
    bad_frames.finish()
    return record.finish()


def compute_losses(
    training: Training, clips: Tensor, camids: Tensor, labels: Tensor, runtime: Runtime
) -> tuple[dict[str, Tensor], Tensor]:
    """Forward a batch: the loss terms, and the share of clips that the classifier on f_img gets right."""
    with runtime.autocast():
        output = training.model(clips, camids, memory=training.memory)
        terms = training.criterion(output, labels)
    return terms, (output.id_logits[0].argmax(dim=1) == labels).float().mean()


def update_weights(training: Training, loss: Tensor) -> None:
    """Backward, unscale, centralise, step."""
    training.optimizer.zero_grad(set_to_none=True)
    training.scaler.scale(loss).backward()
    training.scaler.unscale_(training.optimizer)
    if training.centralize:
        centralize_gradients(training.model.parameters())
    training.scaler.step(training.optimizer)
    training.scaler.update()


class EpochRecord:
    """Means and log lines of one epoch.

    Args:
        epoch: 1-based, for messages.
        num_steps: Steps in the epoch.
        log_period: Steps between two lines.
    """

    def __init__(self, epoch: int, num_steps: int, log_period: int):
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
        """Means so far, with the learning rate and the speed in clips per second."""
        means = {name: value / self.steps for name, value in self.sums.items()}
        return {**means, "lr": self.rate, "clips_per_second": self.clips / (time.perf_counter() - self.start)}

    def finish(self) -> dict[str, float]:
        """The epoch's means; raises ValueError if it had no step."""
        if not self.steps:
            raise ValueError("The training loader gave no batch: there are fewer identities than a batch holds.")
        return self.means()


def _format(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.3g}" if name == "lr" else f"{name} {value:.3f}" for name, value in values.items())
