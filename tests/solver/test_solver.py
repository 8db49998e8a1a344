"""Parameter groups, schedule and gradient centralisation, by hand."""

import re

import pytest
import torch
from torch import nn
from torch.profiler import profile

from configs import get_cfg
from model import make_model
from solver import centralize_gradients, format_groups, make_optimizer
from solver.schedule import rate_factor


def settings_by_name(model, optimizer):
    """(learning rate, weight decay) of each parameter; a list, in case one stands in several groups."""
    settings = {name: [] for name, _ in model.named_parameters()}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            settings[names[id(parameter)]].append((group["lr"], group["weight_decay"]))
    return settings


@pytest.mark.parametrize("key", ["MODEL.FREEZE_BLOCKS", "MODEL.FREEZE_EMBEDDINGS"])
def test_every_trainable_parameter_is_in_one_group_and_frozen_ones_in_none(tiny_cfg, key):
    cfg = tiny_cfg(key, 1 if key.endswith("BLOCKS") else True, "MODEL.FEATURE_NECK", "batch")
    model = make_model(cfg, 3, 2)
    settings = settings_by_name(model, make_optimizer(cfg, model))
    below = ["class_token", "position_embedding", "patch_embed.weight", "norm_pre."]
    below += ["blocks.0."] * key.endswith("BLOCKS")
    frozen = {name for name in settings if name.startswith(tuple(f"encoder.{part}" for part in below))}
    frozen |= {f"neck_{kind}.bias" for kind in ("image", "projected", "temporal", "frame")}
    assert frozen == {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {name: len(groups) for name, groups in settings.items()} == {name: name not in frozen for name in settings}


@pytest.mark.parametrize(
    ("options", "factors"),
    [
        # as published
        ("", {0: 0.1, 5: 0.55, 9: 0.91, 10: 1, 29: 1, 30: 0.1, 49: 0.1, 50: 0.01, 69: 0.01, 70: 0.001}),
        ("STEPS (3,) GAMMA 0.5", {5: 0.275}),  # a step within the warm-up
        ("WARMUP_ITERS 0", {0: 1}),
        # a fifth of the way in epoch 24: cos 36 degrees
        (
            "SCHEDULE cosine MAX_EPOCHS 81",
            {0: 0.1, 5: 0.55, 10: 1, 24: 0.01 + 0.99 * (1 + 0.8090169943749475) / 2, 45: 0.505, 80: 0.01, 99: 0.01},
        ),
        ("SCHEDULE linear MAX_EPOCHS 81", {5: 0.55, 10: 1, 24: 0.802, 45: 0.505, 80: 0.01}),
    ],
)
def test_schedules_by_hand(options, factors):
    words = [f"SOLVER.STAGE2.{word}" if word[0].isupper() else word for word in options.split(" ")] if options else []
    stage = get_cfg(opts=words).SOLVER.STAGE2
    assert {epoch: rate_factor(stage, epoch) for epoch in factors} == pytest.approx(factors)


def test_centralisation_by_hand():
    matrix, convolution, bias = (nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (2, 3, 1, 1), (3,)))
    matrix.grad = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    convolution.grad, bias.grad = matrix.grad[..., None, None].clone(), torch.ones(3)
    centralize_gradients([matrix, nn.Parameter(torch.zeros(2, 2)), convolution, bias])
    assert matrix.grad.tolist() == convolution.grad[..., 0, 0].tolist() == [[-2.0, -1.0, 3.0], [-1.0, -1.0, 2.0]]
    assert bias.grad.tolist() == [1, 1, 1]


def test_rates_and_decays_of_every_role(tiny_cfg):
    stage = "SOLVER.STAGE2."
    cfg = tiny_cfg(
        *(f"{stage}BASE_LR", 1.0, f"{stage}ENCODER_LR_FACTOR", 2.0, f"{stage}NEW_MODULE_LR_FACTOR", 3.0),
        *(f"{stage}HEAD_LR_FACTOR", 5.0, f"{stage}PROMPT_LR_FACTOR", 7.0, f"{stage}BIAS_LR_FACTOR", 1.0),
        *(f"{stage}ENCODER_BIAS_LR_FACTOR", 0.25),
        *(f"{stage}WEIGHT_DECAY", 1.0, f"{stage}WEIGHT_DECAY_BIAS", 0.0, f"{stage}ENCODER_DECAY_FACTOR", 2.0),
        *(f"{stage}NEW_MODULE_DECAY_FACTOR", 3.0, f"{stage}HEAD_DECAY_FACTOR", 5.0, f"{stage}PROMPT_DECAY_FACTOR", 7.0),
    )
    model = make_model(cfg, 3, 2)
    settings = settings_by_name(model, make_optimizer(cfg, model))
    expected = {
        "encoder.blocks.0.attn.qkv.weight": (2, 2),
        "encoder.blocks.0.attn.qkv.bias": (0.5, 0),
        "encoder.camera_embedding": (3, 3),
        "memory_weight": (3, 3),
        "pool_video.score.0.weight": (3, 3),
        "memory_prompt.layers.1.mlp.3.weight": (21, 21),
        "classifier_image.weight": (15, 15),
        "classifier_temporal.weight": (150, 15),
    }
    assert {name: settings[name] for name in expected} == {name: [pytest.approx(v)] for name, v in expected.items()}


def test_layer_decay_falls_from_the_top_to_the_embeddings(tiny_cfg):
    cfg = tiny_cfg(*("SOLVER.STAGE2.BASE_LR", 1.0, "SOLVER.STAGE2.LAYER_DECAY", 0.5))
    model = make_model(cfg, 3, 2)  # two blocks
    optimizer = make_optimizer(cfg, model)
    rates = {name: groups[0][0] for name, groups in settings_by_name(model, optimizer).items()}
    assert (rates["encoder.projection"], rates["encoder.norm.weight"]) == (1, 1)
    assert (rates["encoder.blocks.1.norm1.weight"], rates["encoder.blocks.0.norm1.weight"]) == (0.5, 0.25)
    below = ("class_token", "position_embedding", "patch_embed.weight", "norm_pre.weight")
    assert [rates[f"encoder.{name}"] for name in below] == [0.125] * 4
    assert rates["encoder.frame_embedding"] == rates["pool_image.score.0.weight"] == 1
    assert optimizer.param_groups[0]["lr"] == 1  # the rate that the training loop logs


def test_the_groups_do_not_depend_on_the_rates_and_the_optimizer_is_chosen_by_name(tiny_cfg):
    model = make_model(tiny_cfg(), 3, 2)
    adam = make_optimizer(tiny_cfg(), model)
    options = ("SOLVER.STAGE2.LAYER_DECAY", 0.5, "SOLVER.STAGE2.BIAS_LR_FACTOR", 1.0)
    other = make_optimizer(tiny_cfg(*options, "SOLVER.STAGE2.OPTIMIZER_NAME", "AdamW"), model)
    assert [optimizer.param_groups[0]["decoupled_weight_decay"] for optimizer in (adam, other)] == [False, True]
    sizes = [[len(group["params"]) for group in optimizer.param_groups] for optimizer in (adam, other)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(("layer_decay", "num_calls"), [(1.0, 3), (0.5, 6)])
def test_groups_with_equal_settings_are_updated_in_one_call(tiny_cfg, layer_decay, num_calls):
    """The encoder, its layers or not, and two other settings; the updates are those of plain Adam."""
    cfg = tiny_cfg("SOLVER.STAGE2.LAYER_DECAY", layer_decay)
    models = [make_model(cfg, 3, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizer, twin = (make_optimizer(cfg, model) for model in models)
    plain = torch.optim.Adam(twin.param_groups)
    for parameters in zip(*(model.parameters() for model in models), strict=True):
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
    with profile() as profiler:
        optimizer.step()
    plain.step()
    assert sum(event.count for event in profiler.key_averages() if event.key == "aten::_fused_adam_") == num_calls
    assert len(optimizer.param_groups) > num_calls
    for name, parameter in models[1].named_parameters():
        torch.testing.assert_close(models[0].get_parameter(name), parameter)


def test_what_a_loss_learns_is_trained(tiny_cfg):
    cfg, criterion = tiny_cfg(), nn.Linear(3, 2)
    model = make_model(cfg, 3, 2)
    trained = {id(each) for group in make_optimizer(cfg, model, criterion).param_groups for each in group["params"]}
    assert {id(parameter) for parameter in criterion.parameters()} < trained
    assert re.search(r"loss, weights +6 ", format_groups(cfg, model, criterion))


def test_the_table_of_groups_counts_every_parameter_and_shows_what_is_frozen(tiny_cfg):
    cfg = tiny_cfg(*("MODEL.FREEZE_BLOCKS", 1, "SOLVER.STAGE2.BASE_LR", 0.001, "SOLVER.STAGE2.PROMPT_LR_FACTOR", 3.0))
    model = make_model(cfg, 3, 2)
    *table, last = format_groups(cfg, model).splitlines()
    sizes = [[p.numel() for p in model.parameters() if p.requires_grad or not trains] for trains in (True, False)]
    assert last == "Adam trains {:,} of {:,}.".format(*map(sum, sizes))
    assert any(re.match(r"encoder, weights +[\d,]+ +frozen +-", line) for line in table)
    assert any(re.match(r"prompt, biases +[\d,]+ +0\.006 +0\.0001", line) for line in table)
