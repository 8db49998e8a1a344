"""Temporal memory diffusion (TMD): frames of a clip exchange messages, then each frame reads the messages.

Reference: Yu et al., "TF-CLIP: Learning Text-Free CLIP for Video-Based Person Re-identification", AAAI 2024,
arXiv 2312.09627; docs/method.md section 3.
"""

from typing import cast

import torch
from timm.layers import QuickGELU
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

from .layers import run_block, speed_up_mlp


class TemporalMemoryDiffusion(nn.Module):
    """Append to every frame a message that has attended to the whole clip, then mix it into the frame's tokens.

    Both attentions start as ``nn.MultiheadAttention`` does: a joint q/k/v matrix that is Xavier-uniform over its shape
    (3D, D), and biases of zero. All other linear layers start as PyTorch initialises ``nn.Linear``.
    Tokens have the width D; both attentions have 12 heads in the published model.
    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.gradient_checkpointing = False
        self.message = nn.Linear(width, width)
        self.message_norm = nn.LayerNorm(width)
        self.message_attention = Attention(width, num_heads=num_heads, qkv_bias=True)
        # nn.LayerNorm has CLIP's eps of 1e-5; timm's default norm layer has 1e-6.
        self.block = Block(
            width, num_heads=num_heads, mlp_ratio=4.0, qkv_bias=True, act_layer=QuickGELU, norm_layer=nn.LayerNorm
        )
        speed_up_mlp(self.block)
        for attention in (self.message_attention, cast(Attention, self.block.attn)):
            nn.init.xavier_uniform_(attention.qkv.weight)
            nn.init.zeros_(attention.qkv.bias)
            nn.init.zeros_(attention.proj.bias)

    def forward(self, tokens: Tensor, num_frames: int) -> Tensor:
        """Diffuse memory over the T frames of each clip: tokens (B*T, N, D) -> (B*T, N + 1, D), messages last."""
        messages = self.message(tokens.mean(dim=1)).unflatten(0, (-1, num_frames))  # (B, T, D)
        messages = messages + self.message_attention(self.message_norm(messages))
        messages = messages.flatten(0, 1).unsqueeze(1).to(tokens.dtype)  # (B*T, 1, D)
        return run_block(self.block, torch.cat([tokens, messages], dim=1), recompute=self.gradient_checkpointing)
