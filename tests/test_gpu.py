"""Training, resuming and evaluation on CUDA, on generated people; every body also runs on the CPU, where CI sees it."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from configs.load import LAST_CHECKPOINT
from datasets.build import make_test_loader
from processor.build import make_extractor
from processor.estimate import ADAM_STATES, FLOAT32_BYTES, measure_step, size_of
from processor.training.train import compute_losses, train, update_weights
from utils.checkpoint import read_checkpoint
from utils.runtime import DTYPES, Runtime, make_runtime

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_CHANCE = ("MODEL.PROMPT_DROPOUT", "0.0")  # dropout draws other masks on another device


def needs_gpus(number: int) -> list[pytest.MarkDecorator]:
    missing = torch.cuda.device_count() < number
    return [pytest.mark.gpu, pytest.mark.skipif(missing, reason=f"needs {number} CUDA device(s)")]


on_cpu_and_cuda = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpus(1))])


@pytest.fixture
def prepare(set_up):
    """``prepare(device, precision, *overrides, resume=False)``: what ``train`` needs, as train_main builds it."""

    def build(device, precision, *opts, resume=False):
        # Not by make_runtime: it refuses fp16 on the CPU, where only the code is tried here.
        runtime = Runtime(torch.device(device), DTYPES[precision])
        return set_up("MODEL.DEVICE", device, *opts, resume=resume, runtime=runtime)

    return build


def run(parts, output):
    train(parts.state, parts.loader, parts.augment, output, lambda model: 0.0)


def losses_of(output):
    """The losses of each epoch in a run's history."""
    with open(output / "history.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    terms = ("id", "triplet", "memory", "frame", "total", "id_hard")
    return {name: [float(row[name]) for row in rows] for name in terms}


def weights_of(parts):
    return {name: value.detach().float().cpu().clone() for name, value in parts.state.model.named_parameters()}


@on_cpu_and_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_steps_in_every_precision_change_the_weights_and_stay_finite(device, precision, prepare, tmp_path):
    parts = prepare(device, precision)
    before = weights_of(parts)
    run(parts, tmp_path)
    after = weights_of(parts)
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(after[name], before[name]) for name in after)
    assert parts.state.scaler.is_enabled() == (precision == "fp16")
    assert parts.state.scaler.get_scale() >= 1  # 1 when disabled; halved by each overflow


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=needs_gpus(1))])
@pytest.mark.parametrize(
    ("precision", "options"),
    [
        ("fp32", ()),
        ("bf16", ("INPUT.HUE_JITTER", 0.3, "INPUT.CHANGE_VIEWS", True, "INPUT.LOW_RESOLUTION", 0.5)),
        ("bf16", ("MODEL.VIEW_PROMPTS", 2)),
        ("fp16", ("SOLVER.STAGE2.EMA_DECAY", 0.9, "MODEL.TUNING", "lora", "LOSS.ID_SCALE", 16.0)),
        ("fp16", ("LOSS.MEMORY", "proxies")),
    ],
)
def test_recorded_steps_are_those_of_the_loop(device, precision, options, prepare, tmp_path, caplog):
    """Twenty steps and more; tests/processor/training/test_cuda_graphs.py compares everything but the recording."""
    caplog.set_level("INFO")
    losses = []
    for is_recorded in (False, True):
        switches = ("SOLVER.STAGE2.MAX_EPOCHS", 12, "SOLVER.CUDA_GRAPHS", is_recorded, *options)
        parts = prepare(device, precision, *switches)
        assert len(parts.loader) * 12 > 20
        run(parts, output := tmp_path / str(is_recorded))
        found = losses_of(output)
        losses.append(found["total"] + found["id_hard"])  # what is only logged is computed outside of the graphs
    assert "recorded as two CUDA graphs" in caplog.text
    assert losses[1] == pytest.approx(losses[0], rel=1e-3 if precision == "fp32" else 0.02)


@on_cpu_and_cuda
def test_fp16_and_fp32_compute_the_same_losses(device, prepare):
    totals = {}
    for precision in ("fp32", "fp16"):
        parts = prepare(device, precision, *WITHOUT_CHANCE)
        batch = next(iter(parts.loader))
        clips = parts.augment(batch["clips"].to(device), parts.state.generator)
        terms = compute_losses(parts.state, clips, batch["camid"].to(device), batch["label"].to(device))
        totals[precision] = terms["total"].item()
    assert totals["fp16"] == pytest.approx(totals["fp32"], rel=0.02)


@on_cpu_and_cuda
@pytest.mark.parametrize("direction", ["from the CPU", "to the CPU"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_run_resumes_on_another_device(device, direction, precision, prepare, tmp_path):
    first, second = ("cpu", device) if direction == "from the CPU" else (device, "cpu")
    run(prepare(first, precision, "SOLVER.STAGE2.MAX_EPOCHS", 1), tmp_path)
    parts = prepare(second, precision, "SOLVER.STAGE2.MAX_EPOCHS", 2, resume=True)
    parts.state.restore(read_checkpoint(tmp_path / LAST_CHECKPOINT), tmp_path / LAST_CHECKPOINT)
    before = weights_of(parts)
    run(parts, tmp_path)
    assert parts.state.epoch == 2
    after = weights_of(parts)
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(after[name], before[name]) for name in after)
    for parameter, values in parts.state.optimizer.state.items():
        assert {value.device for value in values.values()} == {parameter.device}  # fused Adam's step counts too


@on_cpu_and_cuda
def test_features_are_those_of_the_cpu(device, prepare):
    features = []
    for where in ("cpu", device):
        parts = prepare(where, "fp32")
        tracklets = parts.dataset.cases["case1"].query
        extractor = make_extractor(parts.cfg, parts.state.model, parts.runtime)
        features.append(extractor.extract(make_test_loader(parts.cfg, tracklets), tracklets, "queries").features)
    # Unit vectors; convolutions on CUDA may use TF32, with ten bits of mantissa.
    torch.testing.assert_close(features[1], features[0], rtol=0, atol=2e-3)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=needs_gpus(1))])
def test_peak_memory_is_as_planned(device, prepare):
    """tests/processor/test_estimate.py compares the CPU's peak."""
    sizes = ("MODEL.NAME", "ViT-B-16", "MODEL.VIT.EMBED_DIM", 768, "MODEL.VIT.NUM_HEADS", 12, "MODEL.VIT.DEPTH", 4)
    parts = prepare(device, "fp16", *sizes, "INPUT.SIZE_TRAIN", "(288, 144)", "INPUT.SIZE_TEST", "(288, 144)")
    batch = next(iter(parts.loader))
    num_clips = len(batch["clips"])
    for _ in range(2):  # the second step has gradients and Adam's state from the first
        torch.cuda.reset_peak_memory_stats(device)
        clips = parts.augment(batch["clips"].to(device), parts.state.generator)
        camids, labels = batch["camid"].to(device), batch["label"].to(device)
        terms = compute_losses(parts.state, clips, camids, labels)
        parts.state.scaler.scale(terms["total"]).backward()
        update_weights(parts.state)
    cpu_twin = Runtime(torch.device("cpu"), torch.float16)
    planned = measure_step(parts.cfg, num_clips, size_of(parts.dataset), runtime=cpu_twin)
    numbers = planned.parameters.total() + (1 + ADAM_STATES) * planned.trained
    expected = FLOAT32_BYTES * numbers + planned.peak
    assert expected / 1.3 < torch.cuda.max_memory_allocated(device) < expected * 1.3


@pytest.mark.parametrize("device", [pytest.param("cuda:1", marks=needs_gpus(2))])
def test_the_second_card_becomes_the_current_one(device):
    """Pinned memory and the caches of kernels would otherwise open a context on card 0."""
    before = torch.cuda.current_device()
    try:
        make_runtime(device, "fp16")
        assert torch.cuda.current_device() == 1
    finally:
        torch.cuda.set_device(before)


@pytest.mark.slow
@pytest.mark.parametrize(("device", "processes"), [("cpu", 1), pytest.param("cuda", 2, marks=needs_gpus(2))])
def test_torchrun_trains_as_one_process_does(device, processes, prepare, tiny_opts, tmp_path):
    """On CUDA the two processes speak over nccl."""
    alone = prepare(device, "fp32", *WITHOUT_CHANCE)
    run(alone, tmp_path / "alone")
    output = tmp_path / "torchrun"
    opts = [*tiny_opts, "DATASETS.ROOT_DIR", alone.cfg.DATASETS.ROOT_DIR, "MODEL.DEVICE", device, *WITHOUT_CHANCE]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [*launch, "train_main.py", "--output_dir", str(output), *opts]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    # Not the weights: Adam turns the rounding of a gradient that is zero into a whole step.
    expected, actual = losses_of(tmp_path / "alone"), losses_of(output)
    assert len(expected["total"]) == 2
    for name, values in expected.items():
        assert actual[name] == pytest.approx(values, rel=1e-2), name
