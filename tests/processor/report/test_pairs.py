"""Verification of an evaluation's pairs."""

import json

import pytest

from processor.evaluation.results import VISUAL
from processor.report.pairs import describe_verification, format_verification
from processor.report.write import write_report

ORIGIN = {"checkpoint": "logs/all/checkpoint_best.pth", "data": "data/AG-VPReID"}
pytestmark = pytest.mark.usefixtures("without_pictures")


def test_every_method_and_direction_is_verified(run, survey, tmp_path):
    evaluation = run()
    rows = describe_verification(survey(evaluation))
    assert [row["direction"] for row in rows] == ["aerial to ground", "ground to aerial"] * 3
    assert ["annotated attributes" in row["method"] for row in rows] == [False] * 2 + [True] * 4
    # Three people with two tracklets on each side, told apart by their colour.
    for row in rows:
        assert (row["num_positive_pairs"], row["num_negative_pairs"]) == (3 * 2 * 2, 3 * 2 * 4)
    result = evaluation.cases[0]
    same = [
        distance
        for query, distances in zip(result.case.query, result.distances[VISUAL].matrix().tolist(), strict=True)
        for tracklet, distance in zip(result.case.gallery, distances, strict=True)
        if query.pid == tracklet.pid
    ]
    assert rows[0]["equal_error_rate"] == 0
    assert rows[0]["operating_points"][2]["threshold"] == rows[0]["equal_error_threshold"] == max(same)
    assert [point["true_positive_rate"] for point in rows[0]["roc"]] == [1] * 26
    line = format_verification(rows).splitlines()[2]
    assert line.count(f"100.00 ({max(same):.4g})") == 3
    assert line.endswith(f"  0.00 ({max(same):.4g})")
    write_report(evaluation, tmp_path, ranking_length=4, origin=ORIGIN)
    assert json.loads((tmp_path / "results.json").read_text())["verification"] == rows
    assert line in (tmp_path / "results.txt").read_text().splitlines()


def test_a_threshold_that_does_not_exist_is_a_dash():
    point = {"true_positive_rate": 0.0, "threshold": None}
    row = {"method": "m", "direction": "d", "operating_points": [point] * 3}
    text = format_verification([{**row, "equal_error_rate": 0.5, "equal_error_threshold": 1.0}])
    assert text.splitlines()[-1].split() == ["m", "d", *["0.00", "(-)"] * 3, "50.00", "(1)"]
