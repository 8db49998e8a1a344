"""Four optimiser steps of the whole training loop against the published loops (tests/parity).

The fixtures hold, for every parameter, the norm of its total update and the update's scalar products with four random
probes. The root mean square of the differences of these products, over the norm, estimates the relative error of the
update.
"""

import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from configs import get_cfg
from loss import make_loss
from model import make_model
from model.weights import convert_checkpoint
from processor.training.state import TrainingState
from processor.training.train import compute_losses, update_weights
from solver import make_optimizer, make_schedule
from utils.runtime import make_runtime

CASES = {
    "training_xtfclip": "configs/xtfclip_vit_b16_288x144.yml",
    "training_tfclip": "configs/tfclip_vit_b16_256x128.yml",
}
NUM_PROBES = 4
LOSS_TOLERANCE = 1e-4
MATRIX_TOLERANCE = 1e-2
MEDIAN_TOLERANCE = 1e-3
# Adam turns the rounding error of a gradient that is zero in exact arithmetic into full steps. This concerns vectors
# such as the biases before a softmax or a norm.
VECTOR_TOLERANCE = 0.3


@pytest.fixture(scope="module", params=CASES)
def trained(request, recipe, read_fixture, disable_dropout):
    """Train on the fixture's clips, as the loop does, and keep what the fixture is compared with."""
    fixture = read_fixture(request.param)
    B, T, _, H, W = fixture["input"]
    K, num_cameras, stride = fixture["num_classes"], fixture["num_cameras"], fixture["stride"]
    cfg = get_cfg(
        CASES[request.param],
        [
            *("MODEL.DEVICE", "cpu", "MODEL.PRETRAINED", "False", "MODEL.STRIDE_SIZE", f"({stride}, {stride})"),
            *("INPUT.SIZE_TRAIN", f"({H}, {W})", "INPUT.SIZE_TEST", f"({H}, {W})", "INPUT.SEQ_LEN", str(T)),
            *("SOLVER.PRECISION", "fp32"),
        ],
    )
    model = make_model(cfg, K, num_cameras)
    before = convert_checkpoint(recipe.checkpoint(fixture))
    model.load_state_dict(before)
    disable_dropout(model)
    runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
    optimizer = make_optimizer(cfg, model)
    schedule = make_schedule(cfg, optimizer)
    training = TrainingState(
        cfg,
        model.train(),
        make_loss(cfg, K).train(),
        optimizer,
        schedule,
        runtime,
        memory=0.3 * recipe.clip_for(11, (K, 512)),
        pids=list(range(K)),
        camids=list(range(num_cameras)),
        data_hash="",
        describe_people=lambda: torch.empty(0),
    )
    camids, labels = torch.arange(B) % num_cameras, torch.arange(B) // 2 % K
    losses, rates = [], []
    for epoch in range(fixture["epochs"]):
        for step in range(fixture["steps_per_epoch"]):
            number = epoch * fixture["steps_per_epoch"] + step
            clips = recipe.clip_for(fixture["seed"] + number, fixture["input"])
            terms = compute_losses(training, clips, camids, labels)
            losses.append(terms["total"].item())
            rates.append(optimizer.param_groups[0]["lr"])
            terms["total"].backward()
            update_weights(training)
        training.criterion.next_epoch()
        schedule.step()
    updates = {name: (value.detach() - before[name]).double() for name, value in model.named_parameters()}
    return SimpleNamespace(fixture=fixture, losses=losses, rates=rates, updates=updates)


def test_losses_of_every_step(trained):
    assert trained.losses == pytest.approx(trained.fixture["losses"], rel=LOSS_TOLERANCE)


def test_learning_rate_of_every_step(trained):
    assert trained.rates == pytest.approx(trained.fixture["learning_rates"], rel=1e-9)


def published_names(fixture):
    """The published name of each of our parameters and buffers."""
    published = list(fixture["keys"])
    numbers = {name: torch.tensor(i).expand(fixture["keys"][name]) for i, name in enumerate(published)}
    return {name: published[value.flatten()[0]] for name, value in convert_checkpoint(numbers).items()}


def project(updates, fixture, recipe):
    """Scalar products of our updates with the fixture's probes: NUM_PROBES for each of our names."""
    products = {name: [] for name in updates}
    for i in range(NUM_PROBES):
        probes = {
            name: recipe.clip_for(zlib.crc32(f"{name}/{i}".encode()), shape) for name, shape in fixture["keys"].items()
        }
        probes = convert_checkpoint(probes)  # their shapes become ours too
        for name, update in updates.items():
            products[name].append((update * probes[name]).sum().item())
    return products


def test_update_of_every_parameter(trained, recipe):
    names = published_names(trained.fixture)
    errors = {}
    for name, products in project(trained.updates, trained.fixture, recipe).items():
        expected = trained.fixture["updates"][names[name]]
        if not expected["norm"]:
            assert not trained.updates[name].any(), f"{name} is frozen in the published code"
            continue
        difference = np.subtract(products, expected["dots"])
        errors[name] = np.sqrt(np.mean(difference**2)) / expected["norm"]
    is_matrix = {name: len(trained.fixture["keys"][names[name]]) > 1 for name in errors}
    too_far = {
        name: error
        for name, error in errors.items()
        if error >= (MATRIX_TOLERANCE if is_matrix[name] else VECTOR_TOLERANCE)
    }
    assert not too_far
    assert np.median(list(errors.values())) < MEDIAN_TOLERANCE
    assert sum(is_matrix.values()) > 80
