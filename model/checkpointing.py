"""Gradient checkpointing: keep a block's inputs only, and compute the block again for its gradients."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, *inputs: Tensor, recompute: bool) -> Tensor:
    """Call a block; the gradients are the same with and without recomputation.

    Args:
        block: Draws random numbers in dropout only; the same ones are drawn again.
        inputs: What the block takes.
        recompute: Whether to free what the block computes, until its gradients are wanted.
    """
    if not (recompute and block.training and torch.is_grad_enabled()):
        return block(*inputs)
    draws = any(isinstance(module, nn.Dropout) and module.p > 0 for module in block.modules())
    return cast(Tensor, checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=draws))
