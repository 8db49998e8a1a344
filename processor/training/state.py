"""The state of training: everything that a checkpoint holds, how it is saved and restored, and where."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from loss import ReidLoss
from model import XTFCLIP
from utils.checkpoint import write_checkpoint, write_weights
from utils.entries import check_entries
from utils.mistake import Mistake
from utils.processes import ALONE, Processes

from ..checkpoint_checks import checks_for

logger = logging.getLogger(__name__)

LAST_CHECKPOINT = "checkpoint_last.pth"
BEST_CHECKPOINT = "checkpoint_best.pth"
PREVIOUS_CHECKPOINT = "checkpoint_previous.pth"  # the last one but one, in case the last is damaged


def weights_beside(path: Path, ending: str = "") -> Path:
    """Return the file of the weights that belong to a checkpoint: weights_last.safetensors for checkpoint_last.pth."""
    return path.with_name(f"{path.stem.replace('checkpoint', 'weights')}{ending}.safetensors")


@dataclass
class TrainingState:
    """Everything that changes while training, and what it belongs to: the content of a checkpoint.

    Attributes:
        model, optimizer, schedule, scaler: As their names say.
        criterion: The losses, with the state of label smoothing.
        memory: CLIP memory (K, P), frozen.
        pids: Training identities as annotated; an identity's position is its label.
        camids: Training cameras as annotated; a camera's position is its index.
        data_hash: Hash of the training tracklets' names and lengths.
        config: The run's configuration, as YAML.
        centralize: Whether to centralise gradients.
        max_gradient_norm: Norm to which larger gradients are scaled down; 0 for no limit.
        ema_decay: Decay of the weights' moving average, per update; 0 for no average.
        generator: Source of the augmentation's random numbers.
        epoch: Number of finished epochs.
        step: Number of finished steps of the epoch after these.
        epoch_so_far: What the loop has counted in those steps; empty between two epochs.
        validation_is_due: Whether the last finished epoch is still to be validated.
        best: Best validation mAP so far, visual only, 0..1.
        processes: Process 0 writes checkpoints. All else is the same in every process, but for the random numbers of
            dropout.
        averaged: The moving average of the weights, as a model in evaluation mode; None without.
        parallel_model: The model as training calls it: the gradients of all processes are averaged.
        with_weights: Whether ``save`` also writes the weights alone, as .safetensors, for evaluation.
    """

    model: XTFCLIP
    criterion: ReidLoss
    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    scaler: torch.amp.GradScaler
    memory: Tensor
    pids: list[int]
    camids: list[int]
    data_hash: str = ""
    config: str = ""
    centralize: bool = True
    max_gradient_norm: float = 0.0
    ema_decay: float = 0.0
    generator: torch.Generator = field(default_factory=torch.Generator)
    epoch: int = 0
    step: int = 0
    epoch_so_far: dict[str, Any] = field(default_factory=dict)
    validation_is_due: bool = False
    best: float = 0.0
    processes: Processes = ALONE
    with_weights: bool = False
    averaged: ModelEmaV3 | None = field(init=False)
    parallel_model: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.averaged = ModelEmaV3(self.model, self.ema_decay) if self.ema_decay else None
        self.model.gather_batch = self.processes.gather_batch
        self.parallel_model = self.processes.parallelize(self.model)

    def finish_epoch(self) -> None:
        """Go on to the next epoch: new soft labels, and the next learning rate."""
        self.criterion.next_epoch()
        self.schedule.step()
        self.epoch += 1
        self.step = 0
        self.epoch_so_far = {}

    def save(self, path: Path, previous: Path | None = None) -> None:
        """Write a checkpoint from which training continues exactly; all processes call this, and process 0 writes.

        Args:
            path: The file.
            previous: Where the file before is kept; None keeps none.
        Raises:
            FloatingPointError: If a weight is not finite; nothing is written.
            OSError: If the file cannot be written; the file before is kept.
        """
        _require_finite_weights(self.model, self.epoch)
        random_states = self.processes.gather_values(_random_states(self.memory.device))
        if not self.processes.is_main:
            return
        content = {
            "model": self.model.state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "scaler": self.scaler.state_dict(),
            "memory": self.memory,
            "pids": self.pids,
            "camids": self.camids,
            "data_hash": self.data_hash,
            "generator": self.generator.get_state(),
            "random_states": random_states,
            "epoch": self.epoch,
            "step": self.step,
            "epoch_so_far": self.epoch_so_far,
            "validation_is_due": self.validation_is_due,
            "best": self.best,
            "config": self.config,
        }
        if self.averaged is not None:
            content["averaged"] = self.averaged.module.state_dict()
        write_checkpoint(content, path, previous)
        if self.with_weights:
            values = {name: content[name] for name in ("config", "pids", "camids", "epoch", "step")}
            write_weights(self.model.state_dict(), values, weights_beside(path))
            if self.averaged is not None:
                write_weights(self.averaged.module.state_dict(), values, weights_beside(path, "_averaged"))

    def restore(self, content: dict[str, Any], path: Path) -> None:
        """Continue from a checkpoint of the same data and configuration; the number of processes may differ.

        Learning rates, weight decay and ``config`` stay as they are here: a run may resume with others.

        Args:
            content: What ``save`` wrote, of ``read_checkpoint``.
            path: Where it comes from, for messages.
        Raises:
            ValueError: If it was not written by ``save``, or belongs to other identities, other cameras or another
                configuration.
        """
        if "optimizer" not in content:
            raise Mistake(f"{path} holds weights only: training cannot resume from it. Use it with eval_main.py.")
        checks = checks_for(self.model, self.criterion, self.optimizer, self.scaler, self.generator)
        check_entries(content, path, {**checks, "averaged": checks["model"]}, optional=("averaged",))
        if content["step"] and not content["epoch_so_far"]:
            raise Mistake(f"{path} is damaged: it is from within an epoch, and its entry 'epoch_so_far' is empty.")
        if content["pids"] != self.pids or content["camids"] != self.camids:
            raise Mistake(
                f"{path} was trained on {len(content['pids'])} identities and {len(content['camids'])} cameras, not on "
                f"the {len(self.pids)} and {len(self.camids)} of DATASETS.ROOT_DIR: training cannot resume."
            )
        if len(content["memory"]) != len(self.pids):
            raise Mistake(f"{path} is damaged: CLIP memory of {len(content['memory'])} people for {len(self.pids)}.")
        if content["data_hash"] != self.data_hash:
            logger.warning(
                "%s was trained on other tracklets of the same people (names or lengths differ from those in "
                "DATASETS.ROOT_DIR), so this run ends otherwise, and its CLIP memory is of the tracklets before.",
                path,
            )
        configured = [
            {key: group[key] for key in ("initial_lr", "weight_decay", "fused")}
            for group in self.optimizer.param_groups
        ]
        # The kind of Adam decides where its step counts lie, so it has to be this run's before they are loaded.
        for saved, own in zip(content["optimizer"]["param_groups"], configured, strict=True):
            saved["fused"] = own["fused"]
        self.model.load_state_dict(content["model"])
        self.criterion.load_state_dict(content["criterion"])
        if self.averaged is not None:  # a run may begin to average when it resumes
            self.averaged.module.load_state_dict(content.get("averaged", content["model"]))
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.last_epoch = content["schedule"]["last_epoch"]
        if content["scaler"] and self.scaler.is_enabled():  # a run may resume in another precision
            self.scaler.load_state_dict(content["scaler"])
        self.memory = content["memory"].to(self.memory.device)
        self.generator.set_state(content["generator"])
        for states in content["random_states"][self.processes.rank :][:1]:  # none for a process that was not there
            _set_random_states(states, self.memory.device)
        self.epoch = content["epoch"]
        self.step = content["step"]
        self.epoch_so_far = content["epoch_so_far"]
        self.validation_is_due = content["validation_is_due"]
        self.best = content["best"]
        self.schedule.base_lrs = [group["initial_lr"] for group in configured]
        for group, own, factor in zip(self.optimizer.param_groups, configured, self.schedule.lr_lambdas, strict=True):
            group.update(own, lr=own["initial_lr"] * factor(self.epoch))
        logger.info("Resumed from %s after epoch %d and %d steps of the next", path, self.epoch, self.step)


def _require_finite_weights(model: nn.Module, epoch: int) -> None:
    """Raise FloatingPointError, naming the first one, if a weight is not finite; waits for the device once."""
    named = [(name, value) for name, value in model.state_dict().items() if value.is_floating_point()]
    finite = torch.stack([value.isfinite().all() for _, value in named]).tolist()
    for (name, _), is_finite in zip(named, finite, strict=True):
        if not is_finite:
            raise Mistake(
                f"{name} is not finite after epoch {epoch}, so nothing was saved; the checkpoint before is kept. Lower "
                "SOLVER.STAGE2.BASE_LR or set SOLVER.PRECISION fp32, then continue with --resume."
            )


def _random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's generators that this process draws dropout masks from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_states(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:  # a run may resume on another device
        torch.cuda.set_rng_state(states["cuda"], device)
