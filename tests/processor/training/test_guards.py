"""Batches without a finite loss are skipped without a trace, and fp16 that overflows again and again stops."""

import math
from copy import deepcopy

import pytest
import torch

from processor.training.guards import FiniteGuard
from processor.training.train import train_one_epoch
from utils.runtime import Runtime


def test_a_skipped_batch_leaves_no_trace(set_up, assert_same, caplog):
    parts = set_up("SOLVER.STAGE2.NON_FINITE_LOSS", "skip")
    parts.state.memory.fill_(math.nan)
    state = {**parts.state.model.state_dict(), **parts.state.criterion.state_dict()}
    before = deepcopy(state)
    means = train_one_epoch(parts.state, parts.loader, parts.augment)
    assert_same(state, before)
    assert "total" not in means
    assert "step 1: id" in caplog.text
    assert f"{len(parts.loader)} batches were skipped" in caplog.text


def test_a_spoiled_part_spoils_its_batch_only(set_up):
    parts = set_up("SOLVER.STAGE2.NON_FINITE_LOSS", "skip")
    guard = FiniteGuard(parts.state, parts.dataset.train)
    batch = {"tracklet": torch.tensor([0])}
    for measures in ({"total": 1.0}, {"total": math.inf}):
        guard.remember()
        guard.check_losses(measures, batch, 1)
    assert not guard.may_update()
    guard.check_losses({"total": 1.0}, batch, 2)
    assert guard.may_update()
    assert guard.num_skipped == 1


def test_gradients_that_overflow_until_the_scale_is_below_one_stop_training(set_up):
    """The scaler is on, as with fp16 on CUDA; the numbers are float32."""
    parts = set_up()
    scaler = parts.state.scaler = Runtime(torch.device("cpu"), torch.float16).make_scaler()
    scaler.load_state_dict({**scaler.state_dict(), "scale": 1.0})
    parts.state.model.temporal_memory.message.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(ValueError, match=r"scale fell to 0\.\d+\. Set SOLVER\.PRECISION bf16"):
        train_one_epoch(parts.state, parts.loader, parts.augment)
