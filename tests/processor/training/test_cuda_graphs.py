"""The recorded step of training, with a stand-in that repeats the functions on the CPU; tests/test_gpu.py records."""

from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from processor.training.cuda_graphs import WARM_UP_STEPS, RecordedStep, find_obstacle
from processor.training.train import compute_gradients, record_step, train_one_epoch, update_weights
from utils.runtime import Runtime


class Repeater:
    """Calls functions; 'records' them as themselves."""

    def run(self, function):
        return function()

    def record(self, function):
        return function


def test_recorded_steps_are_those_of_the_loop(set_up):
    """The rates, which change between the two epochs, are the same numbers in float32 and float64."""
    stage = {"BASE_LR": 2**-10, "WARMUP_ITERS": 0, "STEPS": "(1,)", "GAMMA": 0.5, "EMA_DECAY": 0.9, "MAX_EPOCHS": 2}
    opts = [word for key, value in stage.items() for word in (f"SOLVER.STAGE2.{key}", value)]
    results = []
    for is_recorded in (False, True):
        parts = set_up(*opts)
        state, recorded = parts.state, None
        if is_recorded:
            steps = partial(compute_gradients, state, parts.augment), partial(update_weights, state)
            recorded = RecordedStep(state, *steps, Repeater())
        means = []
        for epoch in range(2):
            parts.loader.batch_sampler.set_epoch(epoch)
            means.append(train_one_epoch(state, parts.loader, parts.augment, recorded=recorded))
            state.finish_epoch(len(parts.loader))
        results.append((means, [state.model.state_dict(), state.averaged.module.state_dict()], state.rate))
    assert 2 * len(parts.loader) > WARM_UP_STEPS
    (means, weights, rate), (again, weights_again, rate_again) = results
    for epoch in range(2):
        assert again[epoch]["total"] == means[epoch]["total"]
    assert rate_again == rate
    for own, other in zip(weights, weights_again, strict=True):
        assert all(torch.equal(other[name], value) for name, value in own.items())


class Unrecordable(TorchDispatchMode):
    """Refuses what makes a host wait for a device, or a device for the host's numbers."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function._overloadpacket.__name__ not in {"lift_fresh", "_local_scalar_dense", "nonzero", "pin_memory"}
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "options",
    [
        ("INPUT.HUE_JITTER", 0.3, "INPUT.CHANGE_VIEWS", True, "INPUT.LOW_RESOLUTION", 0.5, "INPUT.COLOR_JITTER", 0.2),
        ("MODEL.TUNING", "lora", "LOSS.ID_SCALE", 16.0, "INPUT.CROP_PADDING", 2, "SOLVER.STAGE2.EMA_DECAY", 0.9),
        ("MODEL.FEATURE_NECK", "batch", "LOSS.LABEL_SMOOTHING", "uniform", "SOLVER.STAGE2.CLIP_GRADIENT_NORM", 1.0),
        ("LOSS.MEMORY", "proxies", "MODEL.VIEW_PROMPTS", 2),
    ],
)
def test_what_is_recorded_waits_for_nothing(set_up, options):
    class Refuser(Repeater):
        def record(self, function):
            def refuse():
                with Unrecordable():
                    function()

            return refuse

    parts = set_up(*options)
    state, batch = parts.state, next(iter(parts.loader))
    state.scaler = torch.amp.GradScaler("cpu")
    step = RecordedStep(
        state, partial(compute_gradients, state, parts.augment), partial(update_weights, state), Refuser()
    )
    assert len({id(group["lr"]) for group in state.optimizer.param_groups}) < len(state.optimizer.param_groups)
    before, sent = [value.clone() for value in state.model.parameters()], []
    for _ in range(WARM_UP_STEPS + 1):
        draws = parts.augment.draw(batch["clips"].shape, state.generator)
        step([batch["clips"], batch["label"], batch["camid"], *draws], sent.append)
    assert len(sent) == WARM_UP_STEPS + 1
    assert any(not torch.equal(old, new) for old, new in zip(before, state.model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("options", "device", "obstacle"),
    [
        ((), "cuda", None),
        ((), "cpu", "no CUDA device"),
        (("SOLVER.STAGE2.NON_FINITE_LOSS", "skip"), "cuda", "NON_FINITE_LOSS"),
        (("MODEL.GRADIENT_CHECKPOINTING", True), "cuda", "GRADIENT_CHECKPOINTING"),
    ],
)
def test_what_cannot_be_recorded_is_named(tiny_cfg, options, device, obstacle):
    found = find_obstacle(tiny_cfg(*options), Runtime(torch.device(device), None))
    assert found is None if obstacle is None else obstacle in found


def test_a_step_that_cannot_be_recorded_is_taken_as_it_is(set_up, caplog):
    parts = set_up("SOLVER.CUDA_GRAPHS", True)
    assert record_step(parts.state, parts.augment) is None
    assert caplog.text.count("SOLVER.CUDA_GRAPHS is left out") == 1
