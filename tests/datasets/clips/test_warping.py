"""Hues, views and resolutions of whole clips, by hand and against torchvision."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import functional as TF

from datasets.clips.transforms import Augmenter, Normalizer
from datasets.clips.warping import change_view, draw_resolutions, draw_views, lower_resolution, shift_hue

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
EACH = [{"hue_jitter": 0.3}, {"change_views": True}, {"low_resolution": 0.5}]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_hue_is_torchvisions():
    x = torch.rand(5, 2, 3, 12, 8)
    x[0] = 0.3  # grey has no hue
    shifts = torch.tensor([0.2, -0.3, 0.0, 0.5, 0.1])
    for clip, shifted, shift in zip(x, shift_hue(x, shifts), shifts.tolist(), strict=True):
        torch.testing.assert_close(shifted, TF.adjust_hue(clip, shift), rtol=0, atol=1e-5)


def test_views_by_hand():
    x = torch.arange(24.0).view(1, 2, 1, 4, 3)
    views = torch.eye(3).unsqueeze(0)
    torch.testing.assert_close(change_view(x, views), x)
    views[0, 0, 2] = 2 / 3  # a place one column to the right in the old frame
    torch.testing.assert_close(change_view(x, views), F.pad(x[..., 1:], (0, 1)))
    quarter = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    square = torch.arange(16.0).view(1, 1, 1, 4, 4)
    torch.testing.assert_close(change_view(square, quarter), square.rot90(1, (3, 4)), atol=1e-4, rtol=0)


def test_drawn_views_stay_within_their_bounds():
    views = draw_views(4000, 288, 144, generator())
    unchanged = (views == torch.eye(3)).flatten(1).all(dim=1).float().mean()
    assert unchanged == pytest.approx(0.4 * 0.7, abs=0.03)
    assert views[:, :2, 2].abs().max() == pytest.approx(0.12, abs=0.001)
    corners = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)]) @ views.transpose(1, 2)
    assert (corners[..., 2] > 0.85).all()


def test_a_lower_resolution_is_that_of_resizing():
    x = torch.rand(40, 2, 3, 96, 48)
    rows, columns = draw_resolutions(40, 96, 48, 0.5, generator())
    result = lower_resolution(x, rows, columns)
    changed = (result - x).abs().flatten(1).amax(dim=1) > 1e-5
    assert 10 < changed.sum() < 30
    index = int(changed.nonzero()[0])
    heights = range(32, 97)
    resized = []
    for height in heights:
        small = F.interpolate(x[index], size=(height, round(height / 2)), mode="bilinear", antialias=True)
        resized.append(F.interpolate(small, size=(96, 48), mode="bilinear"))
    assert min((each - result[index]).abs().max() for each in resized) < 1e-5


@pytest.mark.parametrize("options", EACH)
def test_frames_of_a_clip_change_alike_and_slices_as_in_the_whole_batch(options):
    clips = torch.randint(256, (30, 1, 3, 48, 24), dtype=torch.uint8, generator=generator()).expand(-1, 4, -1, -1, -1)
    options = {**options, "flip_probability": 0, "erase_probability": 0}
    source = generator(3)
    whole = Augmenter(MEAN, STD, **options)(clips, source)
    assert torch.equal(whole, whole[:, :1].expand_as(whole))
    share = ((whole - Normalizer(MEAN, STD)(clips)).abs().flatten(1).amax(dim=1) > 1e-4).float().mean()
    assert 0.2 < share < 0.9
    for rank, part in enumerate(clips.chunk(3)):
        own = generator(3)
        sliced = Augmenter(MEAN, STD, rank=rank, world_size=3, **options)(part, own)
        torch.testing.assert_close(sliced, whole.chunk(3)[rank])
        assert torch.equal(own.get_state(), source.get_state())
