"""The files of a report."""

import csv
import logging
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from datasets import make_dataset
from processor.evaluation.results import Evaluation
from processor.report import write_report
from processor.report.tables import results_as_dict
from utils import distances
from utils.distances import Distances

ORIGIN = {"checkpoint": "logs/all/checkpoint_best.pth", "data": "data/AG-VPReID"}
HEADER = ["row_id", "query_tracklet", "gallery_tracklets"]


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def names(folder):
    """All files of a report; the list of them is hidden."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}


@pytest.mark.usefixtures("without_pictures")
def test_submission_runs_on_across_both_cases(run, tmp_path):
    evaluation = run()
    folder = tmp_path / "results"
    folder.mkdir()
    written = write_report(evaluation, folder, ranking_length=4, origin=ORIGIN)
    assert {str(path.relative_to(folder)) for path in written} == names(folder)
    for slug in ("", "_annotated_attributes"):
        rows = read(folder / f"submission{slug}.csv")
        assert rows[0] == HEADER
        assert [row[0] for row in rows[1:]] == [str(number) for number in range(1, 13)]
        assert all(len(row[2].split(" ")) == 4 for row in rows[1:])
        queries = [tracklet.name for result in evaluation.cases for tracklet in result.case.query]
        assert [row[1] for row in rows[1:]] == queries
        for case in ("case1_aerial_to_ground", "case2_ground_to_aerial"):
            single = read(folder / case / f"tracklet_rankings{slug}.csv")
            assert single[0] == HEADER
            assert [row[0] for row in single[1:]] == [str(number) for number in range(1, 7)]


@pytest.mark.usefixtures("without_pictures")
def test_attributes_in_one_direction_only(make_tree, tiny_cfg, run_evaluation, colour, tmp_path, caplog):
    root = make_tree()
    (root / "attributes/case2_ground_to_aerial/gallery.csv").unlink()
    cfg = tiny_cfg("DATASETS.ROOT_DIR", root)
    evaluation = run_evaluation(cfg, colour, list(make_dataset(cfg).cases.values()))
    assert "ground to aerial: the data have no annotated attributes" in caplog.text
    assert "aerial to ground: the data have no" not in caplog.text
    rows = results_as_dict(evaluation, ORIGIN)["results"]
    assert [(row["direction"], row["annotated_attributes"]) for row in rows] == [
        ("aerial to ground", False),
        ("ground to aerial", False),
        ("overall", False),
        ("aerial to ground", True),
        ("aerial to ground", True),
    ]
    folder = tmp_path / "results"
    folder.mkdir()
    write_report(evaluation, folder, ranking_length=4, origin=ORIGIN)
    assert [path.name for path in folder.glob("submission*")] == ["submission.csv"]


def test_a_single_direction_is_written_into_the_folder_itself(run, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    write_report(run(cases=("case2",), tracklets=1), folder, ranking_length=20, origin=ORIGIN)
    assert names(folder) == {
        "results.txt",
        "results.json",
        "queries.csv",
        "breakdown.txt",
        "ranked_best.png",
        "ranked_worst.png",
        "tracklet_rankings.csv",
        "tracklet_rankings_annotated_attributes.csv",
        "report.html",
        *(
            f"figures/{name}_case2_ground_to_aerial.{suffix}"
            for name in ("cmc", "roc", "distances")
            for suffix in ("png", "pdf")
        ),
    }
    text = (folder / "results.txt").read_text()
    assert "checkpoint: logs/all/checkpoint_best.pth" in text
    assert "protocol: cross-camera: " in text
    assert "annotated attributes" in text


def test_masked_identities_leave_rankings_and_a_submission_but_no_scores(run, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    write_report(run(masked=True), folder, ranking_length=20, origin=ORIGIN)
    written = names(folder)
    assert {"submission.csv", "case1_aerial_to_ground/tracklet_rankings.csv"} <= written
    assert not {
        name
        for name in written
        if "results" in name or name in ("queries.csv", "breakdown.txt") or name.endswith((".png", ".html", ".pdf"))
    }
    assert len(read(folder / "submission.csv")) == 13


@pytest.mark.usefixtures("without_pictures")
def test_a_second_evaluation_deletes_the_first_ones_files_and_no_others(run, tmp_path):
    folder = tmp_path / "results"
    own = ("results.xlsx", "submission_final.csv", "distmat_mine.npz", "case1_notes/results.txt", "ranked_me.png")
    for name in own:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    (folder / "results.d").mkdir()
    evaluation = run()
    write_report(evaluation, folder, ranking_length=4, origin=ORIGIN)
    assert "case1_aerial_to_ground/tracklet_rankings.csv" in names(folder)
    written = write_report(Evaluation(evaluation.cases[1:]), folder, ranking_length=4, origin=ORIGIN)
    assert names(folder) == {*own, *(str(path.relative_to(folder)) for path in written)}


@pytest.mark.parametrize("full", ["RankingFile", "write_page", "draw_best_and_worst"])
@pytest.mark.usefixtures("without_pictures")
def test_a_full_disk_leaves_the_earlier_results(full, run, tmp_path, monkeypatch):
    folder = tmp_path / "results"
    folder.mkdir()
    evaluation = run()
    write_report(evaluation, folder, ranking_length=4, origin=ORIGIN)
    before = {name: (folder / name).read_bytes() for name in names(folder)}

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"processor.report.write.{full}", fail)
    with pytest.raises(OSError, match="No space left"):
        write_report(evaluation, folder, ranking_length=2, origin=ORIGIN)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before
    assert not list(folder.glob(".results.*"))


@pytest.mark.parametrize(
    ("broken", "missing", "warning"),
    [
        ("write.draw_best_and_worst", {"ranked_best.png", "ranked_worst.png"}, "aerial to ground: the pictures of"),
        ("page.write_figures", {"figures/cmc.pdf"}, "figures: left out"),
        ("write.collect_page", {"report.html", "figures/cmc.pdf"}, "report.html: left out"),
    ],
)
def test_an_error_in_a_picture_or_the_page_costs_no_score(broken, missing, warning, run, tmp_path, monkeypatch, caplog):
    def write_files(folder, names):
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_text("drawn")
        return [folder / name for name in names]

    def fail(*args):
        raise ZeroDivisionError("a width of 0")

    pictures = ("ranked_best.png", "ranked_worst.png")
    monkeypatch.setattr("processor.report.write.draw_best_and_worst", lambda result, to: write_files(to, pictures))
    monkeypatch.setattr("processor.report.page.write_figures", lambda data, to: ([], write_files(to, ["cmc.pdf"])))
    evaluation = run(("case1",), tracklets=1)
    folder = tmp_path / "results"
    folder.mkdir()
    write_report(evaluation, folder, ranking_length=4, origin=ORIGIN)
    whole = names(folder)
    monkeypatch.setattr(f"processor.report.{broken}", fail)
    write_report(evaluation, folder, ranking_length=4, origin=ORIGIN)
    assert names(folder) == whole - missing
    assert missing <= whole
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.message.startswith(warning)
    assert "ZeroDivisionError: a width of 0" in caplog.text
    assert "in fail" in caplog.text  # the traceback


@pytest.mark.parametrize("name", ["$\\frac{_^%", '"quoted"\'', "b\udcffd", "x" * 3000, "人"])
def test_strange_names_cost_nothing(name, run, tmp_path, caplog):
    """Half a formula, quotes, bytes that are not UTF-8, a long one: in tracklets, title and origin."""
    evaluation = run(("case1",), tracklets=1)
    (result,) = evaluation.cases
    sides = {
        side: tuple(replace(each, name=f"{name}{index}") for index, each in enumerate(getattr(result.case, side)))
        for side in ("query", "gallery")
    }
    case = replace(result.case, title=name[:100], **sides)
    written = write_report(replace(evaluation, cases=[replace(result, case=case)]), tmp_path, 4, {"data": name})
    assert written[-1].name == "report.html"
    assert (tmp_path / "ranked_worst.png").is_file()
    assert not [record for record in caplog.records if record.name == "utils.commands"]
    rows = (tmp_path / "tracklet_rankings.csv").read_text("utf-8", "surrogateescape").splitlines()
    assert name.replace('"', '""') in rows[1]


def test_an_error_in_the_maps_costs_neither_the_page_nor_a_number(run, tmp_path, monkeypatch, caplog):
    def fail(survey):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr("processor.report.write.draw_best_and_worst", lambda result, folder: [])
    monkeypatch.setattr("processor.report.page.write_figures", lambda data, folder: ([], []))
    evaluation = run(("case1",), tracklets=1)
    write_report(evaluation, tmp_path, ranking_length=4, origin=ORIGIN, make_maps=fail)
    assert {"report.html", "results.json"} <= names(tmp_path)
    assert "aerial to ground: the maps of queries: left out because of an error" in caplog.text


@pytest.mark.usefixtures("without_pictures")
def test_results_that_cannot_be_moved_are_kept(run, tmp_path):
    folder = tmp_path / "results"
    (folder / "results.json").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"results\.json is a folder .* not in place are in .*/results\."):
        write_report(run(), folder, ranking_length=4, origin=ORIGIN)
    (kept,) = folder.glob("results.????????")
    assert (kept / "results.json").is_file()


@pytest.mark.usefixtures("without_pictures")
def test_no_matrix_is_held_and_the_size_of_blocks_changes_nothing(run, tmp_path, monkeypatch):
    def hold(self):
        raise AssertionError("the whole matrix was computed")

    monkeypatch.setattr(Distances, "matrix", hold)
    opts = ("TEST.QUERY_EXPANSION", "average", "TEST.MUTUAL_NEIGHBOURS", "both")
    for name, block in (("whole", 1 << 26), ("rows", 1)):
        monkeypatch.setattr(distances, "_BLOCK_ELEMENTS", block)
        (tmp_path / name).mkdir()
        write_report(run(("case1",), *opts, name=f"data of {name}"), tmp_path / name, ranking_length=0, origin=ORIGIN)
    assert names(tmp_path / "whole") == names(tmp_path / "rows") >= {"tracklet_rankings_query_expansion_average.csv"}
    for name in names(tmp_path / "whole") - {"results.json", "results.txt"}:  # thresholds differ in their last digit
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "rows" / name).read_text(), name


@pytest.mark.usefixtures("without_pictures")
def test_a_report_computes_the_distances_of_a_method_twice(run, tmp_path, monkeypatch):
    """In two directions, which are submitted together."""
    evaluation = run(("case1", "case2"), "TEST.RE_RANKING", True, "TEST.RE_RANKING_K1", 3)
    computed = Counter()
    for result in evaluation.cases:
        for method, own in result.distances.items():
            monkeypatch.setattr(own, "blocks", partial(_count, own.blocks, computed, str(method)))
    write_report(evaluation, tmp_path, ranking_length=4, origin=ORIGIN)
    assert (tmp_path / "submission_reranked.csv").is_file()
    with_mask = {"visual only": 2, "re-ranked": 2}  # the distances that a mask is added to are computed for it, too
    assert computed == {method: 2 * 2 * with_mask.get(method, 1) for method in map(str, evaluation.methods())}


def _count(blocks, computed, method):
    computed[method] += 1
    return blocks()
