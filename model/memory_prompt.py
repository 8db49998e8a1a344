"""Sequence-specific prompt (SSP): the CLIP memory of every identity, refined by the video at hand.

Reference: Yu et al., "TF-CLIP", AAAI 2024, arXiv 2312.09627; METHOD section 5.
"""

import torch.nn.functional as F
from timm.layers import QuickGELU
from torch import Tensor, nn

HEAD_WIDTH = 64
MLP_RATIO = 4


class PromptAttention(nn.Module):
    """Multi-head attention without q/k/v bias; queries from ``x``, keys and values from ``context``."""

    def __init__(self, width: int):
        super().__init__()
        self.num_heads = max(width // HEAD_WIDTH, 1)
        if width % self.num_heads:
            raise ValueError(
                f"The projected width (MODEL.VIT.PROJ_DIM, or the named ViT's) must divide into {self.num_heads} "
                f"heads, got {width}."
            )
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, K, P), (B, S, P) -> (B, K, P)."""
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
        self.mlp = nn.Sequential(
            nn.Linear(width, MLP_RATIO * width),
            QuickGELU(),
            nn.Dropout(dropout),
            nn.Linear(MLP_RATIO * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        """(B or 1, K, P), (B, N, P) -> (B, K, P).

        Rows that are still the same for every clip come in as one (batch 1): their self-attention is then computed
        once for the batch, and expanded before dropout so that each clip still draws its own mask.
        """
        rows = self.self_norm(text)
        attended = self.self_attention(rows, rows).expand(len(visual), -1, -1)
        text = text + self.dropout(attended)
        text = text + self.dropout(self.cross_attention(self.cross_norm(text), visual))
        return text + self.dropout(self.mlp(self.mlp_norm(text)))


class SequenceSpecificPrompt(nn.Module):
    """Refine the memory of K identities by the tokens of each video.

    Args:
        width: Projected width P.
        depth: Decoder layers (2 in the published model).
        dropout: Probability, on every sub-layer's output and inside the MLP.
    """

    def __init__(self, width: int, depth: int = 2, dropout: float = 0.1):
        super().__init__()
        self.text = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.visual = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.LayerNorm(width))
        self.layers = nn.ModuleList(PromptLayer(width, dropout) for _ in range(depth))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(self, memory: Tensor, video_tokens: Tensor) -> Tensor:
        """(K, P) memory and (B, N, P) video tokens -> (B, K, P) prompts."""
        text = self.text(memory).unsqueeze(0)
        visual = self.visual(video_tokens)
        for layer in self.layers:
            text = layer(text, visual)
        return self.out(text)
