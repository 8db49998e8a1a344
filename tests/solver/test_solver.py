"""Parameter groups, schedule and gradient centralisation, by hand."""

import pytest
import torch
from torch import nn

from model import make_model
from solver import centralize_gradients, make_optimizer, make_schedule
from solver.schedule import warmup_multistep_factor


@pytest.fixture
def cfg(tiny_cfg):
    return tiny_cfg(
        *("SOLVER.STAGE2.BASE_LR", 1.0, "SOLVER.STAGE2.NEW_MODULE_LR_FACTOR", 7.0),
        *("SOLVER.STAGE2.WEIGHT_DECAY", 0.1, "SOLVER.STAGE2.WEIGHT_DECAY_BIAS", 0.2, "MODEL.FEATURE_NECK", "batch"),
    )


def settings_by_name(model, optimizer):
    """(learning rate, weight decay) of each parameter; a list, in case one stands in several groups."""
    settings = {name: [] for name, _ in model.named_parameters()}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            settings[names[id(parameter)]].append((group["lr"], group["weight_decay"]))
    return settings


def test_rates_of_every_kind_of_parameter(cfg):
    model = make_model(cfg, 3, 2)
    settings = settings_by_name(model, make_optimizer(cfg, model))
    expected = {
        "encoder.patch_embed.weight": (1, 0.1),
        "encoder.class_token": (1, 0.1),
        "encoder.position_embedding": (1, 0.1),
        "encoder.projection": (1, 0.1),
        "encoder.blocks.0.attn.qkv.weight": (1, 0.1),
        "encoder.blocks.0.attn.qkv.bias": (2, 0.2),
        "encoder.norm.bias": (2, 0.2),
        "encoder.camera_embedding": (7, 0.1),
        "encoder.frame_embedding": (7, 0.1),
        "memory_weight": (7, 0.1),
        "temporal_memory.message.weight": (7, 0.1),
        "temporal_memory.message.bias": (14, 0.2),
        "memory_prompt.layers.0.mlp_norm.weight": (7, 0.1),
        "pool_image.score.0.bias": (14, 0.2),
        "neck_image.weight": (7, 0.1),
        "classifier_image.weight": (7, 0.1),
        "classifier_temporal.weight": (70, 0.1),
    }
    assert {name: settings[name] for name in expected} == {name: [pytest.approx(v)] for name, v in expected.items()}


def test_every_trainable_parameter_is_in_one_group_and_frozen_ones_in_none(cfg):
    model = make_model(cfg, 3, 2)
    model.encoder.patch_embed.weight.requires_grad_(False)
    settings = settings_by_name(model, make_optimizer(cfg, model))
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        "encoder.patch_embed.weight",
        *(f"neck_{kind}.bias" for kind in ("image", "projected", "temporal", "frame")),
    }
    assert {name for name, groups in settings.items() if not groups} == frozen
    assert all(len(groups) == 1 for name, groups in settings.items() if name not in frozen)


def test_published_factors_are_the_defaults(tiny_cfg):
    cfg = tiny_cfg("SOLVER.STAGE2.BASE_LR", 5e-6)
    model = make_model(cfg, 3, 2)
    rates = {group["lr"] for group in make_optimizer(cfg, model).param_groups}
    assert sorted(rates) == pytest.approx([5e-6, 1e-5, 5e-5])


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [(0, 0.1), (5, 0.55), (9, 0.91), (10, 1), (29, 1), (30, 0.1), (49, 0.1), (50, 0.01), (69, 0.01), (70, 0.001)],
)
def test_published_schedule_by_hand(epoch, factor):
    assert warmup_multistep_factor(epoch, 10, 0.1, (30, 50, 70), 0.1) == pytest.approx(factor)


def test_steps_within_the_warmup_multiply():
    assert warmup_multistep_factor(5, 10, 0.1, (3,), 0.5) == pytest.approx(0.275)


def test_no_warmup():
    assert warmup_multistep_factor(0, 0, 0.1, (), 0.1) == 1


def test_schedule_scales_every_group_by_epoch(tiny_cfg):
    cfg = tiny_cfg("SOLVER.STAGE2.WARMUP_ITERS", 10, "SOLVER.STAGE2.BASE_LR", 1.0)
    model = make_model(cfg, 3, 2)
    optimizer = make_optimizer(cfg, model)
    base = [group["lr"] for group in optimizer.param_groups]
    schedule = make_schedule(cfg, optimizer)
    factors = []
    for _ in range(31):
        rates = [group["lr"] / rate for group, rate in zip(optimizer.param_groups, base, strict=True)]
        assert rates == pytest.approx([rates[0]] * len(rates))
        factors.append(rates[0])
        optimizer.step()
        schedule.step()
    assert [factors[epoch] for epoch in (0, 5, 10, 29, 30)] == pytest.approx([0.1, 0.55, 1, 1, 0.1])


def test_centralisation_by_hand():
    matrix, vector = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(3))
    matrix.grad = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    vector.grad = torch.tensor([1.0, 2.0, 3.0])
    centralize_gradients([matrix, vector, nn.Parameter(torch.zeros(2, 2))])
    assert matrix.grad.tolist() == [[-2.0, -1.0, 3.0], [-1.0, -1.0, 2.0]]
    assert vector.grad.tolist() == [1.0, 2.0, 3.0]


def test_centralised_gradients_sum_to_zero_per_output():
    kernel = nn.Parameter(torch.zeros(4, 3, 2, 2))
    kernel.grad = torch.randn(4, 3, 2, 2) + 5
    centralize_gradients([kernel])
    torch.testing.assert_close(kernel.grad.sum(dim=(1, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    assert kernel.grad.abs().sum() > 1


def test_embeddings_are_not_centralised_to_nothing(tiny_cfg):
    """The camera embedding's gradient has a mean like any other: what is left must still train it."""
    cfg = tiny_cfg()
    model = make_model(cfg, 3, 2)
    model(
        torch.randn(4, 4, 3, 64, 32), torch.tensor([0, 1, 0, 1]), memory=torch.randn(3, 64)
    ).memory_logits.sum().backward()
    centralize_gradients(model.parameters())
    assert model.encoder.camera_embedding.grad.abs().max() > 0
