"""How the data check says what it found."""

import numpy as np

from datasets.check.report import Examined, Report, format_report, report_as_dict
from datasets.tracklet import DataSet


def test_the_last_line_says_whether_training_can_start(tmp_path):
    report = Report("agvpreid", str(tmp_path))

    def last_line():
        return format_report(report).splitlines()[-1]

    report.problems.add("short tracklet", *"abc")
    report.problems.add("one view", "identity 3: only ground")
    report.problems.add("published counts", "a remark")
    assert last_line() == "Training can start; blocking problems: 0, warnings: 4."
    report.complete = False
    assert last_line().startswith("The check was interrupted. Nothing blocks training so far; blocking problems: 0, ")
    report.problems.add("loader", "refused")
    assert last_line() == "The check was interrupted. Training cannot start; blocking problems: 1, warnings: 4."


def test_published_counts_stand_beside_those_of_a_split(tmp_path, make_tracklet):
    counts = {"train identities": 3, "test/query tracklets": 5, "cameras": 2}
    report = Report("toy", str(tmp_path), dataset=DataSet("Toy", (), {}, published=counts))
    report.examined = [Examined(split, make_tracklet(1), np.empty(0)) for split in ("train", "test/query")]
    lines = format_report(report).splitlines()
    assert any(line.startswith("train") and " 1 [3] " in line for line in lines)
    assert any(line.startswith("test/query") and " 1 [5] " in line for line in lines)
    assert "Published counts: train identities 3, test/query tracklets 5, cameras 2." in lines
    assert report_as_dict(report)["published"] == counts


def test_findings_are_grouped_by_level_and_shortened(tmp_path):
    report = Report("mars", str(tmp_path))
    report.problems.add("published counts", "x")
    report.problems.add("empty frame", *map(str, range(7)))
    report.problems.add("loader", "refused")
    text = format_report(report)
    assert text.index("Blocking problems:") < text.index("Warnings:") < text.index("Remarks:")
    assert "  empty frame (7): " in text
    assert "    ... and 2 more" in text
    found = [(finding["check"], finding["count"]) for finding in report_as_dict(report)["findings"]]
    assert found == [("loader", 1), ("empty frame", 7), ("published counts", 1)]
