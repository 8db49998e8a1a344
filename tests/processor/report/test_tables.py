"""Results as text and as data."""

import json
from dataclasses import replace

import numpy as np
import pytest

from processor.evaluation.results import VISUAL, Evaluation
from processor.report.tables import format_intervals, format_protocols, format_results, format_scores, results_as_dict
from utils.bootstrap import bootstrap_interval

ORIGIN = {"checkpoint": "logs/all/checkpoint_best.pth", "data": "data/AG-VPReID"}


def test_table_puts_visual_rows_first_and_labels_the_others(run):
    table = format_scores(run())
    rows = table.splitlines()
    assert rows[0].split() == ["method", "direction", "R1", "R5", "R10", "R20", "mAP", "mINP", "queries"]
    assert [row.startswith("visual only  ") for row in rows[2:]] == [True] * 3 + [False] * 6
    assert all("annotated attributes" in row for row in rows[5:])
    assert rows[2].split()[-8:] == ["ground", *["100.00"] * 6, "6"]
    assert "overall" in rows[4]
    assert "overall" in rows[7]
    assert rows[4].split()[-1] == "12"


def test_a_single_direction_has_no_overall_row(run):
    assert "overall" not in format_scores(run(cases=("case1",)))


def test_without_attributes_there_are_only_visual_rows(run, caplog):
    table = format_scores(run(attributes=False))
    assert "annotated" not in table
    for direction in ("aerial to ground", "ground to aerial"):
        assert f"{direction}: the data have no annotated attributes: only visual rows" in caplog.text


def test_json_labels_annotated_rows_and_states_the_protocol(run):
    evaluation = run()
    content = json.loads(json.dumps(results_as_dict(evaluation, ORIGIN)))
    assert list(content["protocols"]) == ["cross-camera"]
    assert content["identities_masked"] is False
    assert content.items() >= ORIGIN.items()
    rows = content["results"]
    assert [row["annotated_attributes"] for row in rows] == [False] * 3 + [True] * 6
    assert [row["direction"] for row in rows] == ["aerial to ground", "ground to aerial", "overall"] * 3
    assert all(("annotated attributes" in row["method"]) == row["annotated_attributes"] for row in rows)
    assert all(0 <= row[name] <= 1 for row in rows for name in ("R1", "R5", "R10", "R20", "mAP", "mINP", "mAP@20"))
    assert [row["num_valid_queries"] for row in rows[:3]] == [6, 6, 12]
    assert [row["num_people"] for row in rows[:3]] == [3, 3, 3]


def test_a_masked_direction_is_named_and_has_no_row(run):
    first, second = run().cases
    masked = replace(first, case=replace(first.case, identities_masked=True), rankings={})
    evaluation = Evaluation([masked, second])
    text = format_results(evaluation)
    assert "not scored, because their test identities are masked: aerial to ground" in text.splitlines()
    assert "overall" not in text
    assert format_scores(evaluation) in text
    assert text.endswith(format_intervals(evaluation))
    content = results_as_dict(evaluation, ORIGIN)
    assert content["identities_masked"] is True
    assert [row["direction"] for row in content["results"]] == ["ground to aerial"] * 3
    assert format_protocols(Evaluation([first, second])).endswith(
        "overall weighs directions by their numbers of counted queries"
    )


def with_precisions(result, precisions):
    """The result with other average precisions of the visual ranking."""
    ranking = replace(result.rankings[VISUAL], average_precisions=precisions, mAP=float(precisions.mean()))
    return replace(result, rankings={VISUAL: ranking}, distances={VISUAL: result.distances[VISUAL]})


def test_intervals_are_those_of_people_who_are_the_same_in_both_directions(run):
    rng = np.random.default_rng(0)
    evaluation = Evaluation([with_precisions(result, rng.random(6)) for result in run().cases])
    rows = results_as_dict(evaluation, ORIGIN)["results"]
    queries = [query for result in evaluation.cases for query in result.case.query]
    precisions = np.concatenate([result.rankings[VISUAL].average_precisions for result in evaluation.cases])
    for row, part in zip(rows, (slice(6), slice(6, 12), slice(12)), strict=True):
        pids = np.array([query.pid for query in queries[part]])
        assert (row["mAP_low"], row["mAP_high"]) == pytest.approx(bootstrap_interval(precisions[part], pids))
        assert row["mAP_low"] < row["mAP"] < row["mAP_high"]
        assert (row["R1_low"], row["R1"], row["R1_high"]) == (1, 1, 1)
    table = format_intervals(evaluation).splitlines()
    assert f"{100 * rows[2]['mAP_low']:.1f}-{100 * rows[2]['mAP_high']:.1f}" in table[-1]
    assert table[-1].split()[-1] == "3"
