"""The files of a report, and what they survive."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from processor.evaluation.results import ANNOTATED, VISUAL, Evaluation, Method
from processor.report import pictures
from processor.report.breakdown import break_down
from processor.report.compare import read_queries
from processor.report.write import write_queries
from utils import distances
from utils.distances import Distances

TABLES = ("results.txt", "results.json", "queries.csv", "breakdown.txt")


def names(folder):
    """All files of a report; the list of them is hidden."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_single_direction_is_written_into_the_folder_itself_and_strange_names_cost_nothing(
    run, report, rename, tmp_path, caplog
):
    """Half a formula, quotes, bytes that are not UTF-8: in tracklets, title and origin."""
    strange = '$\\frac{_^%"quoted"\'b\udcffdé'
    evaluation = rename(run(("case2",), tracklets=1), strange)
    assert report(evaluation, tmp_path, origin={"data": strange})[-1].name == "report.html"
    figures = [f"figures/{name}_case2_ground_to_aerial" for name in ("cmc", "roc", "distances")]
    assert names(tmp_path) == {
        *(*TABLES, "report.html", "ranked_best.png", "ranked_worst.png"),
        *("tracklet_rankings.csv", "tracklet_rankings_annotated_attributes.csv"),
        *(f"{figure}.{suffix}" for figure in figures for suffix in ("png", "pdf")),
    }
    assert not [record for record in caplog.records if record.name == "utils.commands"]
    rows = (tmp_path / "tracklet_rankings.csv").read_text("utf-8", "surrogateescape").splitlines()[1:]
    assert all(strange.replace('"', '""') in row for row in rows)
    assert json.loads((tmp_path / "results.json").read_text())["breakdown"] == break_down(evaluation)
    for name, part in (("results.txt", "protocol: cross-camera: "), ("breakdown.txt", "query camera: ")):
        text = (tmp_path / name).read_text()
        assert text.startswith("data: $")
        assert part in text


def test_a_users_words_are_shown_in_place_of_numbers(run, report, tmp_path, monkeypatch):
    def name(side):
        return tuple(
            replace(each, person_word=f"site/p_{each.pid}x", camera_word={4: "sky"}.get(each.camid, "yard"))
            for each in side
        )

    (result,) = run(("case1",), tracklets=1).cases
    case = replace(result.case, query=name(result.case.query), gallery=name(result.case.gallery))
    drawn = []
    monkeypatch.setattr(pictures.Axes, "set_title", lambda axes, text, **style: drawn.append(text))
    report(Evaluation([replace(result, case=case)]), tmp_path)
    people = {f"site/p_{query.pid}x" for query in case.query}
    rows = [row[2:5] for row in read(tmp_path / "queries.csv")[1:]]
    assert {row[1] for row in rows} == people
    assert {(row[0].startswith(f"{row[1]}/"), row[2]) for row in rows} == {(True, "sky")}
    assert {pid for pid, _ in read_queries(tmp_path / "queries.csv").values()} == people
    breakdown = (tmp_path / "breakdown.txt").read_text()
    assert "query camera: sky " in breakdown
    assert "query camera to gallery camera: sky to yard" in breakdown
    page = (tmp_path / "report.html").read_text()
    shown = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["tracklets"]
    assert {each["person"] for each in shown} == people
    assert {each["camera"] for each in shown} == {"sky", "yard"}
    assert {text.split("\n")[1] for text in drawn} == {f"person {person}" for person in people}
    assert {text.split("\n")[2] for text in drawn} == {"camera sky", "camera yard"}


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("form", "length", "header"),
    [
        ("agvpreid", 4, ["row_id", "query_tracklet", "gallery_tracklets"]),
        ("vreid-xfd", 0, ["case", "query_tracklet", "ranked_gallery_tracklets"]),  # full rankings
    ],
)
def test_submission_runs_on_across_both_cases(form, length, header, run, report, tmp_path):
    cases = [replace(result, case=replace(result.case, ranking_form=form)) for result in run().cases]
    written = report(Evaluation(cases), tmp_path, length)
    assert set(tmp_path.rglob("*.csv")) == {path for path in written if path.suffix == ".csv"}
    queries = [tracklet.name for result in cases for tracklet in result.case.query]
    numbers = [str(number) for number in range(1, 13)]
    first = numbers if form == "agvpreid" else ["case1_aerial_to_ground"] * 6 + ["case2_ground_to_aerial"] * 6
    for slug in ("", "_annotated_attributes"):
        top, *rows = read(tmp_path / f"submission{slug}.csv")
        assert top == header
        assert [row[:2] for row in rows] == [list(pair) for pair in zip(first, queries, strict=True)]
        for result, part in zip(cases, (rows[:6], rows[6:]), strict=True):
            single = read(tmp_path / result.case.name / f"tracklet_rankings{slug}.csv")[1:]
            assert [row[1:] for row in single] == [row[1:] for row in part]
            assert single[0][0] in ("1", result.case.name)
    for row, own in zip(rows, cases[0].distances[Method(mask=ANNOTATED)].matrix(), strict=False):
        order = sorted(range(6), key=list(own).__getitem__)[: length or 6]
        assert row[2].split(" ") == [cases[0].case.gallery[index].name for index in order]


@pytest.mark.usefixtures("without_pictures")
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
    assert names(tmp_path) >= {"distmat_annotated_attributes.npz"}
    assert "distmat_attributes_alone_annotated_attributes.npz" not in names(tmp_path)


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
    assert ",".join(header).startswith("method,direction,key,pid,camid,view,altitude,day,num_frames,average_precision,")
    counted = [query for index, query in enumerate(result.case.query) if index != 2]
    for row, query in zip(rows, counted, strict=True):
        known = (query.key, query.pid, query.camid, query.view, query.altitude, query.day, len(query.frame_paths))
        assert row[2:9] == ["" if value is None else str(value) for value in known]
    queries = read_queries(tmp_path / "queries.csv")
    method = ("visual only", "aerial to ground")
    assert {key: pid for key, (pid, _) in queries.items()} == {(*method, query.key): query.pid for query in counted}
    assert header[-3:] == ["average_precision", "first_match_rank", "inverse_negative_penalty"]
    scores = np.stack([ranking.average_precisions, ranking.first_ranks, ranking.inverse_penalties], axis=1)
    np.testing.assert_array_equal([own for _, own in queries.values()], scores)


@pytest.mark.usefixtures("without_pictures")
def test_a_second_evaluation_deletes_the_first_ones_files_and_no_others(run, report, tmp_path):
    own = ("results.xlsx", "submission_final.csv", "distmat_mine.npz", "case1_notes/results.txt", "ranked_me.png")
    for name in own:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    evaluation = run()
    report(evaluation, tmp_path)
    assert "case1_aerial_to_ground/tracklet_rankings.csv" in names(tmp_path)
    written = report(Evaluation(evaluation.cases[1:]), tmp_path)
    assert names(tmp_path) == {*own, *(str(path.relative_to(tmp_path)) for path in written)}


@pytest.mark.parametrize("full", ["ranking_file", "write_page", "draw_best_and_worst"])
@pytest.mark.usefixtures("without_pictures")
def test_a_full_disk_leaves_the_earlier_results(full, run, report, tmp_path, monkeypatch):
    evaluation = run()
    report(evaluation, tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"processor.report.write.{full}", fail)
    with pytest.raises(OSError, match="No space left"):
        report(evaluation, tmp_path, length=2)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_errors_in_pictures_and_the_page_cost_no_score(run, report, tmp_path, monkeypatch, caplog):
    def fail(*args):
        raise ZeroDivisionError("a width of 0")

    for name in ("write.draw_best_and_worst", "report_page.write_figures", "report_page.render_page"):
        monkeypatch.setattr(f"processor.report.{name}", fail)
    report(run(("case1",), tracklets=1), tmp_path, make_maps=fail)
    assert names(tmp_path) == {*TABLES, "tracklet_rankings.csv", "tracklet_rankings_annotated_attributes.csv"}
    records = [record for record in caplog.records if record.exc_info and record.exc_info[0] is ZeroDivisionError]
    parts = ("aerial to ground: the pictures of", "aerial to ground: the maps of queries", "figures", "report.html")
    for record, part in zip(records, parts, strict=True):
        assert record.message.startswith(part)
        assert "left out because of an error" in record.message


@pytest.mark.usefixtures("without_pictures")
def test_no_matrix_is_held_and_the_size_of_blocks_changes_nothing(run, report, tmp_path, monkeypatch):
    def hold(self):
        raise AssertionError("the whole matrix was computed")

    monkeypatch.setattr(Distances, "matrix", hold)
    evaluation = run(("case1",), "TEST.QUERY_EXPANSION", "average", "TEST.MUTUAL_NEIGHBOURS", "both")
    for name, block in (("whole", 1 << 26), ("rows", 1)):
        monkeypatch.setattr(distances, "_BLOCK_ELEMENTS", block)
        report(evaluation, tmp_path / name, length=0)
    assert names(tmp_path / "whole") == names(tmp_path / "rows") >= {"tracklet_rankings_query_expansion_average.csv"}
    for name in names(tmp_path / "whole") - {"results.json", "results.txt"}:  # thresholds differ in their last digit
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "rows" / name).read_text(), name
