"""What a run shows while it trains: log lines, the history over resumes, histograms, samples, and late reading."""

import csv
import math

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from processor.training import monitor as monitor_module
from processor.training.checkpoints import restore_last
from processor.training.monitor import HISTORY, SAMPLES, TrainingMonitor, draw_curves, read_history
from processor.training.state import TrainingOptions
from processor.training.train import train
from utils.runtime import Runtime

CPU = torch.device("cpu")
RUNTIME = Runtime(CPU, None)


@pytest.fixture
def make_monitor(tmp_path):
    """``make_monitor(log_period=50, output=..., **more)``: a monitor of a run of four epochs, closed at the end."""
    made = []

    def make(log_period=50, output=tmp_path, ideal_step_seconds=0.0, **options):
        training = TrainingOptions(4, log_period, ideal_step_seconds=ideal_step_seconds)
        made.append(TrainingMonitor(training, RUNTIME, output, **options))
        return made[-1]

    yield make
    for monitor in made:
        monitor.close()


# Two people on perpendicular axes: a distance of 0 within a person, sqrt(2) between them, at any length.
FEATURES, LABELS = torch.tensor([[2.0, 0], [9, 0], [0, 1], [0, 5]]), torch.tensor([0, 0, 1, 1])


def take_step(monitor, measures):
    monitor.start_step()
    monitor.send_measures({name: torch.tensor(value) for name, value in measures.items()}, 0.5, [FEATURES], LABELS)
    found = monitor.read_measures()
    monitor.finish_step()
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


def test_an_epoch_without_a_batch_is_an_error(make_monitor):
    monitor = make_monitor()
    monitor.start_epoch(1, 0)
    with pytest.raises(ValueError, match="returned no batch"):
        monitor.finish_epoch()


def test_a_step_is_split_into_its_phases(make_monitor, monkeypatch, caplog):
    caplog.set_level("INFO")
    # An epoch's start; of two steps the start, the moment of the measures, and the end.
    times = iter([0.0, 1.0, 2.0, 6.0, 10.0, 11.0, 15.0])
    monitor = make_monitor(ideal_step_seconds=3.0)
    monkeypatch.setattr(monitor, "_mark", lambda: next(times))
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


def test_a_disk_that_is_full_stops_the_curves_and_not_training(make_monitor, monkeypatch, caplog):
    def fail(rows, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(monitor_module, "draw_curves", fail)
    monitor = make_monitor()
    for epoch in (1, 2):
        take_epoch(monitor, epoch)
    monitor.add_scores(2, 0.5, None, chooses=True)
    monitor.close()
    (record,) = caplog.records
    assert "history.csv, curves and TensorBoard in" in record.message
    assert "No space left on device" in record.message


def test_a_resumed_epoch_goes_on_from_its_sums(make_monitor):
    monitor = make_monitor()
    monitor.start_epoch(1, 3)
    take_step(monitor, {"total": 1.0})
    so_far = monitor.measures_so_far()
    resumed = make_monitor()
    resumed.start_epoch(1, 3, so_far)
    take_step(resumed, {"total": 2.0})
    assert resumed.finish_epoch()["total"] == 1.5


def test_the_time_left_counts_the_steps_left(make_monitor, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(monitor_module.time, "perf_counter", lambda: now[0])
    monitor = make_monitor(finished_epochs=2)
    monitor.start_epoch(3, 10)
    now[0] += 5
    take_step(monitor, {"total": 1.0})
    assert monitor.seconds_left() == pytest.approx(5 * (9 + 10))


def test_the_history_has_a_row_for_each_epoch_and_its_validation(make_monitor, tmp_path):
    monitor = make_monitor()
    take_epoch(monitor, 1)
    take_epoch(monitor, 2, total=0.5)
    monitor.add_scores(2, 0.75, 0.25, chooses=True)
    take_epoch(monitor, 3)
    monitor.add_scores(3, 0.5, None, chooses=False)
    columns = ("epoch", "total", "validation_mAP", "validation_mAP_averaged", "monitoring_mAP")
    assert [tuple(row[column] for column in columns) for row in history_of(tmp_path)] == [
        ("1", "1.0", "", "", ""),
        ("2", "0.5", "0.75", "0.25", ""),
        ("3", "1.0", "", "", "0.5"),
    ]


def test_a_resumed_run_drops_the_rows_that_it_repeats(make_monitor, tmp_path):
    first = make_monitor()
    for epoch in (1, 2, 3):
        take_epoch(first, epoch, total=float(epoch))
    second = make_monitor(finished_epochs=2)
    take_epoch(second, 3, total=30.0)
    assert [(row["epoch"], row["total"]) for row in history_of(tmp_path)] == [("1", "1.0"), ("2", "2.0"), ("3", "30.0")]


def test_the_history_of_another_run_is_kept_aside(make_monitor, tmp_path):
    take_epoch(make_monitor(), 1)
    take_epoch(make_monitor(), 1, total=7.0)
    assert [row["total"] for row in history_of(tmp_path)] == ["7.0"]
    assert (tmp_path / f"{HISTORY}.old").is_file()


def test_a_damaged_history_is_named(tmp_path):
    (tmp_path / HISTORY).write_text("epoch,total\n1,x\n")
    with pytest.raises(ValueError, match=r"history\.csv is damaged"):
        read_history(tmp_path / HISTORY, 1)


def test_without_an_output_nothing_is_written(make_monitor, tmp_path):
    monitor = make_monitor(output=None)
    monitor.start_epoch(1, 1)
    monitor.show_samples(torch.zeros(1, 1, 3, 4, 2), torch.clone)
    take_step(monitor, {"total": 1.0})
    assert monitor.finish_epoch()["total"] == 1
    monitor.add_scores(1, 0.5, None, chooses=True)
    assert list(tmp_path.iterdir()) == []


def test_samples_show_clips_in_rows(make_monitor, tmp_path):
    clips = torch.zeros(2, 3, 3, 4, 2)
    clips[1, 2, 0] = 1.0  # the last frame of the second clip is red
    make_monitor().show_samples(clips, torch.clone)
    picture = Image.open(tmp_path / SAMPLES)
    assert picture.size == (3 * 2, 2 * 4)
    assert [picture.getpixel(place) for place in ((5, 7), (5, 3), (3, 7))] == [(255, 0, 0), (0, 0, 0), (0, 0, 0)]


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


def test_a_run_writes_all_of_it_and_a_resumed_one_goes_on(set_up, tmp_path):
    def run(parts):
        train(parts.state, parts.loader, parts.augment, parts.options, tmp_path, lambda model: 0.5)

    run(set_up("SOLVER.STAGE2.MAX_EPOCHS", 1, "SOLVER.STAGE2.EVAL_PERIOD", 1))
    samples = (tmp_path / SAMPLES).read_bytes()
    parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", 2, "SOLVER.STAGE2.EVAL_PERIOD", 1, resume=True)
    restore_last(parts.state, tmp_path)
    run(parts)
    assert (tmp_path / SAMPLES).read_bytes() == samples
    rows = history_of(tmp_path)
    assert [(row["epoch"], row["monitoring_mAP"]) for row in rows] == [("1", "0.5"), ("2", "0.5")]
    for name in ("id", "triplet", "memory", "frame", "total", "id_hard", "memory_hard", "frame_hard", "accuracy", "lr"):
        assert math.isfinite(float(rows[1][name])), name
    picture = Image.open(tmp_path / SAMPLES)
    assert picture.size == (4 * 32, 4 * 64)  # four clips of four frames


def test_each_kind_of_curve_appears_in_its_own_quarter(tmp_path):
    row = {"id": 3.0, "id_hard": 2.0, "total": 5.0, "accuracy": 0.5, "lr": 1e-4}
    more = {"validation_mAP": 0.9, "seconds_data": 0.1, "seconds_step": 0.1}

    def draw(more):
        draw_curves([{"epoch": epoch, **row, **more} for epoch in (1, 2)], tmp_path / "curves.png")
        return np.asarray(Image.open(tmp_path / "curves.png"))

    changed = draw(more) != draw({})
    columns = np.array_split(changed, 5, axis=1)  # the legends on the left lie in the middle one
    halves = [np.array_split(np.concatenate(side, axis=1), 2) for side in (columns[:2], columns[3:])]
    assert [[half.any() for half in side] for side in halves] == [[False, False], [True, True]]
    draw_curves([{"epoch": 1, "total": 1.0}], tmp_path / "a.png")  # a history without times or validation
