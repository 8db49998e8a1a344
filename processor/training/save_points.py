"""Points at which training saves: every epoch, every few minutes, and when a signal asks it to stop."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from utils.stopping import STOP_REQUESTS, Stopped

from ..evaluation.bad_frames import BadFrames
from .monitor import TrainingMonitor
from .state import LAST_CHECKPOINT, PREVIOUS_CHECKPOINT, TrainingState

logger = logging.getLogger(__name__)


class SavePoints:
    """Saves the state of training as the last checkpoint of a run, and keeps the one before.

    Args:
        state: What is saved.
        output: Folder of the run.
        minutes: Time between two checkpoints within an epoch; 0 saves there only when a signal asks training to stop.
        clock: Returns seconds from any fixed moment.
    """

    def __init__(
        self, state: TrainingState, output: Path, minutes: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.state = state
        self.output = output
        self.minutes = minutes
        self.clock = clock
        self._last_save = clock()

    def save(self) -> None:
        """Save; all processes call this together."""
        self.state.save(self.output / LAST_CHECKPOINT, previous=self.output / PREVIOUS_CHECKPOINT)
        self._last_save = self.clock()

    def visit(self, step: int, monitor: TrainingMonitor, bad_frames: BadFrames) -> None:
        """Save within an epoch if it is time; all processes call this together, after the weights changed.

        Args:
            step: Steps of the epoch so far.
            monitor, bad_frames: What they have counted in this epoch is saved.
        Raises:
            Stopped: After saving, if a process received a signal.
        """
        is_due = self.minutes > 0 and self.clock() - self._last_save >= 60 * self.minutes
        # One exchange answers both questions: the number of a signal, 0 to save and go on, or -1 to go on.
        wish = self.state.processes.maximum(STOP_REQUESTS.received or (0 if is_due else -1))
        if wish < 0:
            return
        self.state.step = step
        self.state.epoch_so_far = {"measures": monitor.measures_so_far(), "bad_frames": bad_frames.counts()}
        self.save()
        logger.info("Saved in epoch %d after step %d", self.state.epoch + 1, step)
        if wish:
            raise Stopped(wish)

    def stop_if_asked(self) -> None:
        """Raise Stopped if a process received a signal; all processes call this together."""
        if received := self.state.processes.maximum(STOP_REQUESTS.received or 0):
            raise Stopped(received)
