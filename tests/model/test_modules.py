"""The network against the plain one and its definitions: descriptors, gradients, QuickGELU."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.plain_model import PlainModel
from loss import make_loss
from model import make_model
from model.layers import quick_gelu_mlp

CLIPS = (4, 4, 3, 64, 32)


@pytest.fixture
def model(tiny_cfg):
    return make_model(tiny_cfg("MODEL.PROMPT_DROPOUT", 0), num_classes=3, num_cameras=2)


@pytest.mark.parametrize("stride", ["(16, 16)", "(8, 12)"])
def test_descriptors_loss_and_gradients_equal_those_of_the_plain_network(stride, tiny_cfg):
    quick = ("MODEL.NAME", "vit_base_patch16_clip_quickgelu_224", "MODEL.VIT.PROJ_DIM", 128)
    cfg = tiny_cfg("MODEL.PROMPT_DROPOUT", 0, "MODEL.STRIDE_SIZE", stride, *quick)
    model = make_model(cfg, num_classes=3, num_cameras=2)
    with torch.no_grad():  # nothing stays at zero, where an error could hide
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    clips, camids, labels, memory = torch.randn(CLIPS), torch.arange(4) % 2, torch.arange(4) // 2, torch.randn(3, 128)
    plain = PlainModel(model)
    losses = (
        plain.compute_loss(clips, camids, labels, memory),
        make_loss(cfg, 3)(model(clips, camids, memory), labels)["total"],
    )
    torch.testing.assert_close(*losses)
    for expected, actual in zip(*(torch.autograd.grad(loss, list(model.parameters())) for loss in losses), strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(model.eval()(clips, camids), plain.describe(clips, camids), atol=1e-4, rtol=1e-4)
    prompts = model.memory_prompt(memory, torch.randn(2, 9, 128))
    assert not torch.allclose(prompts[0], prompts[1], atol=1e-3)  # they do depend on the video


def test_descriptor_is_made_of_the_training_features(model):
    clips, camids = torch.randn(CLIPS), torch.tensor([0, 1, -1, 1])
    features = model(clips, camids, memory=torch.randn(3, 64)).features
    torch.testing.assert_close(model.eval()(clips, camids), torch.cat(features, dim=1))
    assert model.feature_widths == tuple(feature.shape[1] for feature in features)
    assert model.descriptor_width == sum(model.feature_widths)
    model.descriptor = "after"
    assert model.descriptor_width == sum(feature.shape[1] for feature in features[:2])
    expected = torch.cat([F.layer_norm(feature, (64,), eps=1e-5) for feature in features[:2]], dim=1)
    torch.testing.assert_close(model(clips, camids), expected)


def test_memory_features_see_neither_camera_nor_frame_number(model):
    model.eval()
    clips = torch.randn(CLIPS)
    with torch.no_grad():
        model.encoder.camera_embedding.normal_()
        before = model.encode_memory(clips)
        model.encoder.frame_embedding.normal_()
        assert torch.equal(model.encode_memory(clips), before)
        tokens = model.encoder.encode_frames(clips.flatten(0, 1))
        expected = model.encoder.project(tokens[:, 0]).reshape(4, 4, 64).mean(dim=1)
        torch.testing.assert_close(before, expected)


# ---- QuickGELU in one pass; the plain network checks its values and gradients


@pytest.fixture
def layers():
    return nn.Linear(16, 64), nn.Linear(64, 16)


def plain(x, first, second):
    hidden = first(x)
    return second(hidden * torch.sigmoid(1.702 * hidden))


def test_bf16_is_as_exact_as_the_plain_form(layers):
    x = torch.randn(512, 16)
    with torch.no_grad():
        exact = plain(x, *layers)
        with torch.autocast("cpu", torch.bfloat16):
            errors = [(function(x, *layers) - exact).square().mean() for function in (plain, quick_gelu_mlp)]
    assert errors[1] <= 1.1 * errors[0]


def test_training_keeps_one_hidden_value_less_than_the_plain_form(layers):
    """The plain form keeps x and sigmoid(1.702 x); ours keeps one of them. Both keep what the second layer reads."""

    def count_kept(function):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
            output = function(torch.randn(100, 16), *layers)
        assert output.requires_grad
        return len({tensor.data_ptr() for tensor in kept if tensor.shape == (100, 64)})

    assert [count_kept(function) for function in (plain, quick_gelu_mlp)] == [3, 2]
