"""Weights in the names and shapes of the published checkpoints, for programs that load these strictly."""

import torch
from torch import Tensor

from .weights import OPENAI_RENAMES, PUBLISHED_RENAMES, invert, rename

_IMAGE_ENCODER = tuple((f"image_encoder.{theirs}", f"encoder.{ours}") for theirs, ours in OPENAI_RENAMES)
RENAMES = invert((*PUBLISHED_RENAMES, *_IMAGE_ENCODER))


def to_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``XTFCLIP`` to the names and shapes of the published checkpoints.

    ``weights.convert_checkpoint`` is the way back. The parameters that published checkpoints hold and no forward pass
    reads get neutral values: zeros for the second temporal classifier and the scale, and a norm that changes nothing.

    Args:
        state: All parameters and buffers of a network with a camera embedding.
    """
    published = {rename(name, RENAMES): value for name, value in state.items()}
    class_token, positions = state["encoder.class_token"], state["encoder.position_embedding"]
    published["image_encoder.class_embedding"] = class_token.flatten()
    published["image_encoder.positional_embedding"] = positions.squeeze(0)
    width = state["encoder.projection"].shape[1]
    published["classifier_proj_temp2.weight"] = torch.zeros_like(state["classifier_temporal.weight"])
    published["SSP.alpha"] = torch.zeros(width)
    published["SSP.norm.weight"] = torch.ones(width)
    published["SSP.norm.bias"] = torch.zeros(width)
    return published
