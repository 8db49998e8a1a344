"""Hold everything that changes while training, and write it to checkpoints and read it from them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from loss import ReidLoss
from model import XTFCLIP
from utils.checkpoint import fitting, write_checkpoint, write_weights
from utils.mistake import Mistake
from utils.runtime import Runtime

logger = logging.getLogger(__name__)

LAST_CHECKPOINT = "checkpoint_last.pth"
BEST_CHECKPOINT = "checkpoint_best.pth"
PREVIOUS_CHECKPOINT = "checkpoint_previous.pth"  # the last one but one, in case the last is damaged
PROGRESS = ("epoch", "step", "epoch_so_far", "validation_is_due", "best")  # fields of the state


def weights_beside(path: Path, ending: str = "") -> Path:
    """Return the file of the weights that belong to a checkpoint: weights_last.safetensors for checkpoint_last.pth."""
    return path.with_name(f"{path.stem.replace('checkpoint', 'weights')}{ending}.safetensors")


@dataclass(frozen=True)
class TrainingOptions:
    """How long to train, and how often to report, to save and to validate."""

    num_epochs: int  # those before a resume included
    log_period: int = 50  # steps between two log lines
    eval_period: int = 0  # epochs between two validations; the last epoch is always validated; 0 for none
    keeps_best: bool = False  # whether validation chooses a checkpoint: its people are neither trained on nor tested
    checkpoint_minutes: float = 0.0  # between two checkpoints within an epoch; 0 for none
    accumulation_steps: int = 1  # whose gradients are averaged before the weights change
    skips_non_finite: bool = False  # skip a batch whose loss is not finite instead of stopping
    max_bad_fraction: float = 1.0  # share of an epoch's frames, 0..1, that may be unreadable
    ideal_step_seconds: float = 0.0  # at the device's rate of matrix products; 0 if that was not measured

    def validates_after(self, epoch: int) -> bool:
        """Whether the model is validated after this epoch, counted from 1."""
        return self.eval_period > 0 and (epoch % self.eval_period == 0 or epoch == self.num_epochs)


@dataclass
class TrainingState:
    """Everything that changes while training, and what it belongs to: the content of a checkpoint.

    All processes hold the same state but for dropout's random numbers.
    """

    model: XTFCLIP
    criterion: ReidLoss
    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    runtime: Runtime
    memory: Tensor  # CLIP memory (K, P), frozen
    pids: list[int]  # training identities as annotated, in the order of their labels
    camids: list[int]  # training cameras as annotated, in the order of their indices
    data_hash: str = ""  # of the training tracklets' names and lengths
    config: str = ""  # YAML
    centralize: bool = True  # gradients
    max_gradient_norm: float = 0.0  # to which larger gradients are scaled down; 0 for no limit
    ema_decay: float = 0.0  # of the weights' moving average, per update; 0 for no average
    generator: torch.Generator = field(default_factory=torch.Generator)  # of the augmentation
    epoch: int = 0  # number of finished epochs
    step: int = 0  # number of finished steps of the epoch after these
    epoch_so_far: dict[str, Any] = field(default_factory=dict)  # counted in those steps; empty between two epochs
    validation_is_due: bool = False  # of the last finished epoch
    best: float = 0.0  # validation mAP so far, visual only, 0..1
    with_weights: bool = False  # whether ``save`` also writes the weights alone, as .safetensors, for evaluation
    scaler: torch.amp.GradScaler = field(init=False)  # works in fp16 only
    averaged: ModelEmaV3 | None = field(init=False)  # the moving average, in evaluation mode
    parallel_model: nn.Module = field(init=False)  # as training calls it: gradients of all processes are averaged

    def __post_init__(self) -> None:
        self.scaler = self.runtime.make_scaler()
        self.averaged = ModelEmaV3(self.model, self.ema_decay) if self.ema_decay else None
        self.model.gather_batch = self.runtime.processes.gather_batch
        self.parallel_model = self.runtime.processes.parallelize(self.model)

    def finish_epoch(self) -> None:
        """Go on to the next epoch: new soft labels, and the next learning rate."""
        self.criterion.next_epoch()
        self.schedule.step()
        self.epoch += 1
        self.step = 0
        self.epoch_so_far = {}

    def save(self, path: Path, previous: Path | None = None) -> None:
        """Write a checkpoint from which training continues exactly, and keep the one before as ``previous``.

        All processes call this, and process 0 writes. If a weight is not finite, nothing is written.
        """
        if name := _find_infinite(self.model.state_dict()):
            raise Mistake(
                f"{name} is not finite after epoch {self.epoch}, so nothing was saved; the checkpoint before is kept. "
                "Lower SOLVER.STAGE2.BASE_LR or set SOLVER.PRECISION fp32, then continue with --resume."
            )
        random_states = self.runtime.processes.gather_values(_random_states(self.runtime.device))
        if not self.runtime.processes.is_main:
            return
        content = {
            "model": self.model.state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "scaler": self.scaler.state_dict(),
            "generator": self.generator.get_state(),
            "random_states": random_states,
            **{name: getattr(self, name) for name in ("memory", "pids", "camids", "data_hash", "config", *PROGRESS)},
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
        """
        if "optimizer" not in content:
            raise Mistake(f"{path} holds weights only: training cannot resume from it. Use it with eval_main.py.")
        with fitting(path):
            self._require_same_data(content, path)
            if name := _find_odd_weight(content["model"], self.model.state_dict()):
                raise ValueError(f"{name} is no dense tensor of finite numbers in the shape of this configuration")
            self.model.load_state_dict(content["model"])
            self.criterion.load_state_dict(content["criterion"])
            if self.averaged is not None:  # a run may begin to average when it resumes
                self.averaged.module.load_state_dict(content.get("averaged", content["model"]))
            self._restore_solver(content)
            self.memory = content["memory"].to(self.runtime.device).view(len(self.pids), self.memory.shape[1])
            self.generator.set_state(content["generator"])
            for states in content["random_states"][self.runtime.processes.rank :][:1]:  # none for a new process
                torch.set_rng_state(states["cpu"])
                if self.runtime.device.type == "cuda" and "cuda" in states:  # a run may resume on another device
                    torch.cuda.set_rng_state(states["cuda"], self.runtime.device)
            for name in PROGRESS:
                setattr(self, name, content[name])
        logger.info("Resumed from %s after epoch %d and %d steps of the next", path, self.epoch, self.step)

    def _require_same_data(self, content: dict[str, Any], path: Path) -> None:
        if content["pids"] != self.pids or content["camids"] != self.camids:
            raise Mistake(
                f"{path} was trained on {len(content['pids'])} identities and {len(content['camids'])} cameras, not on "
                f"the {len(self.pids)} and {len(self.camids)} of DATASETS.ROOT_DIR: training cannot resume."
            )
        if content["data_hash"] != self.data_hash:
            logger.warning(
                "%s was trained on other tracklets of the same people (names or lengths differ from those in "
                "DATASETS.ROOT_DIR), so this run ends otherwise, and its CLIP memory is of the tracklets before.",
                path,
            )

    def _restore_solver(self, content: dict[str, Any]) -> None:
        """Restore optimiser, schedule and scaler, with this run's learning rates, weight decay and kind of Adam."""
        groups = self.optimizer.param_groups
        configured = [{key: group[key] for key in ("initial_lr", "weight_decay", "fused")} for group in groups]
        # The kind of Adam decides where its step counts lie, so it has to be this run's before they are loaded.
        for saved, own in zip(content["optimizer"]["param_groups"], configured, strict=True):
            saved["fused"] = own["fused"]
        self.optimizer.load_state_dict(content["optimizer"])
        if content["scaler"] and self.scaler.is_enabled():  # a run may resume in another precision
            self.scaler.load_state_dict(content["scaler"])
        self.schedule.last_epoch = content["schedule"]["last_epoch"]
        self.schedule.base_lrs = [own["initial_lr"] for own in configured]
        for group, own, factor in zip(self.optimizer.param_groups, configured, self.schedule.lr_lambdas, strict=True):
            group.update(own, lr=own["initial_lr"] * factor(content["epoch"]))


def _find_infinite(weights: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first weight that is not finite, if any; waits for the device once."""
    named = [(name, value) for name, value in weights.items() if value.is_floating_point()]
    finite = torch.stack([value.isfinite().all() for _, value in named]).tolist()
    return next((name for (name, _), is_finite in zip(named, finite, strict=True) if not is_finite), None)


def _find_odd_weight(weights: Mapping[str, Any], own: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first weight whose numbers cannot take the place of the model's own."""
    for name, value in own.items():
        other = weights[name]
        is_dense = isinstance(other, Tensor) and other.layout is torch.strided and not other.is_meta
        is_alike = is_dense and other.shape == value.shape and other.is_floating_point() == value.is_floating_point()
        if not (is_alike and other.to(value.dtype).isfinite().all()):
            return name
    return None


def _random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's generators that this process draws dropout masks from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states
