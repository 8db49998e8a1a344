"""Results as data and as text."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from processor.evaluation.results import VISUAL, Evaluation
from processor.report.tables import (
    MEASURES,
    collect_results,
    format_results,
    format_verification,
    measures_by_query,
    score_methods,
    verify_pairs,
)
from search.threshold import VISUAL as SEARCHED
from utils.bootstrap import bootstrap_interval
from utils.metrics import PROTOCOLS, evaluate_ranking
from utils.text import percent


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
def test_the_mean_over_queries_is_the_measure(protocol):
    rng = np.random.default_rng(0)
    q_pids, g_pids = rng.integers(9, size=40), rng.integers(7, size=60)  # people 7 and 8 have no match
    q_camids, g_camids = rng.integers(2, size=40), rng.integers(2, size=60)
    ranking = evaluate_ranking(rng.random((40, 60)), q_pids, g_pids, q_camids, g_camids, protocol=protocol)
    values = measures_by_query(ranking.average_precisions, ranking.first_ranks, ranking.inverse_penalties)
    assert tuple(values) == MEASURES
    expected = [*ranking.cmc[[0, 4, 9, 19]], ranking.mAP, ranking.mINP]
    assert [value.mean() for value in values.values()] == pytest.approx(expected)


def test_visual_rows_come_first_and_the_others_are_labelled(run):
    evaluation = run()
    scores = score_methods(evaluation)
    content = json.loads(json.dumps(collect_results(evaluation, {"data": "AG-VPReID"}, scores)))
    assert (content["data"], list(content["protocols"])) == ("AG-VPReID", ["cross-camera"])
    assert (content["identities_masked"], content["results"]) == (False, scores)
    assert all(0 <= row[name] <= 1 for row in scores for name in (*MEASURES, "mAP@20"))
    assert [row["annotated_attributes"] for row in scores] == [False] * 3 + [True] * 6
    assert [row["direction"] for row in scores] == ["aerial to ground", "ground to aerial", "overall"] * 3
    assert all(("annotated attributes" in row["method"]) == row["annotated_attributes"] for row in scores)
    assert [(row["num_valid_queries"], row["num_people"]) for row in scores[:3]] == [(6, 3), (6, 3), (12, 3)]
    _, table, _ = format_results(evaluation, scores).split("\n\n")
    header, _, *rows = table.splitlines()
    assert header.split() == ["method", "direction", *MEASURES, "queries"]
    assert [row.startswith("visual only  ") for row in rows] == [True] * 3 + [False] * 6
    assert rows[0].split()[-8:] == ["ground", *["100.00"] * 6, "6"]
    expanded = score_methods(run(("case1",), "TEST.RE_RANKING", True, "TEST.RE_RANKING_K1", 3))
    table = format_results(run(("case1",)), expanded)
    assert re.search(r"^re-ranked \(uses the whole query set\) +aerial", table, re.MULTILINE)
    assert {row["direction"] for row in expanded} == {"aerial to ground"}  # no overall row of one direction


def test_a_masked_direction_is_named_and_has_no_row(run):
    first, second = run().cases
    masked = replace(first, case=replace(first.case, identities_masked=True), rankings={})
    evaluation = Evaluation([masked, second])
    scores = score_methods(evaluation)
    assert [row["direction"] for row in scores] == ["ground to aerial"] * 3
    text = format_results(evaluation, scores)
    assert "not scored, because their test identities are masked: aerial to ground" in text.splitlines()
    assert collect_results(evaluation, {}, scores)["identities_masked"] is True
    assert "overall weighs directions" not in text
    assert "overall weighs directions" in format_results(Evaluation([first, second]), ())


def test_intervals_are_those_of_people_who_are_the_same_in_both_directions(run):
    precisions, results = np.random.default_rng(0).random(12), []
    for result, own in zip(run().cases, (precisions[:6], precisions[6:]), strict=True):
        ranking = replace(result.rankings[VISUAL], average_precisions=own)
        results.append(replace(result, rankings={VISUAL: ranking}, distances={VISUAL: result.distances[VISUAL]}))
    rows = score_methods(Evaluation(results))
    pids = np.array([query.pid for result in results for query in result.case.query])
    for row, part in zip(rows, (slice(6), slice(6, 12), slice(12)), strict=True):
        assert (row["mAP_low"], row["mAP_high"]) == pytest.approx(bootstrap_interval(precisions[part], pids[part]))
        assert row["mAP_low"] < row["mAP"] < row["mAP_high"]
        assert (row["R1_low"], row["R1"], row["R1_high"]) == (1, 1, 1)
    last = format_results(Evaluation(results), rows).splitlines()[-1]
    assert f"{percent(rows[2]['mAP_low'])}-{percent(rows[2]['mAP_high'])}" in last
    assert last.split()[-1] == "3"


def test_every_method_and_direction_is_verified(run, collect):
    evaluation = run()
    rows = verify_pairs(collect(evaluation))
    assert [row["direction"] for row in rows] == ["aerial to ground", "ground to aerial"] * 3
    # Three people with two tracklets on each side, told apart by their colour.
    assert {(row["num_positive_pairs"], row["num_negative_pairs"]) for row in rows} == {(3 * 2 * 2, 3 * 2 * 4)}
    result = evaluation.cases[0]
    is_same = np.array([result.matches(index) for index in range(len(result.case.query))])
    largest = float(result.distances[VISUAL].matrix().numpy()[is_same].max())
    assert [row["method"] == SEARCHED for row in rows] == [True, True, *[False] * 4]
    assert rows[0]["equal_error_rate"] == 0
    assert rows[0]["operating_points"][2]["threshold"] == rows[0]["equal_error_threshold"] == largest
    assert [point["true_positive_rate"] for point in rows[0]["roc"]] == [1] * 26
    line = format_verification(rows[:1]).splitlines()[-1]
    assert line.count(f"100.00 ({largest:.4g})") == 3
    assert line.endswith(f"  0.00 ({largest:.4g})")
