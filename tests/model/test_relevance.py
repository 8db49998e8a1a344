"""Relevance of patches: the rule by hand, and a model that is left as it was found."""

import pytest
import torch

from model import make_model
from model.relevance import accumulate_relevance, trace_relevance


@pytest.fixture
def model(tiny_cfg):
    return make_model(tiny_cfg(), num_classes=3, num_cameras=2).eval()


def similarity(descriptors):
    return torch.cosine_similarity(*descriptors, dim=0)


def test_two_layers_by_hand():
    attention = torch.tensor([[[[0.5, 0.5], [0.25, 0.75]]]])
    gradient = torch.tensor([[[[2.0, -1.0], [4.0, 0.0]]]])
    # Each layer's A is [[1, 0], [1, 0]]; (I + A)(I + A) = [[4, 0], [3, 1]].
    result = accumulate_relevance([attention, attention], [gradient, gradient])
    assert torch.equal(result, torch.tensor([[[4.0, 0.0], [3.0, 1.0]]]))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_score_is_the_model_s_and_the_model_stays_as_it_was(model, checkpointing):
    model.set_gradient_checkpointing(checkpointing)
    model.encoder.freeze(1)
    trained = [parameter.requires_grad for parameter in model.parameters()]
    clips = torch.randn(2, 4, 3, 64, 32)
    with torch.no_grad():
        before = model(clips)
    score, relevance = trace_relevance(model, clips, None, similarity, num_layers=2)
    torch.testing.assert_close(score, similarity(before))
    assert relevance.maps.shape == (2, 4, 4, 2)
    assert relevance.maps.min() >= 0
    assert relevance.maps.max() > 0
    torch.testing.assert_close(relevance.frame_weights.sum(dim=1), torch.ones(2))
    assert [parameter.requires_grad for parameter in model.parameters()] == trained
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(not module._forward_hooks for module in model.modules())
    with torch.no_grad():
        assert torch.equal(model(clips), before)


def test_mean_pooling_weighs_all_frames_alike(tiny_cfg):
    model = make_model(tiny_cfg("MODEL.POOLING", "mean"), num_classes=3, num_cameras=2).eval()
    _, relevance = trace_relevance(model, torch.randn(2, 4, 3, 64, 32), None, similarity, num_layers=1)
    torch.testing.assert_close(relevance.frame_weights, torch.full((2, 4), 0.25))
