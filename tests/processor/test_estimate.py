"""The plan of a run: counts against the real network, memory against a measured step."""

from itertools import accumulate

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

from configs import get_cfg
from datasets.build import make_train_transform
from loss import make_loss
from model import make_model
from processor import estimate
from processor.estimate import (
    DatasetSize,
    FakeTraining,
    StepMeter,
    compute_ideal_step_seconds,
    count_feature_flops,
    measure_step,
    plan_run,
)
from utils.runtime import Runtime

SIZE = DatasetSize(num_identities=6, num_tracklets=30, num_cameras=2)
FLOAT32 = Runtime(torch.device("cpu"), None)


def test_operations_of_the_full_network():
    """A forward pass costs about two operations a parameter of a block, for each token and frame."""
    cfg = get_cfg()
    size = DatasetSize(689, 3300, 6)
    cost = measure_step(cfg, 2, size)
    with torch.device("meta"):
        model = make_model(cfg, 689, 6, pretrained=False)
    assert cost.parameters.total() == sum(parameter.numel() for parameter in model.parameters())
    assert cost.parameters["encoder"] == sum(parameter.numel() for parameter in model.encoder.parameters())
    blocks = 12 * 12 * 768**2  # weights: 12 blocks of 12 D^2
    tokens = 2 * 8 * (18 * 9 + 1)
    assert 1 < cost.forward_flops / (2 * blocks * tokens) < 1.3
    assert 2.8 < cost.flops / cost.forward_flops < 3.05
    assert count_feature_flops(cfg, 2, size) < cost.forward_flops  # neither prompt nor classifiers


def test_ideal_seconds_are_operations_over_the_rate(tiny_cfg, monkeypatch):
    monkeypatch.setattr(estimate, "measure_matrix_rate", lambda device, dtype: 1e9)
    for num_parts in (1, 2):
        cfg = tiny_cfg("SOLVER.STAGE2.IMS_PER_BATCH", 8, "SOLVER.STAGE2.ACCUMULATION_STEPS", num_parts)
        flops = measure_step(cfg, 8 // num_parts, SIZE).flops  # the monitor times the parts of a batch
        assert compute_ideal_step_seconds(cfg, SIZE, FLOAT32) == pytest.approx(flops / 1e9)


def test_the_meter_follows_lifetimes_and_counts_products():
    known = torch.zeros(10, 10)
    with StepMeter([known]) as meter:
        a = known + 1
        view = a[:5]
        known.add_(1)
        del a
        assert meter.live == 400  # the view keeps its storage
        del view
        assert meter.live == 0
        (known + 1) + 1
        known @ known
    assert meter.peak == 800
    assert meter.flops == 2 * 10**3


def test_fused_attention_counts_as_the_products_of_plain_attention():
    inputs = [torch.randn(2, 3, 7, 8, requires_grad=True) for _ in range(3)]
    flops = []
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        with sdpa_kernel(backend), StepMeter() as meter:
            torch.nn.functional.scaled_dot_product_attention(*inputs).sum().backward()
        flops.append(meter.flops)
    assert flops[0] == flops[1] == 3 * 2 * 2 * (2 * 3 * 7 * 7 * 8)


def test_checkpointing_needs_less_memory_and_more_operations_and_half_precision_less_memory(tiny_cfg):
    cfg = tiny_cfg("MODEL.VIT.DEPTH", 6)
    plain, checkpointed = (measure_step(cfg, 8, SIZE, checkpointing, FLOAT32) for checkpointing in (False, True))
    half = measure_step(cfg, 8, SIZE, runtime=Runtime(torch.device("cpu"), torch.float16))
    assert checkpointed.activations < 0.6 * plain.activations
    assert checkpointed.peak < 0.6 * plain.peak
    assert plain.flops + 0.5 * plain.forward_flops < checkpointed.flops <= plain.flops + plain.forward_flops
    assert half.activations < 0.8 * plain.activations
    assert plain.peak >= plain.activations


def test_the_peak_is_what_torch_allocates(tiny_cfg):
    """Beside weights and gradients, which a step finds, and its batch."""
    cfg, batch = tiny_cfg(), 4
    model, criterion, augment = make_model(cfg, 6, 2), make_loss(cfg, 6), make_train_transform(cfg)
    clips = torch.zeros(batch, cfg.INPUT.SEQ_LEN, 3, *cfg.INPUT.SIZE_TRAIN, dtype=torch.uint8)
    memory = torch.randn(6, model.encoder.projected_width)
    training = FakeTraining(model, criterion, augment, FLOAT32, clips, torch.arange(batch) % 2, memory)
    training.compute_loss().backward()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        training.compute_loss().backward()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    allocated = max(accumulate(event.nbytes() for event in events))
    assert measure_step(cfg, batch, SIZE).peak - clips.nbytes == pytest.approx(allocated, rel=0.01)


def test_a_plan_leaves_nothing_fake_behind_for_the_training(tiny_cfg):
    cfg = tiny_cfg("INPUT.LOW_RESOLUTION", 1.0, "INPUT.HUE_JITTER", 0.3, "INPUT.CHANGE_VIEWS", True)
    assert measure_step(cfg, 4, SIZE).flops > measure_step(tiny_cfg(), 4, SIZE).flops  # products of matrices
    clips = torch.zeros(4, cfg.INPUT.SEQ_LEN, 3, *cfg.INPUT.SIZE_TRAIN, dtype=torch.uint8)
    assert type(make_train_transform(cfg)(clips, torch.Generator())) is torch.Tensor


def test_the_tables_name_everything(tiny_cfg):
    """Two groups of two tracklets of each of six people, two people a batch: six steps an epoch."""
    cfg = tiny_cfg("MODEL.COMPILE", True, "SOLVER.STAGE2.EMA_DECAY", 0.9)  # the plan does not compile
    text = plan_run(cfg, 2.5, (6, 30, 2))
    assert "6 identities, 30 tracklets; 4 clips of 4 frames, float32" in text
    words = {line.partition("  ")[0]: line.split()[-1] for line in text.splitlines() if line}
    assert words["steps per epoch"] == "6"
    assert words["smallest card"] == "GiB"
    for name in ("minutes per epoch at 2.5 TFLOP/s", "hours of the run, 2 epochs", "weights and moving average, GiB"):
        assert name in words
    assert "moving average" not in plan_run(tiny_cfg(), 2.5, (6, 30, 2))
