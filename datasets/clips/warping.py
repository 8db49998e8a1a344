"""Change whole clips as other cameras would show them: other hues, another place and angle, a lower resolution.

All frames of a clip change alike, so that what moves in it is the person. Draws come from a CPU generator; what is
drawn is applied on the device of the clips.

Reference:
    Hue: SAS-VPReID, arXiv 2601.05535. Shifts, scales, perspective and rotation: STAR-CVI, github.com/O-VIGIA/SAR-ReID.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

HUE_PROBABILITY = 0.5
# Shares of the frame's sides, and how often a clip is shifted and scaled, or seen at another angle.
SHIFT, SCALE, MOVE_PROBABILITY = 0.06, 0.08, 0.6
PERSPECTIVE, ROTATION, TURN_PROBABILITY = 0.05, math.radians(6), 0.3
HEIGHTS = (32, 96)  # pixels to which a resolution is lowered


def draw_hues(num_clips: int, jitter: float, generator: torch.Generator) -> Tensor:
    """Draw shifts of the hue, (B,), at most ``jitter`` turns of the colour wheel; on average half of them are 0."""
    shift, chance = torch.rand(2, num_clips, generator=generator)
    return jitter * (2 * shift - 1) * (chance < HUE_PROBABILITY)


def shift_hue(x: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of RGB clips within 0..1, (B, T, 3, H, W), by a share of the colour wheel, (B,); in HSV."""
    value, brightest = x.max(dim=2, keepdim=True)
    chroma = value - x.amin(dim=2, keepdim=True)
    red, green, blue = x.split(1, dim=2)
    differences = torch.cat([green - blue, blue - red, red - green], dim=2)
    sector = differences.gather(2, brightest) / chroma.clamp_min(1e-12) + 2 * brightest  # 0..6 around the wheel
    sector = sector + 6 * shift.view(-1, 1, 1, 1, 1)
    offsets = torch.arange(5, 0, -2, device=x.device).view(3, 1, 1)  # of R, G and B
    place = (sector + offsets) % 6
    return value - chroma * torch.minimum(place, 4 - place).clamp(0, 1)


def draw_views(num_clips: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw homographies, (B, 3, 3), from places of a new frame to those of the old one, both within -1..1."""
    left, down, wider, turn, tilt_x, tilt_y = 2 * torch.rand(6, num_clips, generator=generator) - 1
    moves, turns = torch.rand(2, num_clips, generator=generator)
    moves, turns = moves < MOVE_PROBABILITY, turns < TURN_PROBABILITY
    factor = 1 + SCALE * wider * moves
    angle = ROTATION * turn * turns
    views = torch.eye(3).repeat(num_clips, 1, 1)
    views[:, 0, 0] = views[:, 1, 1] = factor * angle.cos()
    views[:, 0, 1] = -factor * angle.sin() * height / width  # a turn of pixels, not of shares of the frame
    views[:, 1, 0] = factor * angle.sin() * width / height
    views[:, 0, 2], views[:, 1, 2] = 2 * SHIFT * left * moves, 2 * SHIFT * down * moves  # a side is 2 long
    views[:, 2, 0], views[:, 2, 1] = PERSPECTIVE * tilt_x * turns, PERSPECTIVE * tilt_y * turns
    return views


def change_view(x: Tensor, views: Tensor) -> Tensor:
    """Show clips, (B, T, C, H, W), by homographies, (B, 3, 3); what lies outside of a frame is 0."""
    B, T, C, H, W = x.shape
    rows, columns = ((2 * torch.arange(size, device=x.device) + 1) / size - 1 for size in (H, W))
    places = torch.stack([*torch.meshgrid(columns, rows, indexing="xy"), torch.ones(H, W, device=x.device)], dim=-1)
    seen = places.view(1, -1, 3) @ views.transpose(1, 2)  # (B, H * W, 3)
    grid = (seen[..., :2] / seen[..., 2:]).view(B, H, W, 2)
    return F.grid_sample(x.reshape(B, T * C, H, W), grid, align_corners=False).view_as(x)


def draw_resolutions(
    num_clips: int, height: int, width: int, probability: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the matrices of ``lower_resolution``, of rows, (B, H, H), and columns, (B, W, W); many change nothing."""
    chosen, share = torch.rand(2, num_clips, generator=generator)
    low, high = (min(size, height) for size in HEIGHTS)
    heights = torch.where(chosen < probability, low + share * (high - low), torch.tensor(float(height))).round()
    widths = (heights * width / height).round().clamp_min(1)
    mixed = ((int(new), old) for sizes, old in ((heights, height), (widths, width)) for new in sizes)
    matrices = [_mix(*pair) for pair in mixed]
    return torch.stack(matrices[:num_clips]), torch.stack(matrices[num_clips:])


def lower_resolution(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Scale clips, (B, T, C, H, W), down and up again, by the matrices that were drawn."""
    return rows[:, None, None] @ x @ columns[:, None, None].transpose(-1, -2)


@lru_cache(maxsize=512)
def _mix(new: int, old: int) -> Tensor:
    """Return the matrix (old, old) that scales ``old`` values down to ``new``, antialiased, and up again, linearly."""
    identity = torch.eye(old).view(1, 1, old, old)
    small = F.interpolate(identity, size=(new, old), mode="bilinear", antialias=True)
    return F.interpolate(small, size=(old, old), mode="bilinear")[0, 0]
