"""Initial values of everything that does not come from CLIP, against one draw of the published constructor."""

import math
from types import SimpleNamespace

import pytest
import torch

from configs import get_cfg
from model import make_model
from model.weights import PUBLISHED_RENAMES, PUBLISHED_UNUSED, rename

NEW_IN_ENCODER = ("encoder.camera_embedding", "encoder.frame_embedding")
# Mean and standard deviation of n values of deviation s scatter by s / sqrt(n) and at most s / sqrt(2 n). Each may
# differ from the published draw's, which scatters too, by this many times the deviation of the difference.
NUM_DEVIATIONS = 5
UNIFORM_PEAK = math.sqrt(3)  # largest value over standard deviation of a uniform distribution around zero
# Largest values of two normal draws differ by about 0.3 of a standard deviation; truncation at 2 would make it 2.5.
NORMAL_PEAK_TOLERANCE = 2.0


@pytest.fixture(scope="module")
def initial(read_fixture):
    """Our parameters and the published statistics, both by our names."""
    fixture = read_fixture("initial_xtfclip")
    published = {
        rename(name, PUBLISHED_RENAMES): statistics
        for name, statistics in fixture["parameters"].items()
        if name not in PUBLISHED_UNUSED
    }
    torch.manual_seed(1234)
    options = ("MODEL.PRETRAINED", "False", "MODEL.VIT.DEPTH", "1")  # CLIP's own blocks are not compared
    cfg = get_cfg("configs/xtfclip_vit_b16_288x144.yml", options)
    model = make_model(cfg, fixture["num_classes"], fixture["num_cameras"])
    own = {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if not name.startswith("encoder.") or name in NEW_IN_ENCODER
    }
    return SimpleNamespace(own=own, published=published)


def test_names_shapes_and_constants(initial):
    shapes = {name: list(value.shape) for name, value in initial.own.items()}
    assert shapes == {name: statistics["shape"] for name, statistics in initial.published.items()}
    constants = {
        name: statistics["mean"]
        for name, statistics in initial.published.items()
        if statistics["std"] == 0 and (initial.own[name].numel() > 1 or name == "memory_weight")
    }
    assert constants["memory_weight"] == 0.5
    assert len(constants) > 40
    for name, constant in constants.items():
        assert (initial.own[name] == constant).all(), name


def drawn(initial):
    """Name, our values and the published statistics of every parameter that is drawn at random."""
    for name, statistics in initial.published.items():
        if statistics["std"] > 0:
            yield name, initial.own[name].double(), statistics


def test_means_and_deviations(initial):
    for name, value, expected in drawn(initial):
        scatter = expected["std"] / math.sqrt(value.numel())
        assert abs(value.mean() - expected["mean"]) < NUM_DEVIATIONS * math.sqrt(2) * scatter, name
        assert abs(value.std() - expected["std"]) < NUM_DEVIATIONS * scatter, name


def test_largest_and_smallest_values(initial):
    """They tell a uniform distribution (1.73 standard deviations) from a normal one (here 3 and more)."""
    kinds = {"uniform": 0, "normal": 0}
    for name, value, expected in drawn(initial):
        own_peak = value.abs().max().item() / value.std().item()
        largest = max(expected["max"], -expected["min"])
        peak = largest / expected["std"]
        if peak < 2:
            kinds["uniform"] += 1
            assert own_peak == pytest.approx(UNIFORM_PEAK, rel=NUM_DEVIATIONS / math.sqrt(value.numel())), name
            # The largest of n uniform values lies within 10 / n of the bound, but for one draw in 20,000.
            assert value.abs().max().item() < largest * (1 + 10 / value.numel()), name
        else:
            kinds["normal"] += 1
            assert own_peak == pytest.approx(peak, abs=NORMAL_PEAK_TOLERANCE), name
    assert min(kinds.values()) > 15


def test_single_biases_are_drawn_as_their_weights_are(initial):
    """One published value has no distribution: it and ours must lie within the range of nn.Linear."""
    singles = [name for name, value in initial.own.items() if value.numel() == 1 and name != "memory_weight"]
    assert len(singles) == 5
    for name in singles:
        bound = 1 / math.sqrt(initial.own[name.removesuffix("bias") + "weight"].numel())
        assert 0 < abs(initial.own[name].item()) <= bound, name
        assert abs(initial.published[name]["mean"]) <= bound, name
