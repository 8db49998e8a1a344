"""Turn batches of bytes into the model's input, with or without augmentation, on the device of the batch.

Random choices come from a CPU generator, so that a seed has the same effect on every device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .warping import change_view, draw_hues, draw_resolutions, draw_views, lower_resolution, shift_hue

# Weights of R, G and B by ITU-R BT.601, as in the greyscale conversion of Pillow and torchvision.
LUMA = (0.299, 0.587, 0.114)
# How often the published eraser draws a rectangle: 1 of 100 does not fit into a person's frame, so 8 always suffice.
NUM_ATTEMPTS = 8
ERASE_AREA = (0.02, 0.2)  # smallest and largest share of the frame to erase
ERASE_ASPECT = (0.3, 1 / 0.3)  # smallest and largest ratio of the rectangle's height to its width


class Normalizer:
    """Scale clips to 0..1 and normalise each channel, by its mean and standard deviation on that scale."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._mean = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1)

    def __call__(self, clips: torch.Tensor) -> torch.Tensor:
        """Normalise pixels, (B, T, C, H, W), uint8, to float32 of the same shape."""
        return self.standardize_(clips.float().div_(255))

    def standardize_(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the channels of pixels on the scale 0..1, (..., C, H, W), in place."""
        if self._mean.device != x.device:
            self._mean, self._std = self._mean.to(x.device), self._std.to(x.device)
        return x.sub_(self._mean).div_(self._std)

    def invert(self, x: torch.Tensor) -> torch.Tensor:
        """Turn normalised pixels, (..., C, H, W), back to the scale 0..1."""
        return x * self._std.to(x.device) + self._mean.to(x.device)


class Draws(NamedTuple):
    """Random choices for B clips, in G groups of frames that share theirs; what is switched off has no columns."""

    flipped: torch.Tensor  # (B,), bool: whether a clip is mirrored
    boxes: torch.Tensor  # to erase, (G, 4), int32: top, left, bottom, right, the last two exclusive; some are empty
    colors: torch.Tensor  # that fill them, (G, 3), within 0..1
    factors: torch.Tensor  # of brightness, contrast and saturation, (G, 3)
    corners: torch.Tensor  # first row and column of the crops in the padded frames, (G, 2), int64
    hues: torch.Tensor  # as ``warping`` draws them, and so are those below
    views: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor


@dataclass
class Augmenter:
    """Lower the resolution, jitter colours, normalise, crop, change the view, mirror and erase a rectangle, at random.

    They follow in this order. Mirroring and what ``warping`` does are decided for each clip. All else is drawn for each
    frame, or for each clip if ``consistent``. Each of several processes draws for the whole batch, so that a clip is
    augmented alike whatever their number.

    Reference:
        Zhong et al., "Random Erasing Data Augmentation", AAAI 2020. Area and aspect are uniform, as in the paper, which
        draws both again until the rectangle fits; so does ``erasing`` "published", while "mean" draws the aspect from
        those that fit the area (docs/method.md section 7).
        Colour jitter: Howard, "Some Improvements on Deep Convolutional Neural Network Based Image Classification",
        arXiv 1312.5402. Contrast is changed around the mean grey of the frame (clip) that the factor was drawn for, so
        that equal colours stay equal in a consistent clip. It leaves the hue; ``hue_jitter`` shifts that of a clip.
    """

    mean: Sequence[float]
    std: Sequence[float]
    flip_probability: float = 0.5  # that a clip, with all its frames, is mirrored
    erase_probability: float = 0.5  # that a rectangle is erased in a frame (clip)
    erasing: str = "mean"  # or "published": how the rectangle is filled and placed
    padding: int = 0  # pixels of mean colour around a frame before it is cropped to its old size at a random place
    color_jitter: float = 0.0  # s in 0..1: factors of brightness, contrast and saturation lie within 1 - s and 1 + s
    consistent: bool = False
    hue_jitter: float = 0.0  # largest share of the colour wheel by which the hue of a clip is shifted
    change_views: bool = False  # whether clips are shifted, scaled, turned and tilted
    low_resolution: float = 0.0  # probability that the resolution of a clip is lowered
    rank: int = 0  # which of the equal slices of a batch it gets
    world_size: int = 1

    def __post_init__(self) -> None:
        self.normalize = Normalizer(self.mean, self.std)

    def __call__(self, clips: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Normalise and augment this slice of a batch, (B, T, C, H, W), uint8, on any device, to float32.

        A batch of one shape always takes the same number of draws from the generator, which is on the CPU.
        """
        draws = self.draw(clips.shape, generator, pinned=clips.is_cuda)
        return self.apply(clips, *(part.to(clips.device, non_blocking=True) for part in draws))

    def apply(self, clips: torch.Tensor, *draws: torch.Tensor) -> torch.Tensor:
        """Normalise clips as above and change them by what ``draw`` drew, on their device."""
        drawn = Draws(*draws)
        x = clips.float().div_(255)
        B, T, C, H, W = x.shape
        G = len(drawn.boxes)
        if self.low_resolution:
            x = lower_resolution(x, drawn.rows, drawn.columns)
        if self.hue_jitter:
            x = shift_hue(x, drawn.hues)
        x = x.view(G, -1, C, H, W)
        if self.color_jitter:
            x = jitter_colors_(x, *drawn.factors.unbind(1))
        x = self.normalize.standardize_(x)
        if self.padding:
            x = shift_frames(x, self.padding, *drawn.corners.unbind(1))
        x = x.reshape(B, T, C, H, W)
        if self.change_views:
            x = change_view(x, drawn.views)
        x = torch.where(drawn.flipped.view(B, 1, 1, 1, 1), flip_clips(x), x)
        top, left, bottom, right = drawn.boxes.view(B, G // B, 4, 1).unbind(dim=2)  # (B, T or 1, 1) each
        rows, columns = torch.arange(H, device=x.device), torch.arange(W, device=x.device)
        in_rows = (rows >= top) & (rows < bottom)  # (B, T or 1, H)
        in_columns = (columns >= left) & (columns < right)  # (B, T or 1, W)
        erased = in_rows.unsqueeze(-1) & in_columns.unsqueeze(-2)  # (B, T or 1, H, W)
        fill = self.normalize.standardize_(drawn.colors.view(B, G // B, 3, 1, 1).clone())  # draws stay as they are
        return torch.where(erased.unsqueeze(2), fill, x)

    def draw(self, shape: Sequence[int], generator: torch.Generator, pinned: bool = False) -> Draws:
        """Draw the random choices for clips of a shape, (B, T, C, H, W), but for what is switched off.

        From ``pinned`` memory they are copied to CUDA without a wait of the host.
        """
        num_clips, T, _, H, W = self.world_size * shape[0], *shape[1:]
        num_groups = num_clips if self.consistent else num_clips * T
        flipped = torch.rand(num_clips, generator=generator) < self.flip_probability
        draw_boxes = self._draw_published if self.erasing == "published" else self._draw_anywhere
        boxes, colors = draw_boxes(num_groups, H, W, generator)
        factors, corners = torch.empty(0, num_groups), torch.empty(0, num_groups, dtype=torch.int64)
        if self.color_jitter:
            factors = 1 + self.color_jitter * (2 * torch.rand(3, num_groups, generator=generator) - 1)
        if self.padding:
            corners = torch.randint(2 * self.padding + 1, (2, num_groups), generator=generator)
        hues = views = rows = columns = torch.empty(num_clips, 0)
        if self.hue_jitter:
            hues = draw_hues(num_clips, self.hue_jitter, generator)
        if self.change_views:
            views = draw_views(num_clips, H, W, generator)
        if self.low_resolution:
            rows, columns = draw_resolutions(num_clips, H, W, self.low_resolution, generator)
        draws = [flipped, boxes, colors.t(), factors.t(), corners.t(), hues, views, rows, columns]
        own = (each.chunk(self.world_size)[self.rank].contiguous() for each in draws)
        return Draws(*(each.pin_memory() if pinned else each for each in own))

    def _draw_published(
        self, num_boxes: int, H: int, W: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw boxes and colours as the published code does."""
        chosen = torch.rand(num_boxes, generator=generator) < self.erase_probability
        area, aspect = torch.rand(2, NUM_ATTEMPTS, num_boxes, generator=generator)
        colors = torch.randint(256, (3, num_boxes), generator=generator) / 255
        area, aspect = H * W * _scale_to(area, *ERASE_AREA), _scale_to(aspect, *ERASE_ASPECT)
        height, width = (area * aspect).sqrt(), (area / aspect).sqrt()
        first = ((height < H) & (width < W)).int().argmax(dim=0, keepdim=True)  # that fits; the very first if none does
        height, width = (side.gather(0, first)[0].floor() for side in (height, width))
        boxes = torch.stack([height, width, (2 * height).clamp_max(H), (2 * width).clamp_max(W)], dim=1)
        return (boxes * chosen.unsqueeze(1)).int(), colors

    def _draw_anywhere(
        self, num_boxes: int, H: int, W: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw boxes of mean colour anywhere in the frame."""
        chosen, area, aspect, top, left = torch.rand(5, num_boxes, generator=generator)
        area = H * W * _scale_to(area, *ERASE_AREA)  # in pixels
        narrowest, widest = ERASE_ASPECT
        low = (area / W**2).clamp(narrowest, widest)  # a lower aspect would be wider than the frame
        high = (H**2 / area).clamp(narrowest, widest)
        aspect = low + (high - low) * aspect
        height = (area * aspect).sqrt().round().clamp(1, H)
        width = (area / aspect).sqrt().round().clamp(1, W)
        top = (top * (H - height + 1)).floor().clamp_max(H - height)
        left = (left * (W - width + 1)).floor().clamp_max(W - width)
        boxes = torch.stack([top, left, top + height, left + width], dim=1)
        colors = torch.tensor(self.mean, dtype=torch.float32).unsqueeze(1).repeat(1, num_boxes)
        return (boxes * (chosen < self.erase_probability).unsqueeze(1)).int(), colors


def _scale_to(share: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return low + (high - low) * share


def jitter_colors_(
    x: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, saturation: torch.Tensor
) -> torch.Tensor:
    """Multiply brightness, contrast around a group's mean grey, and saturation, in place; clamp to 0..1 each time.

    ``x`` are groups of RGB frames within 0..1, (G, F, 3, H, W), float; each factor is (G,), at least 0.
    """
    brightness, contrast, saturation = (factor.view(-1, 1, 1, 1, 1) for factor in (brightness, contrast, saturation))
    x.mul_(brightness).clamp_(0, 1)
    mean = _grey(x).mean(dim=(1, 2, 3, 4), keepdim=True)
    x.sub_(mean).mul_(contrast).add_(mean).clamp_(0, 1)
    grey = _grey(x)
    return x.sub_(grey).mul_(saturation).add_(grey).clamp_(0, 1)


def _grey(x: torch.Tensor) -> torch.Tensor:
    """Return the luma, (G, F, 1, H, W), of RGB, (G, F, 3, H, W)."""
    red, green, blue = x.split(1, dim=2)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def shift_frames(x: torch.Tensor, padding: int, top: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
    """Pad frames, (G, F, C, H, W), with zeros on all sides and crop them to their old size.

    ``top`` and ``left`` are the first row and column of the crop of each group, (G,), int64, 0..2 * padding.
    """
    H, W = x.shape[-2:]
    windows = F.pad(x, (padding,) * 4).unfold(3, H, 1).unfold(4, W, 1)  # a view: (G, F, C, rows, columns, H, W)
    groups = torch.arange(len(x), device=x.device)
    return windows[groups, :, :, top, left]  # (G, F, C, H, W)


def flip_clips(clips: torch.Tensor) -> torch.Tensor:
    """Mirror left and right, clips (..., W)."""
    return clips.flip(-1)
