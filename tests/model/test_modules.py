"""Pools, necks, temporal memory diffusion, sequence-specific prompt, memory weighting, and the whole network."""

import math

import pytest
import torch
import torch.nn.functional as F

from benchmarks.plain_model import PlainModel
from loss import make_loss
from model import make_model
from model.layers import AttentionPool, make_neck, make_pool
from model.temporal_memory import TemporalMemoryDiffusion

CLIPS = (4, 4, 3, 64, 32)


@pytest.fixture
def model(tiny_cfg):
    return make_model(tiny_cfg("MODEL.PROMPT_DROPOUT", 0), num_classes=3, num_cameras=2)


def test_attention_pool_by_hand():
    pool = AttentionPool(2)
    with torch.no_grad():
        pool.score[0].weight.copy_(torch.tensor([[1.0, 0.0]]))
        pool.score[0].bias.zero_()
        pool.score[2].weight.fill_(2.0)
        pool.score[2].bias.fill_(5.0)
    x = torch.tensor([[[0.0, 10.0], [1.0, 20.0]]])
    scores = 2 * torch.tensor([0.0, 1.0]).tanh()
    first, second = (scores.exp() / scores.exp().sum()).tolist()
    expected = torch.tensor([[second, 10 * first + 20 * second]])
    torch.testing.assert_close(pool(x), expected)


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


def test_messages_carry_one_frame_to_the_others_of_its_clip_only():
    T = 4
    module, tokens = TemporalMemoryDiffusion(16, num_heads=2).eval(), torch.randn(2 * T, 5, 16)
    changed = tokens.clone()
    changed[2] += torch.randn(5, 16)  # third frame of the first clip
    change = (module(changed, T) - module(tokens, T)).abs().amax(dim=(1, 2))
    assert (change[:T] > 1e-5).all()
    assert not change[T:].any()


def test_the_temporal_branch_sends_no_gradient_to_the_encoder(model):
    output = model(torch.randn(CLIPS), torch.tensor([0, 1, 0, 1]), memory=torch.randn(3, 64))
    (output.features[2].square().sum() + output.frame_logits.square().sum()).backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert model.temporal_memory.message.weight.grad.any()


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


@pytest.mark.parametrize("weighted", [True, False])
def test_memory_and_prompt_are_blended_or_added(weighted, tiny_cfg):
    model = make_model(tiny_cfg("MODEL.MEMORY_WEIGHTING", weighted, "MODEL.PROMPT_DROPOUT", 0), 3, 2)
    f_proj, projected, memory = torch.randn(2, 64), torch.randn(2, 4, 9, 64), torch.randn(3, 64)
    shares = (1.0, 1.0)
    if weighted:
        assert model.memory_weight.item() == 0.5  # as published
        model.memory_weight.data.fill_(1.5)
        share = 1 / (1 + math.exp(-1.5))
        shares = share, 1 - share
    refined = shares[0] * memory + shares[1] * model.memory_prompt(memory, model.pool_video(projected))  # (B, K, P)
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
