"""How the data check says what it found."""

from datasets.check.report import Examined, Report, format_report, report_as_dict
from datasets.readers.dataset import DataSet


def test_the_last_line_counts_kinds_and_places(tmp_path):
    report = Report("agvpreid", str(tmp_path))

    def last_line():
        return format_report(report).splitlines()[-1]

    assert last_line() == "Training can start: no blocking problems, no warnings."
    report.problems.add("short tracklet", "one")
    assert last_line() == "Training can start: no blocking problems, 1 kind of warning (1 place)."
    report.problems.add("short tracklet", *"abc")
    report.problems.add("one view", "identity 3: only ground")
    report.problems.add("stray file", "a remark")
    assert last_line() == "Training can start: no blocking problems, 2 kinds of warnings (5 places)."
    report.complete = False
    assert last_line() == "The check was interrupted. No blocking problem was found so far."
    report.problems.add("loader", "refused")
    assert last_line() == "The check was interrupted. Training cannot start: 1 kind of blocking problem (1 place)."


def test_published_counts_stand_beside_those_of_a_split_or_in_a_list(tmp_path, make_tracklet):
    counts = {"train identities": 3, "test/query tracklets": 5, "cameras": 2}
    dataset = DataSet("Toy", (), {}, published=counts, published_remark="From a paper.")
    report = Report("toy", str(tmp_path), dataset=dataset)
    report.examined = [Examined(split, make_tracklet(1)) for split in ("train", "test/query")]
    lines = format_report(report).splitlines()
    assert any(line.startswith("train") and " 1 [3] " in line for line in lines)
    assert any(line.startswith("test/query") and " 1 [5] " in line for line in lines)
    assert lines[lines.index("Published counts are in brackets.") + 1 :][:2] == [
        "Published counts: cameras 2.",
        "From a paper.",
    ]
    assert report_as_dict(report)["published"] == counts


def test_findings_are_grouped_by_level_and_shortened(tmp_path):
    report = Report("mars", str(tmp_path))
    report.problems.add("stray file", "x")
    report.problems.add("empty frame", *map(str, range(7)))
    report.problems.add("loader", "refused")
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
