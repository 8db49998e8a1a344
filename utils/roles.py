"""Roles of a network's parameters: the network assigns them, and the solver sets rates and decay by them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ParameterRole:
    """What a parameter does in the network."""

    # encoder: weights that come from CLIP; new: pools, temporal memory, memory weight, and what the encoder has beside
    # CLIP's (embeddings of camera and frame, view prompts, tuning, a projection that its family lacks); head:
    # classifiers and necks; temporal head: the classifier with a published rate; loss: what a loss learns
    module: Literal["encoder", "new", "head", "temporal head", "prompt", "loss"]
    height: int = 0  # layers of the encoder above the parameter's, for layer-wise decay; 0 outside the encoder
