"""QuickGELU in one pass: equal to the plain form in values, gradients, names and precision."""

import copy

import pytest
import timm
import torch
from timm.layers import QuickGELU
from torch import nn

from model.layers import QuickGELUMlp, quick_gelu_mlp, speed_up_mlp


@pytest.fixture
def layers():
    return nn.Linear(16, 64), nn.Linear(64, 16)


def plain(x, first, second):
    hidden = first(x)
    return second(hidden * torch.sigmoid(1.702 * hidden))


def test_values_and_gradients_equal_the_plain_form(layers):
    x = torch.randn(5, 7, 16, requires_grad=True)
    inputs = [x, *layers[0].parameters(), *layers[1].parameters()]
    results = [function(x, *layers) for function in (plain, quick_gelu_mlp)]
    torch.testing.assert_close(results[1], results[0], atol=1e-6, rtol=1e-6)
    weights = torch.randn_like(results[0])
    gradients = [torch.autograd.grad((result * weights).sum(), inputs) for result in results]
    for ours, expected in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, expected, atol=2e-5, rtol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(quick_gelu_mlp(x, *layers), results[0], atol=1e-6, rtol=1e-6)


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
