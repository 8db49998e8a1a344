"""Pooling of frames or tokens into one vector: learned attention (X-TFCLIP) or the mean (TF-CLIP)."""

from torch import Tensor, nn


class AttentionPool(nn.Module):
    """Weighted mean over one axis, the weights scored from the vectors themselves.

    ``score = Linear(width, width / 2) -> tanh -> Linear(1)``, softmax over the pooled axis.

    Reference:
        METHOD section 2; the AG-VPReID 2025 challenge report, arXiv 2506.22843.
    """

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, width // 2), nn.Tanh(), nn.Linear(width // 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Pool axis 1: (B, S, ..., width) -> (B, ..., width)."""
        weights = self.score(x).softmax(dim=1)  # (B, S, ..., 1)
        return (weights * x).sum(dim=1)


class MeanPool(nn.Module):
    """Plain mean over axis 1: (B, S, ..., width) -> (B, ..., width)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1)


def make_pool(kind: str, width: int) -> nn.Module:
    """An "attention" or "mean" pool for vectors of this width."""
    return AttentionPool(width) if kind == "attention" else MeanPool()
