"""Learning rate of each epoch: linear warm-up, then steps, a cosine or a line."""

import math
from bisect import bisect_right
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from yacs.config import CfgNode


def warmup_multistep_factor(
    epoch: int, warmup_epochs: int, warmup_factor: float, steps: Sequence[int], gamma: float
) -> float:
    """Return the factor of the base learning rate in ``epoch`` (0-based).

    The factor rises linearly from ``warmup_factor`` in the first epoch to 1 after ``warmup_epochs`` epochs. It is
    multiplied by ``gamma`` after as many epochs as each of ``steps`` says.
    """
    return _warmup(epoch, warmup_epochs, warmup_factor) * gamma ** bisect_right(steps, epoch)


def warmup_decay_factor(
    epoch: int, warmup_epochs: int, warmup_factor: float, num_epochs: int, min_factor: float, cosine: bool
) -> float:
    """Return the factor of the base learning rate in ``epoch`` (0-based) of a schedule that falls smoothly.

    The warm-up is that of ``warmup_multistep_factor``. From 1 in the first epoch after it, the factor falls to
    ``min_factor`` in the last epoch, along half a cosine or a line; after ``num_epochs`` epochs it stays there.
    """
    if epoch < warmup_epochs:
        return _warmup(epoch, warmup_epochs, warmup_factor)
    progress = min((epoch - warmup_epochs) / max(num_epochs - 1 - warmup_epochs, 1), 1.0)
    remaining = (1 + math.cos(math.pi * progress)) / 2 if cosine else 1 - progress
    return min_factor + (1 - min_factor) * remaining


def _warmup(epoch: int, warmup_epochs: int, warmup_factor: float) -> float:
    return warmup_factor + (1 - warmup_factor) * epoch / warmup_epochs if epoch < warmup_epochs else 1.0


def make_schedule(cfg: CfgNode, optimizer: Optimizer) -> LambdaLR:
    """Build the schedule that a configuration describes; step it once at the end of every epoch."""
    stage = cfg.SOLVER.STAGE2

    def factor(epoch: int) -> float:
        if stage.SCHEDULE == "step":
            return warmup_multistep_factor(epoch, stage.WARMUP_ITERS, stage.WARMUP_FACTOR, stage.STEPS, stage.GAMMA)
        return warmup_decay_factor(
            epoch,
            stage.WARMUP_ITERS,
            stage.WARMUP_FACTOR,
            stage.MAX_EPOCHS,
            stage.LR_MIN_FACTOR,
            cosine=stage.SCHEDULE == "cosine",
        )

    return LambdaLR(optimizer, factor)
