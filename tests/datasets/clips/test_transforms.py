import hashlib

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import functional as TF

from datasets.clips.transforms import Augmenter, Normalizer, jitter_colors_, shift_frames
from datasets.clips.warping import change_view, draw_resolutions, draw_views, lower_resolution, shift_hue

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
H, W = 288, 144
ALL_ON = {"padding": 4, "color_jitter": 0.4}


def random_clips(*shape):
    return torch.randint(256, shape, dtype=torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_normalisation():
    clips = random_clips(2, 3, 3, 4, 5)
    result = Normalizer(MEAN, STD)(clips)
    assert result.dtype == torch.float32
    expected = (clips[1, 2, :, 3, 4].double() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(result[1, 2, :, 3, 4].double(), expected, rtol=1e-6, atol=1e-6)
    without_chance = Augmenter(MEAN, STD, flip_probability=0, erase_probability=0)
    assert torch.equal(without_chance(clips, generator()), result)


def test_clips_are_flipped_whole_half_of_the_time():
    clips = random_clips(400, 3, 3, 4, 5)
    result = Augmenter(MEAN, STD, erase_probability=0)(clips, generator())
    plain = Normalizer(MEAN, STD)(clips)
    is_plain = (result == plain).flatten(1).all(dim=1)
    is_flipped = (result == plain.flip(-1)).flatten(1).all(dim=1)
    assert (is_plain ^ is_flipped).all()
    assert 0.4 < is_flipped.float().mean() < 0.6


def test_half_of_the_frames_are_erased_in_rectangles_within_range_everywhere():
    clips = torch.full((50, 8, 3, H, W), 255, dtype=torch.uint8)  # white frames cannot become 0 by normalising
    result = Augmenter((0.5,) * 3, (0.5,) * 3, flip_probability=0)(clips, generator())
    mask = result == 0
    assert (mask.all(dim=2) == mask.any(dim=2)).all()  # all channels or none
    assert (result[~mask] == 1).all()
    erased = mask[:, :, 0].flatten(0, 1)  # (N, H, W)
    assert 0.4 < erased.flatten(1).any(dim=1).float().mean() < 0.6
    assert (erased.view(50, 8, -1).any(dim=2).sum(dim=1) % 8 != 0).any()  # frame by frame, not clip by clip
    covered = erased.float().mean(dim=0)
    assert covered.max() < 0.2
    assert (covered > 0).float().mean() > 0.95
    areas, aspects = [], []
    for frame in erased[erased.flatten(1).any(dim=1)]:
        rows, columns = frame.any(dim=1).nonzero(), frame.any(dim=0).nonzero()
        height, width = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
        assert frame.sum() == height * width
        areas.append(height * width / (H * W))
        aspects.append(height / width)
    slack = 1.04  # sides are rounded to whole pixels
    assert 0.02 / slack < min(areas) < 0.04
    assert 0.17 < max(areas) < 0.2 * slack
    assert 0.3 / slack < min(aspects) < 0.6
    assert 2.5 < max(aspects) < slack / 0.3


def test_published_eraser_pastes_one_colour_at_the_place_of_its_size():
    clips = torch.full((40, 8, 3, H, W), 255, dtype=torch.uint8)
    result = Augmenter((0,) * 3, (1,) * 3, flip_probability=0, erasing="published")(clips, generator())
    frames = (result * 255).round().flatten(0, 1)  # (N, 3, H, W)
    changed = frames[(frames != 255).flatten(1).any(dim=1)]
    assert 0.4 < len(changed) / len(frames) < 0.6
    areas = []
    for frame in changed:
        mask = (frame != 255).any(dim=0)
        top, left = (int(mask.any(dim=axis).nonzero().min()) for axis in (1, 0))
        assert (mask[top : 2 * top, left : 2 * left]).all()  # height and width are those of the corner
        assert mask.sum() == mask[top : 2 * top, left : 2 * left].numel()
        assert len(frame[:, mask].unique(dim=1).T) == 1
        areas.append(top * left / (H * W))
    assert 0.019 < min(areas) < 0.03
    assert 0.17 < max(areas) < 0.2
    assert len({int(frame[0].min()) for frame in changed}) > 80  # colours are drawn


@pytest.mark.parametrize("erasing", ["mean", "published"])
@pytest.mark.parametrize("size", [(1, 1), (4, 64), (64, 4)])
def test_extreme_frames_are_survived(size, erasing):
    clips = random_clips(8, 2, 3, *size)
    transform = Augmenter(MEAN, STD, erase_probability=1, erasing=erasing, **ALL_ON)
    assert torch.isfinite(transform(clips, generator())).all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["90a0298a8cd14cad", "8d190ec79778fc80", "333682b743783065", "ec07760faa909345"]),
        (ALL_ON, ["70b15198d42e46a4", "4ed809140d4ef264", "24a48f763ba44eee", "ed249ffa7e24a6f2"]),
        (
            {**ALL_ON, "consistent": True},
            ["9a7f9427b87405f2", "b22f499949b7285c", "ed38427a15c26a8e", "0e964f7876a6736b"],
        ),
    ],
)
def test_augmentation_has_not_changed(options, expected):
    # Hashed when each kind of augmentation was made: resumed runs continue their curve.
    clips = (torch.arange(4 * 3 * 3 * 32 * 16) * 7919 % 256).to(torch.uint8).view(4, 3, 3, 32, 16)
    source, transform = generator(17), Augmenter(MEAN, STD, **options)
    results = [*(transform(clips, source) for _ in range(3)), source.get_state()]
    assert [hashlib.sha256(tensor.numpy().tobytes()).hexdigest()[:16] for tensor in results] == expected


@pytest.mark.parametrize("consistent", [False, True])
@pytest.mark.parametrize("options", [{}, ALL_ON])
def test_slices_are_augmented_as_in_the_whole_batch(consistent, options):
    clips = random_clips(6, 3, 3, 24, 16)
    before, source = clips.clone(), generator(3)
    whole = Augmenter(MEAN, STD, consistent=consistent, **options)(clips, source)
    for rank, part in enumerate(clips.chunk(3)):
        own = generator(3)
        transform = Augmenter(MEAN, STD, consistent=consistent, rank=rank, world_size=3, **options)
        assert torch.equal(transform(part, own), whole.chunk(3)[rank])
        assert torch.equal(own.get_state(), source.get_state())  # the next batch is drawn alike, too
    assert torch.equal(clips, before)


@pytest.mark.parametrize("consistent", [False, True])
@pytest.mark.parametrize("options", [{}, {"padding": 4}, {"color_jitter": 0.4}])
def test_consistent_clips_are_treated_alike_frame_by_frame(consistent, options):
    clips = random_clips(30, 1, 3, 24, 16).expand(-1, 5, -1, -1, -1).contiguous()  # five times the same frame
    erase_probability = 0 if options else 0.5
    transform = Augmenter(MEAN, STD, 0.5, erase_probability, consistent=consistent, **options)
    result = transform(clips, generator())
    same = (result == result[:, :1]).flatten(1).all(dim=1)
    assert same.all() if consistent else (same.float().mean() < 0.5)
    assert len({clip.numpy().tobytes() for clip in (result - Normalizer(MEAN, STD)(clips))}) > 10  # clips differ


def test_draws_can_be_applied_twice():
    clips, transform = random_clips(4, 3, 3, 24, 16), Augmenter(MEAN, STD, erase_probability=1, **ALL_ON)
    draws = transform.draw(clips.shape, generator())
    assert torch.equal(transform.apply(clips, *draws), transform.apply(clips, *draws))


def test_jitter_is_torchvisions():
    x = torch.rand(6, 1, 3, 12, 8)
    factors = torch.linspace(0.2, 1.8, 6)[torch.stack([torch.randperm(6) for _ in range(3)])]
    result = jitter_colors_(x.clone(), *factors)
    for frame, jittered, (brightness, contrast, saturation) in zip(x[:, 0], result[:, 0], factors.T, strict=True):
        expected = TF.adjust_brightness(frame, brightness)
        expected = TF.adjust_contrast(expected, contrast)
        expected = TF.adjust_saturation(expected, saturation)
        torch.testing.assert_close(jittered, expected, rtol=0, atol=1e-3)  # its weight of red is 0.2989


def test_hand_worked_shifts():
    x = torch.arange(1.0, 7).view(1, 1, 1, 2, 3).expand(3, 1, 1, 2, 3)
    shifted = shift_frames(x, 1, torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0]))
    assert shifted[:, 0, 0].tolist() == [
        [[0, 0, 0], [2, 3, 0]],
        [[1, 2, 3], [4, 5, 6]],
        [[0, 4, 5], [0, 0, 0]],
    ]


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{}, ALL_ON, {**ALL_ON, "consistent": True}])
def test_devices_agree(options):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    clips = random_clips(4, 3, 3, 32, 16)
    transform = Augmenter(MEAN, STD, **options)
    on_cpu, on_gpu = transform(clips, generator()), transform(clips.cuda(), generator())
    torch.testing.assert_close(on_gpu.cpu(), on_cpu)


# ---- warping: hues, views and resolutions of whole clips


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


@pytest.mark.parametrize("options", [{"hue_jitter": 0.3}, {"change_views": True}, {"low_resolution": 0.5}])
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
