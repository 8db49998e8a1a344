"""What a run shows while it trains: log lines, the history over resumes, histograms, samples, and late reading."""

import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from datasets.clips.transforms import Augmenter
from model import TrainingOutput
from processor.training.monitor import HISTORY, SAMPLES, TrainingMonitor
from processor.training.state import Measured
from utils.runtime import Runtime


@pytest.fixture
def make_monitor(tmp_path, tiny_cfg, request):
    """``make_monitor(log_period=50, output=..., **more)``: a monitor of a run of four epochs, closed at the end."""

    def make(log_period=50, output=tmp_path, epoch=0, **options):
        cfg = tiny_cfg("SOLVER.STAGE2.MAX_EPOCHS", 4, "SOLVER.STAGE2.LOG_PERIOD", log_period)
        runtime = Runtime(torch.device("cpu"), None)
        criterion = SimpleNamespace(hard_terms=lambda output, labels: {"id_hard": torch.tensor(3.0)})
        progress = {"epoch": epoch, "step": 0, "steps_before": 0, "rate": 0.5}
        state = SimpleNamespace(cfg=cfg, runtime=runtime, criterion=criterion, **progress)
        monitor = TrainingMonitor(state, output, **options)
        request.addfinalizer(monitor.close)
        return monitor

    return make


# Two people on perpendicular axes: a distance of 0 within a person, sqrt(2) between them, at any length.
FEATURES, LABELS = torch.tensor([[2.0, 0], [9, 0], [0, 1], [0, 5]]), torch.tensor([0, 0, 1, 1])
OUTPUT = TrainingOutput([FEATURES], FEATURES, [FEATURES], FEATURES)  # classified right as they lie


def take_step(monitor, measures):
    monitor.mark()
    terms = {name: torch.tensor(value) for name, value in measures.items()}
    monitor.send_measures(Measured(terms, OUTPUT, LABELS))
    found = monitor.read_measures()
    monitor.mark()
    return found


def take_epoch(monitor, epoch, total=1.0):
    monitor.start_epoch(epoch, 1)
    take_step(monitor, {"total": total})
    return monitor.finish_epoch()


def history_of(folder):
    with (folder / HISTORY).open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_epoch_reports_every_term_and_means_over_its_steps(make_monitor, caplog):
    caplog.set_level("INFO")
    monitor = make_monitor()
    monitor.start_epoch(3, 2)
    take_step(monitor, {"total": 1.0, "id": 4.0})
    take_step(monitor, {"total": 3.0, "id": 8.0})
    means = monitor.finish_epoch()
    assert (means["total"], means["id"], means["lr"]) == (2.0, 6.0, 0.5)
    assert means["clips_per_second"] > 0
    line, shares = caplog.messages  # the last step is always logged
    for word in ("epoch 3", "step 2/2", "total 2.000", "id 6.000", "lr 0.5", "clips_per_second", " left"):
        assert word in line
    assert "s a step: data" in shares


@pytest.mark.parametrize(("device", "sampled"), [("cpu", 5), ("cuda", 3)])
def test_what_is_only_logged_is_computed_on_cuda_once_in_a_log_period(device, sampled, make_monitor, monkeypatch):
    """Steps 1, 3 and 5, and the third is the first after a resume."""
    so_far = None
    for steps in ((1.0, 2.0), (3.0, 4.0, 5.0)):
        monitor = make_monitor(log_period=2, output=None)
        monitor.device = torch.device(device)
        monkeypatch.setattr(monitor, "_moment", lambda: SimpleNamespace(synchronize=lambda: None))
        monitor.start_epoch(1, 5, so_far)
        found = [take_step(monitor, {"total": value}) for value in steps]
        so_far = monitor.measures_so_far()
    assert [set(measures) for measures in found][0::2] == [{"total", "id_hard", "accuracy"}] * 2
    assert so_far["counts"] == {"total": 5, "id_hard": sampled, "accuracy": sampled}
    means = monitor._means()
    assert (means["total"], means["id_hard"], means["accuracy"]) == (3, 3, 1)


def test_a_step_is_split_into_its_phases(make_monitor, monkeypatch, caplog):
    caplog.set_level("INFO")
    # An epoch's start; of two steps the start, the moment of the measures, and the end.
    times = iter([0.0, 1.0, 2.0, 6.0, 10.0, 11.0, 15.0])
    monitor = make_monitor(ideal_step_seconds=3.0)
    monkeypatch.setattr(monitor, "_moment", lambda: next(times))
    monitor.start_epoch(1, 2)
    for _ in range(2):
        take_step(monitor, {"total": 1.0})
    means = monitor.finish_epoch()
    assert (means["seconds_data"], means["seconds_step"]) == ((1 + 4) / 2, (5 + 5) / 2)
    assert means["share_of_rate"] == 3 / 7.5
    assert "data 33%, step 67%; 40% of the device's rate" in caplog.text


def test_measures_that_are_not_finite_are_returned_and_left_out_of_the_means(make_monitor):
    monitor = make_monitor()
    monitor.start_epoch(2, 5)
    take_step(monitor, {"total": 1.0})
    measures = take_step(monitor, {"id": 1.0, "total": math.nan})
    assert measures["id"] == 1
    assert math.isnan(measures["total"])
    assert monitor.finish_epoch()["total"] == 1


def test_a_resumed_epoch_goes_on_from_its_sums(make_monitor):
    monitor = make_monitor()
    monitor.start_epoch(1, 3)
    take_step(monitor, {"total": 1.0})
    so_far = monitor.measures_so_far()
    as_of_version_0_1_0 = {"steps": 1, "measured_steps": 1, "sums": so_far["sums"]}
    for kept in (so_far, as_of_version_0_1_0):
        resumed = make_monitor()
        resumed.start_epoch(1, 3, kept)
        take_step(resumed, {"total": 2.0})
        assert resumed.finish_epoch()["total"] == 1.5


def test_the_history_has_a_row_for_each_epoch_and_a_resumed_run_repeats_later_ones(make_monitor, tmp_path):
    monitor = make_monitor()
    take_epoch(monitor, 1)
    take_epoch(monitor, 2, total=0.5)
    monitor.add_scores(2, 0.75, 0.25, chooses=True)
    take_epoch(monitor, 3, total=7.0)
    resumed = make_monitor(epoch=2)
    take_epoch(resumed, 3)
    resumed.add_scores(3, 0.5, None, chooses=False)
    columns = ("epoch", "total", "validation_mAP", "validation_mAP_averaged", "monitoring_mAP")
    assert [tuple(row[column] for column in columns) for row in history_of(tmp_path)] == [
        ("1", "1.0", "", "", ""),
        ("2", "0.5", "0.75", "0.25", ""),
        ("3", "1.0", "", "", "0.5"),
    ]


def test_distances_are_split_by_person_once_in_a_log_period(make_monitor, tmp_path):
    monitor = make_monitor(log_period=2)
    monitor.start_epoch(1, 3)
    for _ in range(3):
        take_step(monitor, {"total": 1.0})
    monitor.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"), {"histograms": 0}).Reload()
    positive, negative = (events.Histograms(f"distances/{name}") for name in ("positive", "negative"))
    assert [event.step for event in positive] == [1, 3]
    assert (positive[0].histogram_value.num, negative[0].histogram_value.num) == (2, 4)
    assert positive[0].histogram_value.max == 0
    assert negative[0].histogram_value.min == pytest.approx(math.sqrt(2))
    assert [event.step for event in events.Scalars("step/total")] == [1, 2, 3]


def test_the_samples_are_the_first_clips_of_the_augmented_batch(make_monitor, tmp_path):
    frames = torch.randint(256, (10, 2, 3, 12, 6), dtype=torch.uint8)
    augment = Augmenter((0.5,) * 3, (0.5,) * 3, 0.5, 0.5, "published", 2, 0.4, False, 0.3, True, 0.5)
    draws = augment.draw(frames.shape, torch.Generator().manual_seed(0))
    make_monitor().show_samples(frames, augment, draws)
    shown = torch.from_numpy(np.array(Image.open(tmp_path / SAMPLES)))  # 8 rows of 2 frames
    expected = augment.normalize.invert(augment.apply(frames, *draws)[:8]).clamp(0, 1).mul(255).byte()
    assert torch.equal(shown.view(8, 12, 2, 6, 3).permute(0, 2, 4, 1, 3), expected)


def test_a_run_writes_every_term_and_its_first_clips(trained_run):
    rows = history_of(trained_run.output)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("id", "triplet", "memory", "frame", "total", "id_hard", "memory_hard", "frame_hard", "accuracy", "lr"):
        assert math.isfinite(float(rows[1][name])), name
    assert Image.open(trained_run.output / SAMPLES).size == (4 * 32, 4 * 64)  # four clips of four frames
