"""Layers that several parts of the network share: pools, necks, CLIP's fast perceptron, blocks computed twice."""

from typing import cast

import torch
import torch.nn.functional as F
from timm.layers import Mlp, QuickGELU
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

QUICK_GELU = 1.702
CLASSIFIER_STD = 0.001


class AttentionPool(nn.Module):
    """Average vectors over one axis; the weights are the softmax of scores that are computed from the vectors.

    Reference: docs/method.md section 2; the AG-VPReID 2025 challenge report, arXiv 2506.22843.
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
    """Average vectors over one axis with equal weights; the methods are those of ``AttentionPool``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1)

    def weigh(self, x: Tensor) -> Tensor:
        return x.new_full(x.shape[:-1], 1 / x.shape[1])


def make_pool(kind: str, width: int) -> nn.Module:
    """Build an "attention" (X-TFCLIP) or "mean" (TF-CLIP) pool for vectors of this width."""
    return AttentionPool(width) if kind == "attention" else MeanPool()


class InstanceNeck(nn.Module):
    """IN-BNNeck: standardise each feature (B, D) over its own channels, in float32, without affine parameters.

    This is instance normalisation of a feature as one channel of D values: biased variance, eps 1e-5.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), x.shape[-1:], eps=1e-5)


class BatchNeck(nn.BatchNorm1d):
    """BNNeck: batch normalisation of (B, D), in float32, with its bias frozen at zero.

    Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person Re-identification", CVPRW 2019.
    """

    def __init__(self, width: int):
        super().__init__(width)
        self.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


def make_neck(kind: str, width: int) -> nn.Module:
    """Build an "instance" (X-TFCLIP) or "batch" (TF-CLIP) neck for features of this width."""
    return InstanceNeck() if kind == "instance" else BatchNeck(width)


class CosineClassifier(nn.Linear):
    """Logits that are cosines of features (B, D) and classes, times a scale.

    Reference: Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", ACM MM 2017.
    """

    def __init__(self, width: int, num_classes: int, scale: float):
        super().__init__(width, num_classes, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


def make_classifier(width: int, num_classes: int, scale: float) -> nn.Linear:
    """Build a linear classifier without bias, or with a scale above 0 one of cosines."""
    classifier = CosineClassifier(width, num_classes, scale) if scale else nn.Linear(width, num_classes, bias=False)
    nn.init.normal_(classifier.weight, std=CLASSIFIER_STD)
    return classifier


def quick_gelu_mlp(x: Tensor, first: nn.Linear, second: nn.Linear, dropout: nn.Module | None = None) -> Tensor:
    """Compute ``second(dropout(quick_gelu(first(x))))`` for x (..., D), in one pass over the hidden values.

    ``x * sigmoid(1.702 x)`` equals ``silu(1.702 x) / 1.702``. Both factors move into the weights of the linear layers,
    which are much smaller than the hidden values, so silu remains: one pass instead of three, in place where no
    gradient needs its input. Training keeps that input only.
    """
    hidden = F.linear(x, first.weight * QUICK_GELU, first.bias * QUICK_GELU)
    hidden = F.silu(hidden, inplace=not hidden.requires_grad)
    if dropout is not None:
        hidden = dropout(hidden)
    return F.linear(hidden, second.weight / QUICK_GELU, second.bias)


class QuickGELUMlp(nn.Module):
    """timm's ``Mlp`` with QuickGELU, under the same parameter names."""

    def __init__(self, fc1: nn.Linear, fc2: nn.Linear):
        super().__init__()
        self.fc1 = fc1
        self.fc2 = fc2

    def forward(self, x: Tensor) -> Tensor:
        return quick_gelu_mlp(x, self.fc1, self.fc2)


def speed_up_mlp(block: Block) -> None:
    """Replace a block's ``Mlp`` by a QuickGELUMlp with the same parameters if QuickGELU is its activation."""
    mlp = block.mlp
    if isinstance(mlp, Mlp) and isinstance(mlp.act, QuickGELU):
        block.mlp = QuickGELUMlp(cast(nn.Linear, mlp.fc1), cast(nn.Linear, mlp.fc2))


def run_block(block: nn.Module, *inputs: Tensor, recompute: bool) -> Tensor:
    """Call a block, which draws random numbers in dropout only.

    With ``recompute`` it keeps the inputs only, and computes the block again, with the same dropout, for its gradients.
    """
    if not (recompute and block.training and torch.is_grad_enabled()):
        return block(*inputs)
    draws = any(isinstance(module, nn.Dropout) and module.p > 0 for module in block.modules())
    return cast(Tensor, checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=draws))
