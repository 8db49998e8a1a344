"""Build the training objective that a configuration describes."""

from yacs.config import CfgNode

from .online_label_smoothing import ClassificationLoss, OnlineLabelSmoothing, UniformLabelSmoothing
from .triplet import BatchHardTriplet
from .weighted_sum import ReidLoss


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


def _make_classification(cfg: CfgNode, num_classes: int) -> ClassificationLoss:
    if cfg.LOSS.LABEL_SMOOTHING == "online":
        return OnlineLabelSmoothing(num_classes, cfg.LOSS.SMOOTHING, cfg.LOSS.HARD_WEIGHT)
    return UniformLabelSmoothing(cfg.LOSS.SMOOTHING)
