"""The neck between features and classifiers: IN-BNNeck (X-TFCLIP) or BNNeck (TF-CLIP)."""

import torch.nn.functional as F
from torch import Tensor, nn


class InstanceNeck(nn.Module):
    """IN-BNNeck: standardise each feature over its own channels, without affine parameters.

    This is instance normalisation of a (B, D) feature as one channel of D values: biased variance, eps 1e-5. It has no
    state, so it computes the same in training and test, and a feature does not depend on the rest of its batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Standardise each row of (B, D); returns float32."""
        return F.layer_norm(x.float(), x.shape[-1:], eps=1e-5)


class BatchNeck(nn.BatchNorm1d):
    """BNNeck: batch normalisation with its bias frozen at zero (Luo et al., "Bag of Tricks", CVPRW 2019)."""

    def __init__(self, width: int):
        super().__init__(width)
        self.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise each column of (B, D); returns float32."""
        return super().forward(x.float())


def make_neck(kind: str, width: int) -> nn.Module:
    """Build an "instance" or "batch" neck for features of this width."""
    return InstanceNeck() if kind == "instance" else BatchNeck(width)
