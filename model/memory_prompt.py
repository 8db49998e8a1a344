"""Sequence-specific prompt (SSP): refines the CLIP memory of every identity by the video that is compared with it.

Reference: Yu et al., "TF-CLIP", AAAI 2024, arXiv 2312.09627; docs/method.md section 5.
"""

from typing import cast

import torch.nn.functional as F
from timm.layers import QuickGELU
from torch import Tensor, nn

from .layers import quick_gelu_mlp, run_block

HEAD_WIDTH = 64
MLP_RATIO = 4
WEIGHT_STD = 0.02
NUM_LAYERS = 2  # as published


class PromptAttention(nn.Module):
    """Multi-head attention of ``x`` to ``context``, without biases on queries, keys and values."""

    def __init__(self, width: int):
        super().__init__()
        self.num_heads = max(width // HEAD_WIDTH, 1)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Attend from x (B, K, P) to context (B, S, P); returns (B, K, P)."""
        q, k, v = (
            projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, rows, P / heads)
            for projected in (self.query(x), self.key(context), self.value(context))
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class PromptLayer(nn.Module):
    """Self-attention among the memory rows, cross-attention to the video, MLP; pre-norm on the memory's side."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = PromptAttention(width)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = PromptAttention(width)
        self.mlp_norm = nn.LayerNorm(width)
        first, second = nn.Linear(width, MLP_RATIO * width), nn.Linear(MLP_RATIO * width, width)
        self.mlp = nn.Sequential(first, QuickGELU(), nn.Dropout(dropout), second)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        """Decode memory rows, (B, K, P) or (1, K, P) where they are the same for every clip, and tokens (B, N, P).

        Common rows attend to one another once; they are expanded before dropout, so that every clip draws its own mask.
        """
        rows = self.self_norm(text)
        attended = self.self_attention(rows, rows).expand(len(visual), -1, -1)
        text = text + self.dropout(attended)
        text = text + self.dropout(self.cross_attention(self.cross_norm(text), visual))
        first, _, dropout, second = self.mlp
        hidden = quick_gelu_mlp(self.mlp_norm(text), cast(nn.Linear, first), cast(nn.Linear, second), dropout)
        return text + self.dropout(hidden)


class SequenceSpecificPrompt(nn.Module):
    """Refine the memory of K identities, of projected width P, by the tokens of each video.

    ``dropout`` is the probability on the output of every sub-layer and inside the MLP.
    """

    def __init__(self, width: int, dropout: float = 0.1):
        super().__init__()
        self.gradient_checkpointing = False
        self.text = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.visual = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.LayerNorm(width))
        self.layers = nn.ModuleList(PromptLayer(width, dropout) for _ in range(NUM_LAYERS))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=WEIGHT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, memory: Tensor, video_tokens: Tensor) -> Tensor:
        """Compute the prompts (B, K, P) of memory (K, P) and video tokens (B, N, P)."""
        text = self.text(memory).unsqueeze(0)
        visual = self.visual(video_tokens)
        for layer in self.layers:
            text = run_block(layer, text, visual, recompute=self.gradient_checkpointing)
        return self.out(text)
