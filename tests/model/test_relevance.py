"""Relevance of patches: the rule by hand, and a model that is left as it was found."""

import pytest
import torch

from model import make_model
from model.relevance import accumulate_relevance, trace_relevance


def test_two_layers_by_hand():
    attention = torch.tensor([[[[0.5, 0.5], [0.25, 0.75]]]])
    gradient = torch.tensor([[[[2.0, -1.0], [4.0, 0.0]]]])
    # Each layer's A is [[1, 0], [1, 0]]; (I + A)(I + A) = [[4, 0], [3, 1]].
    result = accumulate_relevance([attention, attention], [gradient, gradient])
    assert torch.equal(result, torch.tensor([[[4.0, 0.0], [3.0, 1.0]]]))


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_the_score_is_the_model_s_and_the_model_stays_as_it_was(pooling, tiny_cfg):
    cfg = tiny_cfg("MODEL.POOLING", pooling, "MODEL.GRADIENT_CHECKPOINTING", pooling == "attention")
    model = make_model(cfg, num_classes=3, num_cameras=2).eval()
    clips = torch.randn(2, 4, 3, 64, 32)
    before = model(clips).detach()
    score, maps, weights = trace_relevance(model, clips, None, lambda x: torch.cosine_similarity(*x, dim=0), 2)
    torch.testing.assert_close(score, torch.cosine_similarity(*before, dim=0))
    assert maps.shape == (2, 4, 4, 2)
    assert maps.min() >= 0
    assert maps.max() > 0
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    assert pooling == "attention" or (weights == 0.25).all()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(not module._forward_hooks for module in model.modules())
    assert torch.equal(model(clips), before)
