"""Pooling of frames or tokens into one vector: learned attention (X-TFCLIP) or the mean (TF-CLIP)."""

from torch import Tensor, nn


class AttentionPool(nn.Module):
    """Average vectors over one axis with weights that are computed from the vectors.

    ``score = Linear(width, width / 2) -> tanh -> Linear(1)``; the weights are the softmax of the scores over the pooled
    axis. The linear layers start as PyTorch initialises them, which is also how the published ones start.

    Reference:
        METHOD section 2; the AG-VPReID 2025 challenge report, arXiv 2506.22843.
    """

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, width // 2), nn.Tanh(), nn.Linear(width // 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Pool axis 1: (B, S, ..., width) -> (B, ..., width)."""
        return (self.weigh(x).unsqueeze(-1) * x).sum(dim=1)

    def weigh(self, x: Tensor) -> Tensor:
        """Return the weight of each vector of (B, S, ..., width): (B, S, ...), which sum to 1 over axis 1."""
        return self.score(x).softmax(dim=1).squeeze(-1)


class MeanPool(nn.Module):
    """Average vectors over one axis with equal weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool axis 1: (B, S, ..., width) -> (B, ..., width)."""
        return x.mean(dim=1)

    def weigh(self, x: Tensor) -> Tensor:
        """Return the weight of each vector of (B, S, ..., width): 1 / S, in the shape (B, S, ...)."""
        return x.new_full(x.shape[:-1], 1 / x.shape[1])


def make_pool(kind: str, width: int) -> nn.Module:
    """Build an "attention" or "mean" pool for vectors of this width."""
    return AttentionPool(width) if kind == "attention" else MeanPool()
