"""Batches without a finite loss are skipped without a trace, and fp16's overflows are counted."""

import math

import pytest
import torch

from processor.training.guards import FiniteGuard
from processor.training.train import train_one_epoch
from utils.runtime import Runtime, make_runtime

RUNTIME = make_runtime("cpu", "fp32")


def everything(state):
    modules = {**state.model.state_dict(), **state.criterion.state_dict()}
    return {name: value.clone() for name, value in modules.items()}


def test_a_skipped_batch_leaves_no_trace(set_up, caplog):
    parts = set_up("SOLVER.STAGE2.NON_FINITE_LOSS", "skip")
    parts.state.memory.fill_(math.nan)
    before = everything(parts.state)
    means = train_one_epoch(parts.state, parts.loader, parts.augment)
    after = everything(parts.state)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert "total" not in means
    assert "step 1: id" in caplog.text
    assert f"{len(parts.loader)} batches were skipped" in caplog.text


def test_a_spoiled_part_spoils_its_batch_only(set_up):
    parts = set_up("SOLVER.STAGE2.NON_FINITE_LOSS", "skip")
    guard = FiniteGuard(parts.state, parts.dataset.train)
    batch = {"tracklet": torch.tensor([0])}
    allowed = []
    for measures in ({"total": 1.0}, {"total": math.inf}):
        guard.remember()
        guard.check_losses(measures, batch, 1)
    allowed.append(guard.may_update())
    guard.check_losses({"total": 1.0}, batch, 2)
    allowed.append(guard.may_update())
    assert allowed == [False, True]
    assert guard.num_skipped == 1


@pytest.fixture
def fp16_parts(set_up):
    """A training state whose scaler is on, as with fp16 on CUDA; its numbers are float32."""
    parts = set_up()
    parts.state.scaler = Runtime(torch.device("cpu"), torch.float16).make_scaler()
    return parts


def spoil_gradients(parts, steps):
    """Make the gradients of the first ``steps`` updates overflow."""
    numbers = iter(range(10**6))
    weight = parts.state.model.temporal_memory.message.weight
    weight.register_hook(lambda gradient: gradient * (math.inf if next(numbers) < steps else 1))


def test_an_overflow_is_logged_with_the_scale(fp16_parts, caplog):
    caplog.set_level("INFO")
    spoil_gradients(fp16_parts, 1)
    train_one_epoch(fp16_parts.state, fp16_parts.loader, fp16_parts.augment)
    assert "steps were left out, and the scale fell to 32768" in caplog.text


def test_a_scale_below_one_stops_training(fp16_parts):
    spoil_gradients(fp16_parts, 100)
    fp16_parts.state.scaler.load_state_dict({**fp16_parts.state.scaler.state_dict(), "scale": 1.0})
    with pytest.raises(ValueError, match=r"scale fell to 0\.\d+\. Set SOLVER\.PRECISION bf16"):
        train_one_epoch(fp16_parts.state, fp16_parts.loader, fp16_parts.augment)
