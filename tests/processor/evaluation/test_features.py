"""Clips to keyed features."""

import pytest
import torch
from torch import nn

from datasets.clips.clip_dataset import NO_FRAME
from datasets.clips.transforms import Normalizer
from processor.evaluation.features import FeatureExtractor, evaluation_mode
from utils.runtime import make_runtime

PLAIN = Normalizer((0.0,), (1.0,))  # pixels / 255
RUNTIME = make_runtime("cpu", "fp32")


class LeftHalf(nn.Module):
    """Describe a clip by the mean of its left half, its right half and its camera; fails in training mode."""

    def forward(self, clips, camids):
        assert not self.training
        half = clips.shape[-1] // 2
        left, right = (part.mean(dim=(1, 2, 3, 4)) for part in (clips[..., :half], clips[..., half:]))
        return torch.stack([left, right, camids.float()], dim=1)


def batch(tracklets, pixels, camids=None):
    """Clips (B, 1, 1, 1, 2) of two pixels each."""
    return {
        "clips": torch.tensor(pixels, dtype=torch.uint8).reshape(-1, 1, 1, 1, 2),
        "tracklet": torch.tensor(tracklets),
        "camid": torch.tensor(camids or [-1] * len(tracklets)),
        "unreadable": torch.full((len(tracklets), 1), -1),
    }


def extract(loader, tracklets, **options):
    options = {"flip": False, "normalize": False, **options}
    return FeatureExtractor(LeftHalf(), PLAIN, RUNTIME, **options).extract(loader, tracklets, "features")


def test_the_feature_is_the_mean_of_plain_and_flipped(make_tracklet):
    loader, tracklets = [batch([0, 1], [[51, 255], [0, 102]], [3, 5])], [make_tracklet(1), make_tracklet(2)]
    plain = extract(loader, tracklets).features
    torch.testing.assert_close(plain, torch.tensor([[0.2, 1.0, 3.0], [0.0, 0.4, 5.0]]))
    both = extract(loader, tracklets, flip=True).features
    torch.testing.assert_close(both, torch.tensor([[0.6, 0.6, 3.0], [0.2, 0.2, 5.0]]))


def test_rows_are_joined_by_index_although_the_loader_shuffles(make_tracklet):
    tracklets = [make_tracklet(pid, camid=pid % 2, name=f"t{pid}") for pid in (7, 8, 9)]
    pixels = [[10, 20], [30, 40], [50, 60]]
    in_order = extract([batch([0, 1, 2], pixels)], tracklets)
    shuffled = extract([batch([2, 0], [pixels[2], pixels[0]]), batch([1], [pixels[1]])], tracklets)
    torch.testing.assert_close(shuffled.features, in_order.features)
    assert [each.key for each in shuffled.tracklets] == ["7/t7", "8/t8", "9/t9"]
    assert (shuffled.pids, shuffled.camids) == ([7, 8, 9], [1, 0, 1])


def test_a_tracklet_of_several_clips_gets_their_mean(make_tracklet):
    loader = [batch([0, 1, 0], [[0, 0], [255, 255], [51, 102]]), batch([0], [[102, 153]])]
    features = extract(loader, [make_tracklet(1), make_tracklet(2)]).features
    torch.testing.assert_close(features[:, :2], torch.tensor([[0.2, 1 / 3], [1.0, 1.0]]))


def test_unreadable_frames_are_counted_whether_neighbours_or_nothing_took_their_place(make_tracklet):
    tracklets = [make_tracklet(1), make_tracklet(2)]
    whole = [batch([0, 1], [[0, 0], [0, 0]]) for _ in range(2)]
    assert extract(whole, tracklets).num_unreadable == 0
    whole[0]["unreadable"][0] = 0
    whole[1]["unreadable"][0] = NO_FRAME
    assert extract(whole, tracklets).num_unreadable == 2
    whole[1]["unreadable"][:] = NO_FRAME
    whole[0]["unreadable"][:] = NO_FRAME
    whole[0]["unreadable"][1] = -1
    features = extract(whole, tracklets)
    assert [each.key for each in features.tracklets] == ["2/a"]
    assert (features.num_left_out, features.num_unreadable) == (1, 3)


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_restored_even_after_an_error(training, make_tracklet):
    model = LeftHalf().train(training)
    FeatureExtractor(model, PLAIN, RUNTIME).extract([batch([0], [[1, 2]])], [make_tracklet(1)], "features")
    assert model.training == training
    with pytest.raises(AttributeError), evaluation_mode(model):
        model(None, None)  # in training mode this would be an AssertionError
    assert model.training == training
