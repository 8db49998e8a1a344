"""Stop training, or skip a batch, when a loss is not finite or fp16 overflows again and again."""

import logging
import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from datasets.tracklet import Tracklet
from utils.mistake import Mistake

from .state import TrainingState

logger = logging.getLogger(__name__)

MIN_SCALE = 1.0  # of the losses in fp16; below it even plain gradients overflow


class FiniteGuard:
    """Stops training at a loss that is not finite, or skips and counts its batch (SOLVER.STAGE2.NON_FINITE_LOSS)."""

    def __init__(self, state: TrainingState, tracklets: Sequence[Tracklet]) -> None:
        self.state = state
        self.tracklets = tracklets  # those that the batches' ``tracklet`` indices refer to
        self.skip = state.cfg.SOLVER.STAGE2.NON_FINITE_LOSS == "skip"
        self.num_skipped = 0
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._spoiled = False

    def remember(self) -> None:
        """Before a forward pass: keep what it changes, if it may have to be undone."""
        if self.skip:
            buffers = [*self.state.model.buffers(), *self.state.criterion.buffers()]
            self._buffers = [(buffer, buffer.clone()) for buffer in buffers]

    def check_losses(self, measures: Mapping[str, float], batch: Mapping[str, Tensor], step: int) -> None:
        """After a backward pass: stop training, or mark the batch to be skipped, unless all measures are finite."""
        if all(math.isfinite(value) for value in measures.values()):
            return
        terms = " ".join(f"{name} {value:.4g}" for name, value in measures.items())
        names = ", ".join(dict.fromkeys(self.tracklets[index].key for index in batch["tracklet"].tolist()))
        message = f"Loss is not finite in epoch {self.state.epoch + 1}, step {step}: {terms}. Clips of {names}."
        if not self.skip:
            raise Mistake(
                f"{message} Lower SOLVER.STAGE2.BASE_LR, set SOLVER.PRECISION fp32, or skip such batches with "
                "SOLVER.STAGE2.NON_FINITE_LOSS skip; then continue with --resume."
            )
        logger.warning("%s The batch is skipped.", message)
        for buffer, value in self._buffers:
            buffer.copy_(value)
        self._spoiled = True

    def may_update(self) -> bool:
        """At the end of a batch: whether its gradients may change the weights; they are removed if not."""
        if not self._spoiled:
            return True
        self.num_skipped += 1
        self._spoiled = False
        self.state.optimizer.zero_grad(set_to_none=True)
        return False

    def finish(self) -> None:
        """At the end of an epoch: log what was skipped, and stop if gradients overflowed again and again."""
        epoch, scale = self.state.epoch + 1, self.state.scaler.get_scale()
        if self.num_skipped:
            logger.warning("epoch %d: %d batches were skipped, no finite loss", epoch, self.num_skipped)
        if scale < MIN_SCALE:
            raise Mistake(
                f"Gradients of epoch {epoch} overflowed in fp16 again and again: the losses' scale fell to {scale:g}. "
                "Set SOLVER.PRECISION bf16 or fp32, or lower SOLVER.STAGE2.BASE_LR; then continue with --resume."
            )
