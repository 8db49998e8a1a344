"""Learning rate of each epoch: linear warm-up, then steps."""

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
    warmup = 1.0
    if epoch < warmup_epochs:
        warmup = warmup_factor + (1 - warmup_factor) * epoch / warmup_epochs
    return warmup * gamma ** bisect_right(steps, epoch)


def make_schedule(cfg: CfgNode, optimizer: Optimizer) -> LambdaLR:
    """Build the schedule that a configuration describes; step it once at the end of every epoch."""
    stage = cfg.SOLVER.STAGE2
    return LambdaLR(
        optimizer,
        lambda epoch: warmup_multistep_factor(epoch, stage.WARMUP_ITERS, stage.WARMUP_FACTOR, stage.STEPS, stage.GAMMA),
    )
