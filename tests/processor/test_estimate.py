"""The plan of a run: counts against the real network, memory against a measured step."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from configs import get_cfg
from model import make_model
from processor import estimate as plan
from processor.estimate import (
    ADAM_STATES,
    FLOAT32_BYTES,
    DatasetSize,
    MemoryTracker,
    compute_ideal_step_seconds,
    count_feature_flops,
    count_parameters,
    count_steps,
    count_training_flops,
    estimate_step_memory,
    format_plan,
    largest_batch,
    made_up_pids,
    make_plan,
)
from utils.runtime import Runtime

ROOT = Path(__file__).resolve().parents[2]
SIZE = DatasetSize(num_identities=6, num_tracklets=30, num_cameras=2)
# Three blocks of ViT-B/16 and clips of four frames: large enough to stand out of a process's memory.
MEDIUM = {
    "MODEL.NAME": "ViT-B-16",
    "MODEL.VIT.EMBED_DIM": "768",
    "MODEL.VIT.NUM_HEADS": "12",
    "MODEL.VIT.DEPTH": "3",
    "INPUT.SIZE_TRAIN": "288,144",
    "INPUT.SIZE_TEST": "288,144",
}

# Trains two steps and writes by how many bytes the process grew from before the network was built.
MEASURE = """
import resource, sys
import torch
from configs import get_cfg
from datasets import make_train_transform
from loss import make_loss
from model import make_model
from solver import make_optimizer
cfg = get_cfg(None, sys.argv[2:])
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
model, criterion = make_model(cfg, 6, 2), make_loss(cfg, 6)
optimizer, augment = make_optimizer(cfg, model), make_train_transform(cfg)
batch = int(sys.argv[1])
clips = torch.zeros(batch, cfg.INPUT.SEQ_LEN, 3, *cfg.INPUT.SIZE_TRAIN, dtype=torch.uint8)
labels, memory = torch.arange(batch) % 2, torch.randn(6, model.encoder.projected_width)
for _ in range(2):
    output = model(augment(clips, torch.Generator()), labels, memory=memory)
    loss = criterion(output, labels)["total"]
    del output
    loss.backward()
    optimizer.step()
# Not ru_maxrss: that of a child begins with its parent's.
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak) * 1024 - before)
"""


def test_parameters_of_the_parts_add_up(tiny_cfg):
    model = make_model(tiny_cfg(), 6, 2)
    counts = count_parameters(model)
    assert counts.total() == sum(parameter.numel() for parameter in model.parameters())
    assert counts["encoder"] == sum(parameter.numel() for parameter in model.encoder.parameters())
    assert all(counts.values())


def test_operations_of_the_full_network():
    """A forward pass costs about two operations a parameter of a block, for each token and frame."""
    cfg = get_cfg()
    size = DatasetSize(689, 3300, 6)
    forward, step = count_training_flops(cfg, 2, size)
    blocks = 12 * 12 * 768**2  # weights: 12 blocks of 12 D^2
    tokens = 2 * 8 * (18 * 9 + 1)
    assert 1 < forward / (2 * blocks * tokens) < 1.3
    assert 2.8 < step / forward < 3.05
    assert count_feature_flops(cfg, 2, size) < forward  # neither prompt nor classifiers


def test_ideal_seconds_are_operations_over_the_rate(tiny_cfg, monkeypatch):
    monkeypatch.setattr(plan, "measure_matrix_rate", lambda device, dtype: 1e9)
    runtime = Runtime(torch.device("cpu"), None)
    for num_parts in (1, 2):
        cfg = tiny_cfg("SOLVER.STAGE2.IMS_PER_BATCH", 8, "SOLVER.STAGE2.ACCUMULATION_STEPS", num_parts)
        _, flops = count_training_flops(cfg, 8 // num_parts, SIZE)  # the monitor times the parts of a batch
        assert compute_ideal_step_seconds(cfg, SIZE, runtime) == pytest.approx(flops / 1e9)


def test_operations_grow_with_the_batch(tiny_cfg):
    few, many = (count_training_flops(tiny_cfg(), batch, SIZE)[1] for batch in (4, 8))
    assert 1.8 < many / few <= 2


def test_the_tracker_follows_lifetimes():
    known = torch.zeros(100)
    with MemoryTracker([known]) as tracker:
        a = known + 1
        view = a[:50]
        known.add_(1)
        del a
        assert tracker.live == 400  # the view keeps its storage
        del view
        assert tracker.live == 0
        (known + 1) + 1
    assert tracker.peak == 800


def test_checkpointing_needs_less_memory_and_half_precision_too(tiny_cfg):
    cfg = tiny_cfg("MODEL.VIT.DEPTH", 6)
    cpu = torch.device("cpu")
    full = estimate_step_memory(cfg, 8, SIZE, checkpointing=False, runtime=Runtime(cpu, None))
    checkpointed = estimate_step_memory(cfg, 8, SIZE, checkpointing=True, runtime=Runtime(cpu, None))
    half = estimate_step_memory(cfg, 8, SIZE, checkpointing=False, runtime=Runtime(cpu, torch.float16))
    assert checkpointed.activations < 0.6 * full.activations
    assert checkpointed.peak < 0.6 * full.peak
    assert half.activations < 0.8 * full.activations
    assert full.peak >= full.activations


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_estimate_is_near_the_measured_peak(tiny_cfg, tiny_opts):
    batch = 4
    medium = [word for pair in MEDIUM.items() for word in pair]
    cfg = tiny_cfg(*medium)
    command = [sys.executable, "-c", MEASURE, str(batch), *tiny_opts, *medium]
    # glibc otherwise keeps pages whose tensors are gone, which adds about a quarter.
    allocator = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    environment = {**os.environ, **allocator}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    measured = int(result.stdout)
    weights = FLOAT32_BYTES * count_parameters(make_model(cfg, 6, 2)).total()
    planned = (2 + ADAM_STATES) * weights + estimate_step_memory(cfg, batch, SIZE, checkpointing=False).peak
    # How much memory the matrix library takes depends on the processor.
    assert planned / 1.3 < measured < 1.3 * planned


def test_steps_are_those_of_the_sampler(tiny_cfg):
    pids = made_up_pids(SIZE)
    assert Counter(pids) == dict.fromkeys(range(6), 5)
    cfg = tiny_cfg("SOLVER.STAGE2.IMS_PER_BATCH", 4, "DATALOADER.NUM_INSTANCE", 2)
    assert count_steps(cfg, pids) == 6  # two groups of each identity, two identities a batch


@pytest.mark.parametrize(("room", "expected"), [(1000, 96), (330, 30), (150, 12), (149, 0), (0, 0)])
def test_the_largest_batch_is_a_multiple_that_fits(room, expected):
    # A step takes 30 bytes and 10 for each clip.
    assert largest_batch(room, [(18, 210), (36, 390)], multiple=6) == expected


def test_the_tables_name_everything(tiny_cfg):
    cfg = tiny_cfg("MODEL.COMPILE", True)  # the plan does not compile
    text = format_plan(cfg, make_plan(cfg, SIZE), num_steps=7, tflops=2.5)
    for words in (
        "6 identities, 30 tracklets; 4 clips of 4 frames, float32",
        "minutes per epoch at 2.5 TFLOP/s",
        "80 GiB",
    ):
        assert words in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("steps per epoch")] == ["7"]


def test_a_moving_average_takes_the_room_of_the_weights(tiny_cfg):
    cfgs = [tiny_cfg("SOLVER.STAGE2.EMA_DECAY", decay) for decay in (0.0, 0.9)]
    plain, averaged = (make_plan(cfg, SIZE) for cfg in cfgs)
    assert averaged.fixed_bytes - plain.fixed_bytes == averaged.weight_bytes
    texts = [format_plan(cfg, plan, num_steps=7, tflops=2.5) for cfg, plan in zip(cfgs, (plain, averaged), strict=True)]
    assert ["moving average" in text for text in texts] == [False, True]
