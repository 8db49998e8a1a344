"""Hold everything that changes while training, and write it to checkpoints and read it from them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.utils import ModelEmaV3
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from yacs.config import CfgNode

from configs import dump_config
from configs.load import BEST_CHECKPOINT
from loss import ReidLoss
from model import XTFCLIP, TrainingOutput
from utils.checkpoint import fitting, write_checkpoint, write_weights
from utils.mistake import Mistake
from utils.runtime import Runtime

logger = logging.getLogger(__name__)

PREVIOUS_CHECKPOINT = "checkpoint_previous.pth"  # the last one but one, in case the last is damaged
WITH_WEIGHTS = ("config", "pids", "camids", "camera_words", "epoch", "step", "chosen_on")  # in files of weights alone
PROGRESS = ("epoch", "step", "steps_before", "epoch_so_far", "validation_is_due", "best")  # fields of the state


def weights_beside(path: Path, ending: str = "") -> Path:
    """Return the file of the weights that belong to a checkpoint: weights_last.safetensors for checkpoint_last.pth."""
    return path.with_name(f"{path.stem.replace('checkpoint', 'weights')}{ending}.safetensors")


class Measured(NamedTuple):
    """What a forward pass leaves for the log, on the device, without gradients."""

    terms: dict[str, Tensor]  # of the loss: scalars by name
    output: TrainingOutput
    labels: Tensor  # (B,)


@dataclass
class TrainingState:
    """Everything that changes while training; processes differ in dropout's random numbers only."""

    cfg: CfgNode
    model: XTFCLIP
    criterion: ReidLoss
    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    runtime: Runtime
    memory: Tensor  # CLIP memory (K, P), frozen
    pids: list[int]  # training identities as annotated, in the order of their labels
    camids: list[int]  # training cameras as annotated, in the order of their indices
    data_hash: str  # of the training tracklets' names and lengths
    describe_people: Callable[[], Tensor]  # computes a mean feature of each, (K, P), by the model as it is
    epoch: int = 0  # number of finished epochs
    step: int = 0  # number of finished steps of the epoch after these
    steps_before: int = 0  # of the finished epochs, which differ in length
    epoch_so_far: dict[str, Any] = field(default_factory=dict)  # counted in those steps; empty between two epochs
    validation_is_due: bool = False  # of the last finished epoch
    best: float = 0.0  # validation mAP so far, visual only, 0..1
    camera_words: list[str] = field(default_factory=list)  # what the user's table calls ``camids``; else empty
    validation_people: list[int | str] = field(default_factory=list)  # people whose mAP is ``best``
    with_weights: bool = False  # whether ``save`` also writes the weights alone, as .safetensors, for evaluation

    def __post_init__(self) -> None:
        decay, processes = self.cfg.SOLVER.STAGE2.EMA_DECAY, self.runtime.processes
        self.generator = torch.Generator().manual_seed(self.cfg.SOLVER.SEED)  # of the augmentation
        self.scaler = self.runtime.make_scaler()  # works in fp16 only
        self.averaged = ModelEmaV3(self.model, decay) if decay else None  # of the weights, in evaluation mode
        self.model.gather_batch = processes.gather_batch
        self.parallel_model = processes.parallelize(self.model)  # as training calls it

    @property
    def rate(self) -> float:
        """Learning rate of this epoch, of the encoder's highest layer."""
        return float(self.schedule.base_lrs[0]) * self.schedule.lr_lambdas[0](self.schedule.last_epoch)

    def start_epoch(self) -> None:
        """Rebuild the loss's proxies of people; a run that resumes within an epoch has them from the checkpoint."""
        if self.criterion.proxies and not self.step:
            self.criterion.proxies.rebuild(self.describe_people())

    def finish_epoch(self, num_steps: int) -> None:
        """Go on after an epoch: new soft labels, the next learning rate, and validation if it is time for that."""
        self.criterion.next_epoch()
        self.schedule.step()
        self.epoch += 1
        self.steps_before += num_steps
        self.step = 0
        self.epoch_so_far = {}
        solver = self.cfg.SOLVER.STAGE2
        is_last = self.epoch == solver.MAX_EPOCHS
        self.validation_is_due = solver.EVAL_PERIOD > 0 and (self.epoch % solver.EVAL_PERIOD == 0 or is_last)

    def save(self, path: Path, previous: Path | None = None) -> None:
        """Write a checkpoint from which training continues exactly, and keep the one before as ``previous``.

        All processes call this, and process 0 writes. If a weight is not finite, nothing is written.
        """
        weights, device = self.model.state_dict(), self.runtime.device
        if not torch.stack([value.isfinite().all() for value in weights.values()]).all():
            name = next(name for name, value in weights.items() if not value.isfinite().all())
            raise Mistake(
                f"{name} is not finite after epoch {self.epoch}, so nothing was saved; the checkpoint before is kept. "
                "Lower SOLVER.STAGE2.BASE_LR or set SOLVER.PRECISION fp32, then continue with --resume."
            )
        dropout = {"cpu": torch.get_rng_state()}  # the states of the generators that draw its masks
        if device.type == "cuda":
            dropout["cuda"] = torch.cuda.get_rng_state(device)
        random_states = self.runtime.processes.gather_values(dropout)
        if not self.runtime.processes.is_main:
            return
        content = {
            "model": weights,
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "scaler": self.scaler.state_dict(),
            "generator": self.generator.get_state(),
            "random_states": random_states,
            "config": dump_config(self.cfg),
            "memory": self.memory,
            "chosen_on": self.validation_people if path.name == BEST_CHECKPOINT else [],
            **{name: getattr(self, name) for name in ("pids", "camids", "camera_words", "data_hash", *PROGRESS)},
        }
        if self.averaged is not None:
            content["averaged"] = self.averaged.module.state_dict()
        write_checkpoint(content, path, previous)
        if self.with_weights:
            values = {name: content[name] for name in WITH_WEIGHTS}
            write_weights(weights, values, weights_beside(path))
            if self.averaged is not None:
                write_weights(self.averaged.module.state_dict(), values, weights_beside(path, "_averaged"))

    def restore(self, content: dict[str, Any], path: Path) -> None:
        """Continue from a checkpoint of the same data and configuration; the number of processes may differ.

        Learning rates and weight decay stay as they are here: a run may resume with others.
        """
        if "optimizer" not in content:
            raise Mistake(f"{path} holds weights only: training cannot resume from it. Use it with eval_main.py.")
        with fitting(path):
            if content["pids"] != self.pids or content["camids"] != self.camids:
                raise Mistake(
                    f"{path} was trained on {len(content['pids'])} identities and {len(content['camids'])} cameras, "
                    f"not on the {len(self.pids)} and {len(self.camids)} of DATASETS.ROOT_DIR: training cannot resume."
                )
            if content["data_hash"] != self.data_hash:
                logger.warning(
                    "%s was trained on other tracklets of the same people (names or lengths differ), so this run ends "
                    "otherwise, and its CLIP memory is of the tracklets before.",
                    path,
                )
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
            content.setdefault("steps_before", 0)  # version 0.1.0 had none
            for name in PROGRESS:
                setattr(self, name, content[name])
        logger.info("Resumed from %s after epoch %d and %d steps of the next", path, self.epoch, self.step)

    def _restore_solver(self, content: dict[str, Any]) -> None:
        """Restore optimiser, schedule and scaler, with this run's learning rates, weight decay and kind of Adam."""
        groups = self.optimizer.param_groups
        keys = ("initial_lr", "weight_decay", "decoupled_weight_decay", "fused", "capturable")
        configured = [{key: group[key] for key in keys} for group in groups]
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
