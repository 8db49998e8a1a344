"""The network, and the weights it starts from."""

from .build import make_model
from .weights import load_weights
from .xtfclip import XTFCLIP, TrainingOutput

__all__ = ["XTFCLIP", "TrainingOutput", "load_weights", "make_model"]
