"""From bytes to the model's input, with augmentation: on whole batches, on the device that the batch is on.

Random choices come from a CPU generator, so that a seed means the same on every device.
"""

from collections.abc import Sequence

import torch


class TestTransform:
    """Scale clips to 0..1 and normalise them by channel.

    Args:
        mean: Mean of each channel, on the scale of 0..1.
        std: Standard deviation of each channel, positive.
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != len(std) or not len(mean):
            raise ValueError(
                f"INPUT.PIXEL_MEAN and INPUT.PIXEL_STD need one value a channel, got {tuple(mean)} and {tuple(std)}."
            )
        if not all(0 <= value <= 1 for value in mean):
            raise ValueError(f"INPUT.PIXEL_MEAN must be within 0..1, got {tuple(mean)}.")
        if not all(0 < value <= 1 for value in std):
            raise ValueError(f"INPUT.PIXEL_STD must be above 0 and at most 1, got {tuple(std)}.")
        self._mean = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1)

    def __call__(self, clips: torch.Tensor) -> torch.Tensor:
        """Normalise.

        Args:
            clips: Pixels, (B, T, C, H, W), uint8.
        Returns:
            The same as float32.
        Raises:
            TypeError: If the clips are not bytes: they may have been scaled already.
            ValueError: If they are not 5-D with one channel for each mean.
        """
        if clips.dtype != torch.uint8:
            raise TypeError(f"clips must be uint8, got {clips.dtype}.")
        if clips.ndim != 5 or clips.shape[2] != len(self._mean):
            raise ValueError(f"clips must be (B, T, C, H, W) with C = {len(self._mean)}, got {tuple(clips.shape)}.")
        if self._mean.device != clips.device:
            self._mean, self._std = self._mean.to(clips.device), self._std.to(clips.device)
        return clips.float().div_(255).sub_(self._mean).div_(self._std)


class TrainTransform:
    """Normalise clips, mirror whole clips at random, and erase a random rectangle of frames.

    Args:
        mean: As in ``TestTransform``.
        std: As in ``TestTransform``.
        flip_probability: Of mirroring a clip; all its frames or none.
        erase_probability: Of erasing in a frame, for each frame on its own.
        erase_area: Smallest and largest share of the frame to erase.
        erase_aspect: Smallest and largest ratio of the rectangle's height to its width.
    Reference:
        Zhong et al., "Random Erasing Data Augmentation", AAAI 2020. Area and aspect are uniform, as there.
        Where the paper draws again until the rectangle fits, we draw the aspect among those that fit the
        area. Erased pixels take the mean, which is 0 after normalisation.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        flip_probability: float = 0.5,
        erase_probability: float = 0.5,
        erase_area: tuple[float, float] = (0.02, 0.2),
        erase_aspect: tuple[float, float] = (0.3, 1 / 0.3),
    ) -> None:
        for name, value in (("flip_probability", flip_probability), ("erase_probability", erase_probability)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value}.")
        if not 0 < erase_area[0] <= erase_area[1] <= 1:
            raise ValueError(f"erase_area must be ascending within 0..1, got {erase_area}.")
        if not 0 < erase_aspect[0] <= erase_aspect[1]:
            raise ValueError(f"erase_aspect must be positive and ascending, got {erase_aspect}.")
        self.normalize = TestTransform(mean, std)
        self.flip_probability = flip_probability
        self.erase_probability = erase_probability
        self.erase_area = erase_area
        self.erase_aspect = erase_aspect

    def __call__(self, clips: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Normalise and augment.

        Args:
            clips: Pixels, (B, T, C, H, W), uint8, on any device.
            generator: On the CPU; advanced by the same number of draws for all batches of one shape.
        Returns:
            The same as float32.
        """
        x = self.normalize(clips)
        B, T, _, H, W = x.shape
        flipped = torch.rand(B, generator=generator) < self.flip_probability
        boxes = self._draw_boxes(B * T, H, W, generator)
        flipped, boxes = flipped.to(x.device), boxes.to(x.device)

        x = torch.where(flipped.view(B, 1, 1, 1, 1), flip_clips(x), x)
        top, left, bottom, right = boxes.view(B, T, 4, 1).unbind(dim=2)  # (B, T, 1) each
        rows, columns = torch.arange(H, device=x.device), torch.arange(W, device=x.device)
        in_rows = (rows >= top) & (rows < bottom)  # (B, T, H)
        in_columns = (columns >= left) & (columns < right)  # (B, T, W)
        erased = in_rows.unsqueeze(-1) & in_columns.unsqueeze(-2)  # (B, T, H, W)
        return x.masked_fill_(erased.unsqueeze(2), 0.0)

    def _draw_boxes(self, num_frames: int, H: int, W: int, generator: torch.Generator) -> torch.Tensor:
        """Rectangles, (num_frames, 4): top, left, bottom, right, the last two exclusive; some are empty."""
        chosen, area, aspect, top, left = torch.rand(5, num_frames, generator=generator)
        smallest, largest = self.erase_area
        area = H * W * (smallest + (largest - smallest) * area)  # in pixels
        narrowest, widest = self.erase_aspect
        low = (area / W**2).clamp(narrowest, widest)  # a lower aspect would be wider than the frame
        high = (H**2 / area).clamp(narrowest, widest)
        aspect = low + (high - low) * aspect
        height = (area * aspect).sqrt().round().clamp(1, H)
        width = (area / aspect).sqrt().round().clamp(1, W)
        top = (top * (H - height + 1)).floor().clamp_max(H - height)
        left = (left * (W - width + 1)).floor().clamp_max(W - width)
        boxes = torch.stack([top, left, top + height, left + width], dim=1)
        return (boxes * (chosen < self.erase_probability).unsqueeze(1)).int()


def flip_clips(clips: torch.Tensor) -> torch.Tensor:
    """Mirror left and right, (..., W)."""
    return clips.flip(-1)
