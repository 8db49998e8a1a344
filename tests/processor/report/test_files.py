"""Files of rankings, distances and queries."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from processor.evaluation.results import VISUAL, Evaluation
from processor.report.compare import SCORES, read_queries
from processor.report.files import QUERY_COLUMNS, write_queries

pytestmark = pytest.mark.usefixtures("without_pictures")


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_submission_runs_on_across_both_cases(run, report, tmp_path):
    evaluation = run()
    written = report(evaluation, tmp_path)
    assert set(tmp_path.rglob("*.csv")) == {path for path in written if path.suffix == ".csv"}
    queries = [tracklet.name for result in evaluation.cases for tracklet in result.case.query]
    for slug in ("", "_annotated_attributes"):
        header, *rows = read(tmp_path / f"submission{slug}.csv")
        assert header == ["row_id", "query_tracklet", "gallery_tracklets"]
        assert [row[:2] for row in rows] == [[str(number), name] for number, name in enumerate(queries, start=1)]
        for result, part in zip(evaluation.cases, (rows[:6], rows[6:]), strict=True):
            single = read(tmp_path / result.case.name / f"tracklet_rankings{slug}.csv")[1:]
            assert [row[0] for row in single] == [str(number) for number in range(1, 7)]
            assert [row[1:] for row in single] == [row[1:] for row in part]
    result = evaluation.cases[0]
    rows = read(tmp_path / result.case.name / "tracklet_rankings.csv")[1:]
    for row, distances in zip(rows, result.distances[VISUAL].matrix(), strict=True):
        order = sorted(range(6), key=list(distances).__getitem__)[:4]
        assert row[2].split(" ") == [result.case.gallery[index].name for index in order]


def test_the_form_of_vreid_xfd(run, report, tmp_path):
    """Full rankings, and the case in the place of the row's number."""
    cases = [replace(result, case=replace(result.case, ranking_form="vreid-xfd")) for result in run().cases]
    report(Evaluation(cases), tmp_path, length=0)
    header, *rows = read(tmp_path / "submission.csv")
    assert header == ["case", "query_tracklet", "ranked_gallery_tracklets"]
    assert [row[0] for row in rows] == ["case1_aerial_to_ground"] * 6 + ["case2_ground_to_aerial"] * 6
    for result, part in zip(cases, (rows[:6], rows[6:]), strict=True):
        assert [row[1] for row in part] == [query.name for query in result.case.query]
        everybody = sorted(tracklet.name for tracklet in result.case.gallery)
        assert all(sorted(row[2].split(" ")) == everybody for row in part)


def test_a_short_gallery_and_distances_with_the_keys_of_rows_and_columns(run, report, tmp_path):
    (result,) = (evaluation := run(cases=("case1",))).cases
    report(evaluation, tmp_path, length=20, save_distances=True)
    assert {len(row[2].split()) for row in read(tmp_path / "tracklet_rankings.csv")[1:]} == {6}
    with np.load(tmp_path / "distmat.npz") as saved:
        assert saved["distmat"].shape == (len(saved["query_keys"]), len(saved["gallery_keys"]))
        assert saved["query_keys"].tolist() == [tracklet.key for tracklet in result.case.query]
        assert saved["gallery_pids"].tolist() == [tracklet.pid for tracklet in result.case.gallery]
        assert saved["query_camids"].tolist() == [4] * 6
        nearest = saved["gallery_pids"][saved["distmat"].argmin(axis=1)]
        assert (nearest == saved["query_pids"]).all()
    assert (tmp_path / "distmat_annotated_attributes.npz").is_file()


def test_scores_come_back_exactly(run, tmp_path):
    (result,) = run(cases=("case1",)).cases
    ranking = replace(
        result.rankings[VISUAL],
        average_precisions=np.random.default_rng(0).random(5),
        first_ranks=np.array([np.inf, 1, 2.5, 3, 4]),
        inverse_penalties=np.random.default_rng(1).random(5),
        valid_queries=np.arange(6) != 2,
    )
    result = replace(result, rankings={VISUAL: ranking}, distances={VISUAL: result.distances[VISUAL]})
    write_queries(tmp_path / "queries.csv", Evaluation([result]))
    header, *rows = read(tmp_path / "queries.csv")
    assert tuple(header) == QUERY_COLUMNS
    for row, query in zip(rows, [query for n, query in enumerate(result.case.query) if n != 2], strict=True):
        known = (query.key, query.pid, query.camid, query.view, query.altitude, query.day, len(query.frame_paths))
        assert row[2:9] == ["" if value is None else str(value) for value in known]
    ((part, queries),) = read_queries(tmp_path / "queries.csv").items()
    assert part == ("visual only", "aerial to ground")
    counted = [query for index, query in enumerate(result.case.query) if index != 2]
    assert {key: pid for key, (pid, _) in queries.items()} == {query.key: query.pid for query in counted}
    scores = np.stack([ranking.first_ranks, ranking.average_precisions, ranking.inverse_penalties], axis=1)
    assert len(SCORES) == 3
    np.testing.assert_array_equal([own for _, own in queries.values()], scores)
