"""Temporal memory diffusion (TMD): frames of a clip exchange messages, then each frame reads the messages.

Reference: Yu et al., "TF-CLIP: Learning Text-Free CLIP for Video-Based Person Re-identification", AAAI 2024,
arXiv 2312.09627; METHOD section 3.
"""

import torch
from timm.layers import QuickGELU
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn


class TemporalMemoryDiffusion(nn.Module):
    """Append to every frame a message that has seen the whole clip, then mix it into the frame's tokens.

    Args:
        width: Token width D.
        num_heads: Heads of both attentions (12 in the published model).
    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.message = nn.Linear(width, width)
        self.message_norm = nn.LayerNorm(width)
        self.message_attention = Attention(width, num_heads=num_heads, qkv_bias=True)
        # nn.LayerNorm for its eps of 1e-5, CLIP's; timm's own default is 1e-6.
        self.block = Block(
            width, num_heads=num_heads, mlp_ratio=4.0, qkv_bias=True, act_layer=QuickGELU, norm_layer=nn.LayerNorm
        )

    def forward(self, tokens: Tensor, num_frames: int) -> Tensor:
        """Diffuse memory over the frames of each clip.

        Args:
            tokens: (B*T, N, D), the frames of a clip in a row.
            num_frames: T.
        Returns:
            (B*T, N + 1, D), the frame's message last.
        """
        messages = self.message(tokens.mean(dim=1)).unflatten(0, (-1, num_frames))  # (B, T, D)
        messages = messages + self.message_attention(self.message_norm(messages))
        messages = messages.flatten(0, 1).unsqueeze(1).to(tokens.dtype)  # (B*T, 1, D)
        return self.block(torch.cat([tokens, messages], dim=1))
