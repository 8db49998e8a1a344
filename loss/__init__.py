"""The training objective: a weighted sum of named terms (METHOD section 6)."""

from torch import Tensor, nn
from yacs.config import CfgNode

from .online_label_smoothing import OnlineLabelSmoothing, UniformLabelSmoothing
from .triplet import BatchHardTriplet

__all__ = ["BatchHardTriplet", "OnlineLabelSmoothing", "ReidLoss", "UniformLabelSmoothing", "make_loss"]


class ReidLoss(nn.Module):
    """Identity, triplet, memory and frame terms of one batch.

    Args:
        clip_classification: Loss shared by the three clip-level heads and the memory logits.
        frame_classification: A second instance, for the frame logits.
        triplet: Loss on each of the three features.
        id_weight, triplet_weight, memory_weight, frame_weight: Factors in the total; the frame term is further divided
            by T.
    """

    def __init__(
        self,
        clip_classification: nn.Module,
        frame_classification: nn.Module,
        triplet: nn.Module,
        id_weight: float = 0.25,
        triplet_weight: float = 1.0,
        memory_weight: float = 1.0,
        frame_weight: float = 1.0,
    ):
        super().__init__()
        self.clip_classification = clip_classification
        self.frame_classification = frame_classification
        self.triplet = triplet
        self.id_weight = id_weight
        self.triplet_weight = triplet_weight
        self.memory_weight = memory_weight
        self.frame_weight = frame_weight

    def forward(self, output, labels: Tensor) -> dict[str, Tensor]:
        """Compute the terms.

        Args:
            output: Record with ``id_logits``, ``frame_logits``, ``features``, ``memory_logits`` (model.TrainingOutput).
            labels: (B,), 0..K-1.
        Returns:
            Scalars "id", "triplet", "memory" and "frame", unweighted, and their weighted sum "total".
        """
        T = len(output.frame_logits) // len(labels)
        terms = {
            "id": sum(self.clip_classification(logits, labels) for logits in output.id_logits),
            "triplet": sum(self.triplet(feature, labels) for feature in output.features),
            "memory": self.clip_classification(output.memory_logits, labels),
            "frame": self.frame_classification(output.frame_logits, labels.repeat_interleave(T)),
        }
        terms["total"] = (
            self.id_weight * terms["id"]
            + self.triplet_weight * terms["triplet"]
            + self.memory_weight * terms["memory"]
            + self.frame_weight / T * terms["frame"]
        )
        return terms

    def next_epoch(self) -> None:
        """Tell the classification losses that an epoch ended."""
        self.clip_classification.next_epoch()
        self.frame_classification.next_epoch()


def make_loss(cfg: CfgNode, num_classes: int) -> ReidLoss:
    """Build the objective that a configuration describes, for K training identities."""
    return ReidLoss(
        clip_classification=_make_classification(cfg, num_classes),
        frame_classification=_make_classification(cfg, num_classes),
        triplet=BatchHardTriplet(cfg.SOLVER.MARGIN),
        id_weight=cfg.MODEL.ID_LOSS_WEIGHT,
        triplet_weight=cfg.MODEL.TRIPLET_LOSS_WEIGHT,
        memory_weight=cfg.MODEL.I2T_LOSS_WEIGHT,
        frame_weight=cfg.MODEL.FRAME_LOSS_WEIGHT,
    )


def _make_classification(cfg: CfgNode, num_classes: int) -> nn.Module:
    if cfg.LOSS.LABEL_SMOOTHING == "online":
        return OnlineLabelSmoothing(num_classes, cfg.LOSS.SMOOTHING, cfg.LOSS.HARD_WEIGHT)
    return UniformLabelSmoothing(cfg.LOSS.SMOOTHING)
