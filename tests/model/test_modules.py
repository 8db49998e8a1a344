"""The network against the plain one and its definitions: pools, necks, memory, descriptors, gradients, QuickGELU."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import QuickGELU
from torch import nn

from benchmarks.plain_model import PlainModel
from loss import make_loss
from model import make_model
from model.layers import QuickGELUMlp, make_neck, make_pool, quick_gelu_mlp, speed_up_mlp

CLIPS = (4, 4, 3, 64, 32)


@pytest.fixture
def model(tiny_cfg):
    return make_model(tiny_cfg("MODEL.PROMPT_DROPOUT", 0), num_classes=3, num_cameras=2)


@pytest.mark.parametrize("kind", ["attention", "mean"])
def test_pools_do_not_care_about_order_and_keep_other_axes(kind):
    pool, x = make_pool(kind, 8), torch.randn(2, 5, 3, 8)
    pooled = pool(x)
    assert pooled.shape == (2, 3, 8)
    torch.testing.assert_close(pool(x[:, torch.randperm(5)]), pooled)
    torch.testing.assert_close(pool(x[:, :, 1]), pooled[:, 1])


def test_instance_neck_standardises_rows():
    x = 7 + 3 * torch.randn(4, 16)
    expected = (x - x.mean(dim=1, keepdim=True)) / (x.var(dim=1, correction=0, keepdim=True) + 1e-5).sqrt()
    neck = make_neck("instance", 16)
    torch.testing.assert_close(neck(x), expected)
    torch.testing.assert_close(neck(x[:1]), expected[:1])  # no other row matters
    assert not list(neck.parameters())


def test_batch_neck_standardises_columns_with_a_frozen_bias():
    neck, x = make_neck("batch", 6), 7 + 3 * torch.randn(8, 6)
    expected = (x - x.mean(dim=0)) / (x.var(dim=0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(neck(x), expected)
    assert [(p.requires_grad, p.any().item()) for p in (neck.weight, neck.bias)] == [(True, True), (False, False)]


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


def test_memory_and_prompt_are_added_without_a_weight(tiny_cfg):
    model = make_model(tiny_cfg("MODEL.MEMORY_WEIGHTING", False, "MODEL.PROMPT_DROPOUT", 0), 3, 2)
    f_proj, projected, memory = torch.randn(2, 64), torch.randn(2, 4, 9, 64), torch.randn(3, 64)
    refined = memory + model.memory_prompt(memory, model.pool_video(projected))  # (B, K, P)
    expected = (f_proj.unsqueeze(1) * refined).sum(dim=2)
    torch.testing.assert_close(model.compare_with_memory(f_proj, projected, memory), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("extras", [(), ("MODEL.POOLING", "mean", "MODEL.FEATURE_NECK", "batch")])
def test_the_gradient_reaches_every_parameter(extras, tiny_cfg):
    cfg = tiny_cfg(*extras)
    model = make_model(cfg, 3, 2)
    with torch.no_grad():  # larger classifiers than at the start, so that no gradient underflows
        for classifier in (model.classifier_image, model.classifier_projected, model.classifier_temporal):
            classifier.weight.normal_()
    output = model(torch.randn(CLIPS), torch.tensor([0, 1, 0, 1]), memory=torch.randn(3, 64))
    make_loss(cfg, 3)(output, torch.tensor([0, 0, 1, 1]))["total"].backward()
    untouched = {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    }
    # A softmax does not see a bias common to all its scores; its gradient is zero up to rounding.
    assert untouched <= {name for name, _ in model.named_parameters() if name.endswith("score.2.bias")}


def test_descriptor_is_made_of_the_training_features(model):
    clips, camids = torch.randn(CLIPS), torch.tensor([0, 1, -1, 1])
    features = model(clips, camids, memory=torch.randn(3, 64)).features
    torch.testing.assert_close(model.eval()(clips, camids), torch.cat(features, dim=1))
    model.descriptor = "after"
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


def test_a_block_keeps_its_names_and_values():
    vit = timm.create_model("vit_xsmall_patch16_clip_224", embed_dim=32, depth=1, num_heads=2, act_layer=QuickGELU)
    block = copy.deepcopy(vit.blocks[0])
    speed_up_mlp(block)
    assert isinstance(block.mlp, QuickGELUMlp)
    assert list(block.state_dict()) == list(vit.blocks[0].state_dict())
    x = torch.randn(2, 5, 32)
    torch.testing.assert_close(block(x), vit.blocks[0](x), atol=1e-6, rtol=1e-6)
