"""Save a run every epoch, every few minutes and when a signal asks it to stop, and continue from what was saved."""

import logging
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from yacs.config import CfgNode

from configs import Role, changed_keys, get_cfg
from configs.load import BEST_CHECKPOINT, CONFIG_FILE, LAST_CHECKPOINT
from utils.checkpoint import fitting, log_identity, read_checkpoint
from utils.files import set_aside
from utils.mistake import Mistake
from utils.processes import may_be_restarted, was_restarted
from utils.stopping import STOP_REQUESTS, Stopped

from ..evaluation.bad_frames import BadFrames
from .monitor import TrainingMonitor
from .state import PREVIOUS_CHECKPOINT, TrainingState, weights_beside

logger = logging.getLogger(__name__)


class SavePoints:
    """Saves the state of training as the last checkpoint and keeps the one before; all processes call its methods."""

    def __init__(self, state: TrainingState, output: Path) -> None:
        self.state = state
        self.output = output
        self._last_save = time.monotonic()

    def save(self) -> None:
        self.state.save(self.output / LAST_CHECKPOINT, previous=self.output / PREVIOUS_CHECKPOINT)
        self._last_save = time.monotonic()

    def save_best(self, score: float | None) -> None:
        """Save the best checkpoint, too, if the model has a score and none was better."""
        if score is not None and score >= self.state.best:
            self.state.best = score
            self.state.save(self.output / BEST_CHECKPOINT)

    def visit(self, step: int, monitor: TrainingMonitor, bad_frames: BadFrames) -> None:
        """Save within an epoch, after so many steps, if it is time; raise Stopped if a process received a signal."""
        minutes = self.state.cfg.SOLVER.STAGE2.CHECKPOINT_MINUTES
        is_due = minutes > 0 and time.monotonic() - self._last_save >= 60 * minutes
        # One exchange answers both questions: the number of a signal, 0 to save and go on, or -1 to go on.
        wish = self.state.runtime.processes.maximum(STOP_REQUESTS.received or (0 if is_due else -1))
        if wish < 0:
            return
        self.state.step = step
        self.state.epoch_so_far = {"measures": monitor.measures_so_far(), "bad_frames": bad_frames.counts()}
        self.save()
        logger.info("Saved in epoch %d after step %d", self.state.epoch + 1, step)
        if wish:
            raise Stopped(wish)

    def stop_if_asked(self) -> None:
        """Raise Stopped if a process received a signal."""
        if received := self.state.runtime.processes.maximum(STOP_REQUESTS.received or 0):
            raise Stopped(received)


def prepare_run(output: Path, resume: bool) -> bool:
    """Decide whether a run continues an earlier one in its folder; call this in process 0, before anything is built.

    It continues if that is asked for (--resume), or if torchrun restarted the job, and there is a last checkpoint. If
    the job may be restarted, checkpoints of an earlier run are moved aside: a restart would take them for its own.
    """
    if was_restarted():
        logger.warning("A process of this job died or failed, and torchrun restarted them all.")
    if resume or was_restarted():
        if not (found := has_checkpoint(output)):
            logger.warning("There is no %s in %s: training starts from the beginning.", LAST_CHECKPOINT, output)
        return found
    if may_be_restarted():
        keep_old_checkpoints(output)
    return False


def keep_old_checkpoints(output: Path) -> None:
    """Rename the checkpoints of an earlier run, so that a new run neither overwrites them nor is mistaken for them."""
    checkpoints = (LAST_CHECKPOINT, BEST_CHECKPOINT)
    weights = [weights_beside(Path(name), ending).name for name in checkpoints for ending in ("", "_averaged")]
    for name in (*checkpoints, PREVIOUS_CHECKPOINT, *weights):
        if (output / name).is_file():
            old = set_aside(output / name)
            logger.warning("%s is of an earlier run: renamed to %s (--resume would have continued it)", name, old.name)


def has_checkpoint(output: Path) -> bool:
    """Whether a folder holds a checkpoint that training can continue, whole or not."""
    return any((output / name).is_file() for name in (LAST_CHECKPOINT, PREVIOUS_CHECKPOINT))


class Checkpoint(NamedTuple):
    """A checkpoint that was read."""

    path: Path
    content: dict[str, Any]


def read_last(output: Path) -> Checkpoint:
    """Read the last checkpoint of a run or, if that is damaged or gone, the one before, with a warning."""
    last, previous = output / LAST_CHECKPOINT, output / PREVIOUS_CHECKPOINT
    try:
        return Checkpoint(last, read_checkpoint(last))
    except Mistake as error:
        if not previous.is_file():
            raise
        reason = error if last.is_file() else f"{last} is gone."
        logger.warning("%s The checkpoint before it is used: %s", reason, previous)
        return Checkpoint(previous, read_checkpoint(previous))


def restore(state: TrainingState, checkpoint: Checkpoint) -> None:
    """Continue from a checkpoint of ``read_last``; a damaged one is set aside, so that it replaces no other."""
    (path, content), processes = checkpoint, state.runtime.processes
    log_identity(path)
    with fitting(path):
        check_config(content["config"], state.cfg, path, within_epoch=content["step"] > 0)
    state.restore(content, path)
    if len(states := set(processes.gather_values((state.epoch, state.step)))) > 1:
        raise Mistake(f"{path} differs from process to process (epoch and step {sorted(states)}): start again.")
    last = path.with_name(LAST_CHECKPOINT)
    if path != last and last.is_file():
        processes.run_on_main(partial(set_aside, last, "damaged"))


def check_config(saved: str, cfg: CfgNode, path: Path, within_epoch: bool = False) -> None:
    """Name the keys in which a run differs from its checkpoint, whose YAML is ``saved``; refuse what cannot go on."""
    before = get_cfg(config_text=saved, source=f"config in {path}")
    if within_epoch and (batches := changed_keys(before, cfg, Role.BATCHES)):
        raise Mistake(
            f"{path} is from within an epoch, and cannot be resumed with {_list_changes(batches)}: resume without this "
            "change, and make it after an epoch."
        )
    if fixed := changed_keys(before, cfg, Role.NETWORK, Role.CLASSES):
        raise Mistake(
            f"{path} cannot be resumed with {_list_changes(fixed)}: its weights or its optimiser would not fit. Leave "
            f"these keys as they are in {CONFIG_FILE}, or begin a new run in another --output_dir by MODEL.INIT_WEIGHT."
        )
    if others := changed_keys(before, cfg, Role.TRAINING, Role.BATCHES):
        logger.warning("This run goes on with other keys, which may change its curve: %s", _list_changes(others))


def _list_changes(changes: dict[str, tuple[object, object]]) -> str:
    return ", ".join(f"{key} {now} (was {before})" for key, (before, now) in changes.items())
