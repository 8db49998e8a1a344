"""How the data check says what it found."""

import json

import pytest

from datasets.doctor import format_report, to_json

TRACKLET = "train/1/c0n0"

def test_people_on_several_days(make_tree, check, frames_of):
    root = make_tree()
    for frame in frames_of(root, "train/4/c4n1"):
        frame.rename(frame.with_name(frame.name.replace("T231017", "T231018")))
    report = check(root)
    assert to_json(report)["splits"]["train"]["people_on_several_days"] == 1
    assert "; 1 people on several days" in format_report(report)


def test_estimated_epoch(make_tree, check):
    report = check(make_tree(), "DATALOADER.NUM_WORKERS", 3)
    epoch = report.epoch
    assert epoch.frames_decoded == 96 + 4 * 36
    assert epoch.frames_per_epoch == epoch.batches_per_epoch * 4 * 4
    assert epoch.epoch_seconds == pytest.approx(
        epoch.frames_per_epoch / (3 * epoch.frames_per_second_per_core)
    )
    assert "x 3 workers" in format_report(report)
