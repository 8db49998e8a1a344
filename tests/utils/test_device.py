"""What is measured of a device."""

import itertools

import pytest
import torch

from utils import device


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_rate_is_operations_over_the_median_time_and_draws_no_random_number(monkeypatch, dtype):
    clock = itertools.accumulate([0.0, 9.0, 0.0, 2.0, 0.0, 8.0, 0.0, 4.0])  # starts and ends; the first is not counted
    monkeypatch.setitem(device.SIDES, "cpu", 8)
    monkeypatch.setattr(device.time, "perf_counter", lambda: next(clock))
    before = torch.get_rng_state()
    assert device.measure_matrix_rate(torch.device("cpu"), dtype) == 2 * 8**3 / 4.0
    assert torch.equal(torch.get_rng_state(), before)
