"""The training objective: a weighted sum of named terms (docs/method.md section 6)."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode

from .label_smoothing import ClassificationLoss, OnlineLabelSmoothing, UniformLabelSmoothing
from .proxies import ProxyMemory
from .triplet import BatchHardTriplet


class Outputs(Protocol):
    """What a model returns for one batch of clips."""

    @property
    def id_logits(self) -> list[Tensor]: ...  # (B, K) each, of every clip-level head
    @property
    def frame_logits(self) -> Tensor: ...  # (B*T, K)
    @property
    def features(self) -> list[Tensor]: ...  # (B, width) each, for the triplet term
    @property
    def memory_logits(self) -> Tensor: ...  # (B, K); not read where the loss keeps proxies


class ReidLoss(nn.Module):
    """Weighted sum of the identity, triplet, memory and frame terms of the outputs of one batch.

    ``clip_classification`` is the loss of the three clip-level heads and of the memory logits, which share its state;
    ``proxies`` compare f_proj with people in place of these logits. ``weights`` are the factors of "id", "triplet",
    "memory" and "frame", which is also divided by T.
    """

    def __init__(
        self,
        clip_classification: ClassificationLoss,
        frame_classification: ClassificationLoss,
        triplet: nn.Module,
        weights: Mapping[str, float],
        proxies: ProxyMemory | None = None,
    ):
        super().__init__()
        self.clip_classification = clip_classification
        self.frame_classification = frame_classification
        self.triplet = triplet
        self.weights = dict(weights)
        self.proxies = proxies

    def forward(self, output: Outputs, labels: Tensor) -> dict[str, Tensor]:
        """Compute "id", "triplet", "memory" and "frame", unweighted, and the "total", for labels (B,) in 0..K-1."""
        T = len(output.frame_logits) // len(labels)
        terms = {
            "id": torch.stack([self.clip_classification(logits, labels) for logits in output.id_logits]).sum(),
            "triplet": torch.stack([self.triplet(feature, labels) for feature in output.features]).sum(),
            "memory": self._compare_with_people(output, labels),
            "frame": self.frame_classification(output.frame_logits, labels.repeat_interleave(T)),
        }
        assert terms.keys() == self.weights.keys()
        factors = {**self.weights, "frame": self.weights["frame"] / T}
        first, *others = (factors[name] * term for name, term in terms.items())
        return {**terms, "total": sum(others, first)}

    def _compare_with_people(self, output: Outputs, labels: Tensor) -> Tensor:
        if self.proxies is None:
            return self.clip_classification(output.memory_logits, labels)
        return self.proxies(output.features[1], labels)

    def formula(self) -> str:
        """Write how the total is made of the terms, for the log."""
        parts = (f"{weight:g} {name}{' / T' if name == 'frame' else ''}" for name, weight in self.weights.items())
        return f"total = {' + '.join(parts)}"

    @torch.no_grad()
    def hard_terms(self, output: Outputs, labels: Tensor) -> dict[str, Tensor]:
        """Compute "id_hard", "memory_hard" and "frame_hard", unweighted cross entropies with the labels, to be logged.

        The targets of online label smoothing change with every epoch, so its terms cannot be compared over epochs. With
        proxies, "memory" is a hard term itself, and "memory_hard" is left out.
        """
        T = len(output.frame_logits) // len(labels)
        memory = {} if self.proxies else {"memory_hard": F.cross_entropy(output.memory_logits.float(), labels)}
        return {
            "id_hard": torch.stack([F.cross_entropy(logits.float(), labels) for logits in output.id_logits]).sum(),
            **memory,
            "frame_hard": F.cross_entropy(output.frame_logits.float(), labels.repeat_interleave(T)),
        }

    def next_epoch(self) -> None:
        """Update the soft labels of the classification losses at the end of an epoch."""
        self.clip_classification.next_epoch()
        self.frame_classification.next_epoch()


def make_loss(cfg: CfgNode, num_classes: int, feature_widths: Sequence[int] = ()) -> ReidLoss:
    """Build the objective that a configuration describes, for K training identities.

    ``feature_widths`` are those of ``Outputs.features``, for a loss that keeps points in their space.
    """
    weights = {
        "id": cfg.MODEL.ID_LOSS_WEIGHT,
        "triplet": cfg.MODEL.TRIPLET_LOSS_WEIGHT,
        "memory": cfg.MODEL.I2T_LOSS_WEIGHT,
        "frame": cfg.MODEL.FRAME_LOSS_WEIGHT,
    }
    clips, frames = (_make_classification(cfg, num_classes) for _ in range(2))
    proxies = ProxyMemory(num_classes, feature_widths[1]) if cfg.LOSS.MEMORY == "proxies" else None
    loss = ReidLoss(clips, frames, BatchHardTriplet(cfg.SOLVER.MARGIN), weights, proxies)
    if cfg.MODEL.COMPILE:
        loss.compile()  # when it is first called
    return loss


def _make_classification(cfg: CfgNode, num_classes: int) -> ClassificationLoss:
    if cfg.LOSS.LABEL_SMOOTHING == "online":
        return OnlineLabelSmoothing(num_classes, cfg.LOSS.SMOOTHING, cfg.LOSS.HARD_WEIGHT)
    return UniformLabelSmoothing(cfg.LOSS.SMOOTHING)
