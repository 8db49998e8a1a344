"""The two-layer perceptron of CLIP's blocks, with its activation, QuickGELU, in one pass over the hidden values.

``x * sigmoid(1.702 x)`` equals ``silu(1.702 x) / 1.702``. Both factors move into the weights of the linear layers,
which are much smaller than the hidden values, so silu remains: one pass instead of three, in place where no gradient
needs its input. Training keeps that input only.
"""

from typing import cast

import torch.nn.functional as F
from timm.layers import Mlp, QuickGELU
from timm.models.vision_transformer import Block
from torch import Tensor, nn

SCALE = 1.702


def quick_gelu_mlp(x: Tensor, first: nn.Linear, second: nn.Linear, dropout: nn.Module | None = None) -> Tensor:
    """Compute ``second(dropout(quick_gelu(first(x))))`` for x (..., D)."""
    hidden = F.linear(x, first.weight * SCALE, first.bias * SCALE)
    hidden = F.silu(hidden, inplace=not hidden.requires_grad)
    if dropout is not None:
        hidden = dropout(hidden)
    return F.linear(hidden, second.weight / SCALE, second.bias)


class QuickGELUMlp(nn.Module):
    """timm's ``Mlp`` with QuickGELU, under the same parameter names."""

    def __init__(self, fc1: nn.Linear, fc2: nn.Linear):
        super().__init__()
        self.fc1 = fc1
        self.fc2 = fc2

    def forward(self, x: Tensor) -> Tensor:
        """Compute (..., D) -> (..., D)."""
        return quick_gelu_mlp(x, self.fc1, self.fc2)


def speed_up_mlp(block: Block) -> None:
    """Replace a block's ``Mlp`` by a QuickGELUMlp with the same parameters if QuickGELU is its activation."""
    mlp = block.mlp
    if isinstance(mlp, Mlp) and isinstance(mlp.act, QuickGELU):
        block.mlp = QuickGELUMlp(cast(nn.Linear, mlp.fc1), cast(nn.Linear, mlp.fc2))
