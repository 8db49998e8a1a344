"""Learned tokens that tell the encoder how a clip was taken: from the ground or the air, how high, at which angle."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_BLOCKS = 9  # the lowest ones, in which VSLA-CLIP has its prompts
NUM_VIEWS, NUM_ALTITUDES, NUM_ANGLES = 2, 18, 3
NUM_ROWS = (NUM_VIEWS + 1, NUM_ALTITUDES + 1, NUM_ANGLES + 1)  # the first of each is for 'unknown'
MAX_ALTITUDE, MAX_ANGLE = 120, 90  # metres and degrees where the highest of the equal bins ends
PROMPT_STD = 0.02


class ViewPrompts(nn.Module):
    """Tokens among the keys and values of the lowest blocks; each is the sum of a row of view, altitude and angle.

    A prompt passes through its block's first norm and joint matrix as any token does, and is dropped behind the block.
    Rows of views start as truncated normal numbers, those of altitudes and angles at 0: what training never saw adds
    nothing.

    Reference:
        Zhang et al., "Cross-Platform Video Person ReID", ECCV 2024 (VSLA-CLIP: prompts by platform, behind the norm);
        Jia et al., "Visual Prompt Tuning", ECCV 2022 (VPT-deep: before it, so that their length does not matter).
    """

    def __init__(self, num_tokens: int, depth: int, width: int):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(sum(NUM_ROWS), min(depth, NUM_BLOCKS), num_tokens, width))
        nn.init.trunc_normal_(self.rows.data[: NUM_ROWS[0]], std=PROMPT_STD)

    def forward(self, facts: Tensor, num_frames: int) -> tuple[Tensor, ...]:
        """Return the prompts of each block for B clips of T frames, (B*T, tokens, D).

        Facts, (B, 3), int64, are the view (0 ground, 1 aerial), the altitude in metres and the angle in degrees, each
        -1 where unknown.
        """
        view, altitude, angle = facts.unbind(1)
        altitude = find_bin(altitude, MAX_ALTITUDE, NUM_ALTITUDES)
        angle = find_bin(angle, MAX_ANGLE, NUM_ANGLES)
        of_views, of_altitudes, of_angles = self.rows.split(NUM_ROWS)
        rows = of_views[view + 1] + of_altitudes[altitude + 1] + of_angles[angle + 1]
        return rows.unsqueeze(1).expand(-1, num_frames, -1, -1, -1).flatten(0, 1).unbind(1)


def find_bin(number: Tensor, end: int, num_bins: int) -> Tensor:
    """Return which of equal bins from 0 to ``end`` whole numbers lie in, (B,); -1 stays, what is higher is in the last.

    A bin holds its upper bound, so that angles of 30, 60 and 90 degrees have one each.
    """
    found = ((number - 1).clamp(min=0) * num_bins // end).clamp(max=num_bins - 1)
    return torch.where(number < 0, number, found)


def extend_rotary(rotary: Tensor, num_tokens: int) -> Tensor:
    """Append positions that turn nothing, for prompts, to rotary ones: (N, 2 * width), sines before cosines."""
    sines, cosines = rotary.chunk(2, dim=-1)
    below = (0, 0, 0, num_tokens)
    return torch.cat([F.pad(sines, below), F.pad(cosines, below, value=1.0)], dim=-1)
