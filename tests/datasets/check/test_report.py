"""How the data check says what it found."""

import pytest

from datasets.check import Report, format_report, report_as_dict
from datasets.check.findings import ExaminedTracklet
from datasets.readers.counts import PublishedCounts

TRACKLET = "train/1/c0n0"


def test_people_on_several_days(make_tree, check, frames_of):
    root = make_tree()
    for frame in frames_of(root, "train/4/c4n1"):
        frame.rename(frame.with_name(frame.name.replace("T231017", "T231018")))
    report = check(root)
    assert report_as_dict(report)["splits"]["train"]["people_on_several_days"] == 1
    assert "; 1 people on several days" in format_report(report)


def test_estimated_epoch(make_tree, check):
    report = check(make_tree(), "DATALOADER.NUM_WORKERS", 3)
    epoch = report.epoch
    assert epoch.frames_decoded == 96 + 4 * 36
    assert epoch.frames_per_epoch == epoch.batches_per_epoch * 4 * 4
    assert epoch.epoch_seconds == pytest.approx(epoch.frames_per_epoch / (3 * epoch.frames_per_second_per_core))
    assert "x 3 workers" in format_report(report)


def test_the_last_line_counts_kinds_and_places(tmp_path):
    report = Report("agvpreid", str(tmp_path))

    def last_line():
        return format_report(report).splitlines()[-1]

    assert last_line() == "Training can start: no blocking problems, no warnings."
    report.add("short tracklet", "one")
    assert last_line() == "Training can start: no blocking problems, 1 kind of warning (1 place)."
    report.add("short tracklet", *"abc")
    report.add("one view", "identity 3: only ground")
    report.add("stray file", "a remark")
    assert last_line() == "Training can start: no blocking problems, 2 kinds of warnings (5 places)."
    report.complete = False
    assert last_line() == "The check was interrupted. No blocking problem was found so far."
    report.add("loader", "refused")
    assert last_line() == "The check was interrupted. Training cannot start: 1 kind of blocking problem (1 place)."


def test_published_counts_stand_beside_those_of_a_split_or_in_a_list(tmp_path):
    bound = frozenset({"test/query tracklets"})
    published = PublishedCounts(
        {"train identities": 3, "test/query tracklets": 5, "cameras": 2}, bound, "From a paper."
    )
    report = Report("toy", str(tmp_path), published=published)
    report.tracklets = [ExaminedTracklet("train", 1, "a"), ExaminedTracklet("test/query", 2, "a")]
    lines = format_report(report).splitlines()
    assert any(line.startswith("train") and " 1 [3] " in line for line in lines)
    assert any(line.startswith("test/query") and " 1 [>=5] " in line for line in lines)
    assert lines[lines.index("Published counts are in brackets.") + 1 :][:2] == [
        "Published counts: cameras 2.",
        "From a paper.",
    ]
    assert report_as_dict(report)["published"] == {"train identities": 3, "test/query tracklets": 5, "cameras": 2}


def test_findings_are_grouped_by_level_and_shortened(tmp_path):
    report = Report("mars", str(tmp_path))
    report.add("stray file", "x")
    report.add("empty frame", *map(str, range(7)))
    report.add("loader", "refused")
    text = format_report(report)
    assert text.index("Blocking problems:") < text.index("Warnings:") < text.index("Remarks:")
    assert "  empty frame (7): " in text
    assert "    ... and 2 more" in text
    findings = report_as_dict(report)["findings"]
    assert [(finding["check"], finding["count"]) for finding in findings] == [
        ("loader", 1),
        ("empty frame", 7),
        ("stray file", 1),
    ]
    assert findings[1]["places"] == list("0123456")
