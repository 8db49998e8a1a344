"""The training objective and its terms."""

from .label_smoothing import ClassificationLoss, OnlineLabelSmoothing, UniformLabelSmoothing
from .objective import ModelOutput, ReidLoss, make_loss
from .triplet import BatchHardTriplet

__all__ = [
    "BatchHardTriplet",
    "ClassificationLoss",
    "ModelOutput",
    "OnlineLabelSmoothing",
    "ReidLoss",
    "UniformLabelSmoothing",
    "make_loss",
]
