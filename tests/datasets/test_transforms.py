import math

import pytest
import torch

from datasets.transforms import TestTransform, TrainTransform, flip_clips

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
H, W = 288, 144


def random_clips(*shape):
    return torch.randint(256, shape, dtype=torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def erased():
    """Which pixels of 400 frames are erased: white frames cannot become 0 by normalising."""
    clips = torch.full((50, 8, 3, H, W), 255, dtype=torch.uint8)
    transform = TrainTransform((0.5,) * 3, (0.5,) * 3, flip_probability=0)
    result = transform(clips, generator())
    mask = result == 0
    assert (mask.all(dim=2) == mask.any(dim=2)).all()  # all channels or none
    assert (result[~mask] == 1).all()
    return mask[:, :, 0].flatten(0, 1)  # (N, H, W)


def test_normalisation():
    clips = random_clips(2, 3, 3, 4, 5)
    result = TestTransform(MEAN, STD)(clips)
    assert result.dtype == torch.float32
    expected = (clips[1, 2, :, 3, 4].double() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(result[1, 2, :, 3, 4].double(), expected, rtol=1e-6, atol=1e-6)


def test_train_transform_without_chance_is_the_test_transform():
    clips = random_clips(2, 3, 3, 8, 6)
    transform = TrainTransform(MEAN, STD, flip_probability=0, erase_probability=0)
    assert torch.equal(transform(clips, generator()), TestTransform(MEAN, STD)(clips))


def test_clips_are_flipped_whole_half_of_the_time():
    clips = random_clips(400, 3, 3, 4, 5)
    result = TrainTransform(MEAN, STD, erase_probability=0)(clips, generator())
    plain = TestTransform(MEAN, STD)(clips)
    is_plain = (result == plain).flatten(1).all(dim=1)
    is_flipped = (result == plain.flip(-1)).flatten(1).all(dim=1)
    assert (is_plain ^ is_flipped).all()
    assert 0.4 < is_flipped.float().mean() < 0.6


def test_half_of_the_frames_are_erased(erased):
    share = erased.flatten(1).any(dim=1).float().mean()
    assert 0.4 < share < 0.6
    clips = erased.view(50, 8, -1).any(dim=2).sum(dim=1)
    assert (clips % 8 != 0).any()  # frame by frame, not clip by clip


def test_erased_regions_are_rectangles_in_range(erased):
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


def test_erased_regions_reach_every_pixel(erased):
    covered = erased.float().mean(dim=0)
    assert covered.max() < 0.2
    assert (covered > 0).float().mean() > 0.95


@pytest.mark.parametrize("size", [(1, 1), (4, 64), (64, 4)])
def test_extreme_frames_are_survived(size):
    clips = random_clips(8, 2, 3, *size)
    transform = TrainTransform(MEAN, STD, erase_probability=1)
    assert torch.isfinite(transform(clips, generator())).all()


def test_same_generator_state_same_output():
    clips = random_clips(4, 3, 3, 32, 16)
    transform = TrainTransform(MEAN, STD)
    assert torch.equal(transform(clips, generator(5)), transform(clips, generator(5)))
    assert not torch.equal(transform(clips, generator(5)), transform(clips, generator(6)))


def test_input_is_left_alone():
    clips = random_clips(4, 3, 3, 32, 16)
    before = clips.clone()
    TrainTransform(MEAN, STD)(clips, generator())
    assert torch.equal(clips, before)


def test_flip_clips():
    clips = random_clips(2, 3, 3, 4, 5)
    assert torch.equal(flip_clips(clips)[..., 0], clips[..., 4])
    assert torch.equal(flip_clips(flip_clips(clips)), clips)


@pytest.mark.gpu
def test_devices_agree():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    clips = random_clips(4, 3, 3, 32, 16)
    transform = TrainTransform(MEAN, STD)
    on_cpu, on_gpu = transform(clips, generator()), transform(clips.cuda(), generator())
    torch.testing.assert_close(on_gpu.cpu(), on_cpu)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (MEAN, (1.0,), r"INPUT\.PIXEL_MEAN and INPUT\.PIXEL_STD need one value a channel"),
        ((), (), r"INPUT\.PIXEL_MEAN"),
        ((123.7, 116.3, 103.5), STD, r"INPUT\.PIXEL_MEAN must be within 0\.\.1, got \(123\.7"),
        (MEAN, (0.2, 0.0, 0.2), r"INPUT\.PIXEL_STD must be above 0"),
        (MEAN, (58.4, 57.1, 57.4), r"INPUT\.PIXEL_STD must be above 0 and at most 1"),
        ((math.nan,) * 3, STD, r"INPUT\.PIXEL_MEAN"),
    ],
)
def test_bad_normalisation(mean, std, message):
    with pytest.raises(ValueError, match=message):
        TestTransform(mean, std)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flip_probability", 1.5),
        ("erase_probability", -0.1),
        ("erase_area", (0.2, 0.1)),
        ("erase_area", (0.0, 0.1)),
        ("erase_aspect", (3.0, 0.3)),
    ],
)
def test_bad_augmentation(name, value):
    with pytest.raises(ValueError, match=name):
        TrainTransform(MEAN, STD, **{name: value})


def test_bad_clips():
    transform = TestTransform(MEAN, STD)
    with pytest.raises(TypeError, match=r"must be uint8, got torch\.float32"):
        transform(torch.zeros(1, 1, 3, 4, 4))
    for shape in ((1, 3, 4, 4), (1, 1, 1, 4, 4)):
        with pytest.raises(ValueError, match=r"\(B, T, C, H, W\) with C = 3"):
            transform(torch.zeros(shape, dtype=torch.uint8))
