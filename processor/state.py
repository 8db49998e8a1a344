"""The state of training: everything that a checkpoint holds, how it is saved and restored, and where."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from loss import ReidLoss
from model import XTFCLIP
from utils.checkpoint import read_checkpoint, write_checkpoint, write_weights
from utils.processes import ALONE, Processes, may_be_restarted, was_restarted

logger = logging.getLogger(__name__)

LAST_CHECKPOINT = "checkpoint_last.pth"
BEST_CHECKPOINT = "checkpoint_best.pth"


def weights_beside(path: Path) -> Path:
    """Return the file of the weights that belong to a checkpoint: weights_last.safetensors for checkpoint_last.pth."""
    return path.with_name(path.stem.replace("checkpoint", "weights") + ".safetensors")


@dataclass
class TrainingState:
    """Everything that changes while training, and what it belongs to: the content of a checkpoint.

    Attributes:
        model, optimizer, schedule, scaler: As their names say.
        criterion: The losses, with the state of label smoothing.
        memory: CLIP memory (K, P), frozen.
        pids: Training identities as annotated; an identity's position is its label.
        camids: Training cameras as annotated; a camera's position is its index.
        config: The run's configuration, as YAML.
        centralize: Whether to centralise gradients.
        generator: Source of the augmentation's random numbers.
        epoch: Number of finished epochs.
        best: Best validation mAP so far, visual only, 0..1.
        processes: Process 0 writes checkpoints. All else is the same in every process, but for the random numbers of
            dropout.
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
    config: str = ""
    centralize: bool = True
    generator: torch.Generator = field(default_factory=torch.Generator)
    epoch: int = 0
    best: float = 0.0
    processes: Processes = ALONE
    with_weights: bool = False
    parallel_model: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.model.gather_batch = self.processes.gather_batch
        self.parallel_model = self.processes.parallelize(self.model)

    def save(self, path: Path) -> None:
        """Write a checkpoint from which training continues exactly; all processes call this, and process 0 writes."""
        random_states = self.processes.gather_values(_random_states(self.memory.device))
        if not self.processes.is_main:
            return
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
            "random_states": random_states,
            "epoch": self.epoch,
            "best": self.best,
            "config": self.config,
        }
        write_checkpoint(content, path)
        if self.with_weights:
            values = {name: content[name] for name in ("config", "pids", "camids", "epoch")}
            write_weights(self.model.state_dict(), values, weights_beside(path))

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint of the same data and configuration; the number of processes may differ.

        Learning rates, weight decay and ``config`` stay as they are here: a run may resume with others.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged, was not written by ``save``, or belongs to other identities, other
                cameras or another configuration.
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
        # The kind of Adam decides where its step counts lie, so it has to be this run's before they are loaded.
        for saved, own in zip(content["optimizer"]["param_groups"], configured, strict=False):
            saved["fused"] = own["fused"]
        try:
            self.model.load_state_dict(content["model"])
            self.criterion.load_state_dict(content["criterion"])
            self.optimizer.load_state_dict(content["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{path} belongs to another configuration: resume with the one it was trained with: {error}"
            ) from error
        self.schedule.load_state_dict(content["schedule"])
        if content["scaler"] and self.scaler.is_enabled():  # a run may resume in another precision
            self.scaler.load_state_dict(content["scaler"])
        self.memory = content["memory"].to(self.memory.device)
        self.generator.set_state(content["generator"])
        for states in content["random_states"][self.processes.rank :][:1]:  # none for a process that was not there
            _set_random_states(states, self.memory.device)
        self.epoch = content["epoch"]
        self.best = content["best"]
        self.schedule.base_lrs = [group["initial_lr"] for group in configured]
        for group, own, factor in zip(self.optimizer.param_groups, configured, self.schedule.lr_lambdas, strict=True):
            group.update(own, lr=own["initial_lr"] * factor(self.epoch))
        logger.info("Resumed from %s after epoch %d", path, self.epoch)


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


def prepare_run(output: Path, resume: bool) -> bool:
    """Decide whether a run continues an earlier one in its folder; call this in process 0, before anything is built.

    It continues if that is asked for, or if torchrun restarted the job, and there is a last checkpoint. If the job may
    be restarted, checkpoints of an earlier run are moved aside at once: a restart would take them for its own.

    Args:
        output: Folder of the run.
        resume: Whether the command asks to continue (--resume).
    """
    if was_restarted():
        logger.warning("A process of this job died or failed, and torchrun restarted them all.")
    if resume or was_restarted():
        found = (output / LAST_CHECKPOINT).is_file()
        if not found:
            logger.warning("There is no %s in %s: training starts from the beginning.", LAST_CHECKPOINT, output)
        return found
    if may_be_restarted():
        keep_old_checkpoints(output)
    return False


def keep_old_checkpoints(output: Path) -> None:
    """Rename the checkpoints of an earlier run, so that a new run neither overwrites them nor is mistaken for them."""
    weights = [weights_beside(Path(name)).name for name in (LAST_CHECKPOINT, BEST_CHECKPOINT)]
    for name in (LAST_CHECKPOINT, BEST_CHECKPOINT, *weights):
        if (output / name).is_file():
            (output / name).replace(output / f"{name}.old")
            logger.warning(
                "%s belongs to an earlier run: renamed to %s.old (--resume would have continued it)", name, name
            )


def find_checkpoint(folder: Path) -> Path:
    """Return the run's best checkpoint, else its last one.

    Raises:
        FileNotFoundError: If there is neither; says how to train, or to name another file.
    """
    for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"No checkpoint in {folder}: expected {BEST_CHECKPOINT} or {LAST_CHECKPOINT}. Train first "
        f'(python train_main.py --output_dir "{folder}"), or name a file with --weight.'
    )
