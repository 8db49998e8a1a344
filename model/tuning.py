"""Train few new parameters beside a frozen CLIP: adapters beside each perceptron, or low-rank changes of attention.

Both start without effect. Their parameters have ``encoder.TUNED`` in their names, and the role of new modules.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import QuickGELU
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

from utils.mistake import Mistake

from .encoder import ClipVideoEncoder

ADAPTER_WIDTH = 256
RANK = 16


class LowRankLinear(nn.Linear):
    """The joint projection to queries, keys and values, with a low-rank change of queries and values.

    Reference: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
    """

    def __init__(self, frozen: nn.Linear):
        width = frozen.in_features
        super().__init__(width, 3 * width, device="meta")
        self.weight, self.bias = frozen.weight, frozen.bias
        self.tuned_down = nn.Parameter(torch.empty(2, RANK, width, device=frozen.weight.device))
        self.tuned_up = nn.Parameter(torch.zeros(2, width, RANK, device=frozen.weight.device))
        nn.init.normal_(self.tuned_down, std=width**-0.5)

    def merge(self) -> Tensor:
        """Return the changed matrix, (3D, D)."""
        query, value = self.tuned_up @ self.tuned_down
        return self.weight + torch.cat([query, torch.zeros_like(query), value])

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.merge(), self.bias)


def add_tuning(encoder: ClipVideoEncoder, kind: str) -> None:
    """Freeze what comes from CLIP, and add "adapter" or "lora" to every block; "full" changes nothing."""
    if kind == "full":
        return
    for name, role in encoder.parameter_roles().items():
        encoder.get_parameter(name).requires_grad_(role.module != "encoder")
    for block in encoder.blocks:
        attention, mlp = cast(Attention, cast(Block, block).attn), cast(Block, block).mlp
        if kind == "lora":
            # timm's attention with a bias of queries takes the matrix of ``qkv``, and never calls it.
            if not isinstance(attention.qkv, nn.Linear) or getattr(attention, "q_bias", None) is not None:
                raise Mistake("MODEL.TUNING lora needs one joint matrix of queries, keys and values: use adapter here.")
            attention.qkv = LowRankLinear(attention.qkv)
        else:
            mlp.add_module("tuned_down", nn.Linear(encoder.width, ADAPTER_WIDTH))
            mlp.add_module("tuned_up", nn.Linear(ADAPTER_WIDTH, encoder.width))
            for parameter in cast(nn.Module, mlp.tuned_up).parameters():
                nn.init.zeros_(parameter)
            mlp.register_forward_hook(_adapt)


def _adapt(mlp: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    """Add what an adapter makes of a perceptron's input (Chen et al., "AdaptFormer", NeurIPS 2022)."""
    return output + mlp.tuned_up(QuickGELU()(mlp.tuned_down(inputs[0])))


@torch.no_grad()
def merge_tuning(encoder: ClipVideoEncoder) -> None:
    """Write low-rank changes into the matrices that they change; adapters stay."""
    for block in encoder.blocks:
        attention = cast(Attention, cast(Block, block).attn)
        if isinstance(low_rank := attention.qkv, LowRankLinear):
            attention.qkv = nn.Linear(low_rank.in_features, low_rank.out_features, device="meta")
            attention.qkv.weight, attention.qkv.bias = nn.Parameter(low_rank.merge()), low_rank.bias
