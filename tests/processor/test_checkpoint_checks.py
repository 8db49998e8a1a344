"""A checkpoint with an entry that is absent, or of another type or shape, is refused in one line."""

import re

import pytest
import torch

from processor.training.resume import restore_last
from processor.training.state import LAST_CHECKPOINT
from processor.training.train import train
from utils.checkpoint import read_checkpoint
from utils.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MEASURES = {"steps": 1, "measured_steps": 1, "sums": {}}


@pytest.fixture
def saved(set_up, tmp_path):
    """A state that fits the content of a checkpoint after one epoch, and that content."""
    parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", 1)
    train(parts.state, parts.loader, parts.augment, RUNTIME, parts.options, tmp_path, lambda model: 0.0)
    return parts.state, read_checkpoint(tmp_path / LAST_CHECKPOINT)


def test_every_entry_is_needed_and_checked(saved):
    state, content = saved
    state.restore(content, "a.pth")
    for name in content:
        for wrong in (None, 5.5j, object, [None], {3: None}, torch.zeros(3, 3, 3)):
            with pytest.raises(ValueError, match=r"a\.pth") as error:
                state.restore({**content, name: wrong}, "a.pth")
            assert "\n" not in str(error.value) or name in ("model", "criterion")
            assert repr(name) in str(error.value)
        with pytest.raises(ValueError, match=r"a\.pth (has no entry|holds weights only)"):
            state.restore({key: value for key, value in content.items() if key != name}, "a.pth")


@pytest.mark.parametrize(
    ("path", "wrong", "message"),
    [
        (("optimizer", "param_groups"), [], "holds other groups than"),
        (
            ("optimizer", "state", 0, "exp_avg"),
            torch.zeros(1),
            r"parameter 0 that holds 'exp_avg', which must be a tensor",
        ),
        (("optimizer", "state", 0, "step"), 3, "which must be a tensor"),
        (("optimizer", "state", 10**6), {}, "which does not exist"),
        (("schedule", "last_epoch"), -1, "must be an integer of at least 0"),
        (("random_states", 0, "cpu"), torch.zeros(7, dtype=torch.uint8), "must be a tensor of torch.uint8"),
        (
            ("epoch_so_far",),
            {"measures": {"steps": 1, "measured_steps": 1, "sums": {"id": "x"}}, "bad_frames": []},
            "sums",
        ),
        (("epoch_so_far",), {"measures": {"steps": 1, "measured_steps": 1, "sums": {}}, "bad_frames": [3]}, "pairs"),
        (("memory",), torch.zeros(3, 64), "CLIP memory of 3 people for 4"),
        (("model", "memory_weight"), torch.tensor(float("nan")), "memory_weight, which holds NaN"),
    ],
)
def test_parts_of_entries_are_checked(path, wrong, message, saved):
    state, content = saved
    part = content
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = wrong
    with pytest.raises(ValueError, match=rf"a\.pth.*{message}"):
        state.restore(content, "a.pth")


def test_an_entry_of_the_configuration_is_needed_before_anything_is_restored(saved, tmp_path):
    state, content = saved
    torch.save({name: value for name, value in content.items() if name != "config"}, tmp_path / LAST_CHECKPOINT)
    with pytest.raises(ValueError, match=re.escape(f"{LAST_CHECKPOINT} has no entry 'config'")):
        restore_last(state, tmp_path)
