"""The training objective and its terms."""

from .label_smoothing import OnlineLabelSmoothing, UniformLabelSmoothing
from .objective import ReidLoss, make_loss
from .triplet import BatchHardTriplet

__all__ = ["BatchHardTriplet", "OnlineLabelSmoothing", "ReidLoss", "UniformLabelSmoothing", "make_loss"]
