"""A trained model as one network from bytes to descriptors, with everything that evaluation does around it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import XTFCLIP


class TrackletDescriber(nn.Module):
    """Describe clips of uint8 pixels: scale and normalise them, encode them, average with the mirror image.

    Args:
        model: In evaluation mode.
        pixel_mean, pixel_std: Of each channel, on the scale 0..1 (INPUT.PIXEL_MEAN, INPUT.PIXEL_STD).
        flip: Whether to average the descriptors of a clip and its mirror image (TEST.FLIP).
        normalize: Whether descriptors are L2-normalised (TEST.FEAT_NORM).
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        model: XTFCLIP,
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
        flip: bool = True,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.flip = flip
        self.normalize = normalize
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1))

    def forward(self, frames: Tensor, cameras: Tensor) -> Tensor:
        """Describe a batch.

        Args:
            frames: (B, T, C, H, W), uint8, RGB.
            cameras: (B,), int64; indices of training cameras, -1 where unknown.
        Returns:
            (B, D), float32.
        """
        clips = (frames.float() / 255 - self.pixel_mean) / self.pixel_std
        features = self.model.describe(clips, cameras)
        if self.flip:
            features = (features + self.model.describe(clips.flip(-1), cameras)) / 2
        return F.normalize(features, dim=1) if self.normalize else features
