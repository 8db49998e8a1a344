"""Learning rate of each epoch: linear warm-up, then steps, a cosine or a line."""

import math
from bisect import bisect_right
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from yacs.config import CfgNode


def rate_factor(stage: CfgNode, epoch: int) -> float:
    """Return the factor of the base learning rate in ``epoch`` (0-based) by SOLVER.STAGE2 of a configuration.

    The factor rises linearly from WARMUP_FACTOR in the first epoch to 1 after WARMUP_ITERS epochs. "step" multiplies it
    by GAMMA after as many epochs as each of STEPS says; "cosine" and "linear" let it fall from 1 in the first epoch
    after the warm-up to LR_MIN_FACTOR in the last, where it stays.
    """
    warmup = stage.WARMUP_ITERS
    rise = stage.WARMUP_FACTOR + (1 - stage.WARMUP_FACTOR) * epoch / warmup if epoch < warmup else 1.0
    if stage.SCHEDULE == "step":
        return rise * stage.GAMMA ** bisect_right(stage.STEPS, epoch)
    if epoch < warmup:
        return rise
    progress = min((epoch - warmup) / max(stage.MAX_EPOCHS - 1 - warmup, 1), 1.0)
    remaining = (1 + math.cos(math.pi * progress)) / 2 if stage.SCHEDULE == "cosine" else 1 - progress
    return stage.LR_MIN_FACTOR + (1 - stage.LR_MIN_FACTOR) * remaining


def make_schedule(cfg: CfgNode, optimizer: Optimizer) -> LambdaLR:
    """Build the schedule that a configuration describes; step it once at the end of every epoch."""
    stage = cfg.SOLVER.STAGE2
    return LambdaLR(optimizer, partial(rate_factor, stage))
