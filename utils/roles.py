"""Roles of a network's parameters: the network assigns them, and the solver sets rates and decay by them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Role:
    """What a parameter does in the network.

    Attributes:
        module: "encoder" (weights that come from CLIP), "new" (pools, temporal memory, camera and frame embeddings,
            memory weight), "head" (classifiers and necks), "temporal head" (the classifier with a published rate of its
            own) or "prompt".
        height: How many layers of the encoder lie above the parameter's, which layer-wise decay counts; 0 outside the
            encoder.
    """

    module: Literal["encoder", "new", "head", "temporal head", "prompt"]
    height: int = 0
