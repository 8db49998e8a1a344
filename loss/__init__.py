"""The training objective and its terms."""

from .build import make_loss
from .online_label_smoothing import ClassificationLoss, OnlineLabelSmoothing, UniformLabelSmoothing
from .triplet import BatchHardTriplet
from .weighted_sum import ModelOutput, ReidLoss

__all__ = [
    "BatchHardTriplet",
    "ClassificationLoss",
    "ModelOutput",
    "OnlineLabelSmoothing",
    "ReidLoss",
    "UniformLabelSmoothing",
    "make_loss",
]
