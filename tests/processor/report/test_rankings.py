"""Files of rankings and distances."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from processor.evaluation.results import VISUAL
from processor.report.write import write_report

ORIGIN = {"checkpoint": "logs/all/checkpoint_best.pth", "data": "data/AG-VPReID"}
pytestmark = pytest.mark.usefixtures("without_pictures")


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_the_form_of_vreid_xfd(run, tmp_path):
    """Full rankings, and the case in the place of the row's number."""
    evaluation = run()
    for number, result in enumerate(evaluation.cases):
        case = replace(result.case, ranking_form="vreid-xfd")
        evaluation.cases[number] = replace(result, case=case)
    write_report(evaluation, tmp_path, ranking_length=0, origin=ORIGIN)
    header, *rows = read(tmp_path / "submission.csv")
    assert header == ["case", "query_tracklet", "ranked_gallery_tracklets"]
    assert [row[0] for row in rows] == ["case1_aerial_to_ground"] * 6 + ["case2_ground_to_aerial"] * 6
    for result, part in zip(evaluation.cases, (rows[:6], rows[6:]), strict=True):
        assert [row[1] for row in part] == [query.name for query in result.case.query]
        everybody = sorted(tracklet.name for tracklet in result.case.gallery)
        assert all(sorted(row[2].split(" ")) == everybody for row in part)


def test_rankings_list_the_nearest_first(run, tmp_path):
    evaluation = run(cases=("case1",), masked=True)
    write_report(evaluation, tmp_path, ranking_length=3, origin=ORIGIN)
    (result,) = evaluation.cases
    matrix = result.distances[VISUAL].matrix()
    for row, distances in zip(read(tmp_path / "tracklet_rankings.csv")[1:], matrix, strict=True):
        order = sorted(range(6), key=list(distances).__getitem__)[:3]
        assert row[2].split() == [result.case.gallery[index].name for index in order]


def test_a_short_gallery_gives_all_it_has(run, tmp_path):
    write_report(run(cases=("case1",)), tmp_path, ranking_length=20, origin=ORIGIN)
    assert {len(row[2].split()) for row in read(tmp_path / "tracklet_rankings.csv")[1:]} == {6}


def test_distances_are_saved_with_the_keys_of_rows_and_columns(run, tmp_path):
    evaluation = run(cases=("case1",))
    write_report(evaluation, tmp_path, ranking_length=20, origin=ORIGIN, save_distances=True)
    (result,) = evaluation.cases
    with np.load(tmp_path / "distmat.npz") as saved:
        assert saved["distmat"].shape == (len(saved["query_keys"]), len(saved["gallery_keys"]))
        assert saved["query_keys"].tolist() == [tracklet.key for tracklet in result.case.query]
        assert saved["gallery_pids"].tolist() == [tracklet.pid for tracklet in result.case.gallery]
        assert saved["query_camids"].tolist() == [4] * 6
        nearest = saved["gallery_pids"][saved["distmat"].argmin(axis=1)]
        assert (nearest == saved["query_pids"]).all()
