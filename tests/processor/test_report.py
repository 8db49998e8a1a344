"""What an evaluation leaves behind."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from datasets import make_dataset
from processor.evaluate import VISUAL, evaluate
from processor.report import format_table, to_json, write_report
from utils.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
ORIGIN = {"checkpoint": "logs/all/checkpoint_best.pth", "data": "data/AG-VPReID"}
HEADER = ["row_id", "query_tracklet", "gallery_tracklets"]


class Colour(nn.Module):
    def forward(self, clips, camids):
        return clips.mean(dim=(1, 3, 4))


@pytest.fixture
def run(make_tree, tiny_cfg):
    """``run(cases, *overrides, **tree options)``: an evaluation of the generated people by their mean colour."""

    def build(cases=("case1", "case2"), *opts, **tree):
        cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(**tree), *opts)
        dataset = make_dataset(cfg)
        chosen = [dataset.cases[name] for name in cases]
        return evaluate(cfg, Colour(), chosen, {}, RUNTIME, dataset.identities_masked)

    return build


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_table_puts_visual_rows_first_and_labels_the_others(run):
    table = format_table(run())
    rows = table.splitlines()
    assert rows[0].split() == ["method", "direction", "R1", "R5", "R10", "R20", "mAP", "mINP", "queries"]
    assert [row.startswith("visual only  ") for row in rows[2:]] == [True] * 3 + [False] * 3
    assert all("annotated attributes" in row for row in rows[5:])
    assert rows[2].split()[-8:] == ["ground", *["100.00"] * 6, "6"]
    assert "overall" in rows[4]
    assert "overall" in rows[7]
    assert rows[4].split()[-1] == "12"


def test_a_single_direction_has_no_overall_row(run):
    assert "overall" not in format_table(run(cases=("case1",)))


def test_without_attributes_there_are_only_visual_rows(run, caplog):
    table = format_table(run(attributes=False))
    assert "annotated" not in table
    for direction in ("aerial to ground", "ground to aerial"):
        assert f"{direction}: the data have no annotated attributes: only visual rows" in caplog.text


def test_json_labels_annotated_rows_and_states_the_protocol(run):
    evaluation = run()
    content = json.loads(json.dumps(to_json(evaluation, ORIGIN)))
    assert list(content["protocols"]) == ["cross-camera"]
    assert content["identities_masked"] is False
    assert content.items() >= ORIGIN.items()
    rows = content["results"]
    assert [row["annotated_attributes"] for row in rows] == [False] * 3 + [True] * 3
    assert [row["direction"] for row in rows] == ["aerial to ground", "ground to aerial", "overall"] * 2
    assert all(("annotated attributes" in row["method"]) == row["annotated_attributes"] for row in rows)
    assert all(0 <= row[name] <= 1 for row in rows for name in ("R1", "R5", "R10", "R20", "mAP", "mINP"))
    assert [row["num_valid_queries"] for row in rows[:3]] == [6, 6, 12]


def test_submission_runs_on_across_both_cases(run, tmp_path):
    evaluation = run()
    folder = tmp_path / "results"
    folder.mkdir()
    written = write_report(evaluation, folder, ranking_length=4, origin=ORIGIN, pictures=False)
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


def test_attributes_in_one_direction_only(make_tree, tiny_cfg, tmp_path, caplog):
    root = make_tree()
    (root / "attributes/case2_ground_to_aerial/gallery.csv").unlink()
    cfg = tiny_cfg("DATASETS.ROOT_DIR", root)
    evaluation = evaluate(cfg, Colour(), list(make_dataset(cfg).cases.values()), {}, RUNTIME)
    assert "ground to aerial: the data have no annotated attributes" in caplog.text
    assert "aerial to ground: the data have no" not in caplog.text
    rows = to_json(evaluation, ORIGIN)["results"]
    assert [(row["direction"], row["annotated_attributes"]) for row in rows] == [
        ("aerial to ground", False),
        ("ground to aerial", False),
        ("overall", False),
        ("aerial to ground", True),
    ]
    folder = tmp_path / "results"
    folder.mkdir()
    write_report(evaluation, folder, ranking_length=4, origin=ORIGIN, pictures=False)
    assert [path.name for path in folder.glob("submission*")] == ["submission.csv"]


def test_the_form_of_vreid_xfd(run, tmp_path):
    """Full rankings, and the case in the place of the row's number."""
    evaluation = run()
    for number, result in enumerate(evaluation.cases):
        case = replace(result.case, ranking_form="vreid-xfd")
        evaluation.cases[number] = replace(result, case=case)
    write_report(evaluation, tmp_path, ranking_length=0, origin=ORIGIN, pictures=False)
    header, *rows = read(tmp_path / "submission.csv")
    assert header == ["case", "query_tracklet", "ranked_gallery_tracklets"]
    assert [row[0] for row in rows] == ["case1_aerial_to_ground"] * 6 + ["case2_ground_to_aerial"] * 6
    for result, part in zip(evaluation.cases, (rows[:6], rows[6:]), strict=True):
        assert [row[1] for row in part] == [query.name for query in result.case.query]
        everybody = sorted(tracklet.name for tracklet in result.case.gallery)
        assert all(sorted(row[2].split(" ")) == everybody for row in part)


def test_rankings_list_the_nearest_first(run, tmp_path):
    evaluation = run(cases=("case1",), masked=True)
    write_report(evaluation, tmp_path, ranking_length=3, origin=ORIGIN, pictures=False)
    (result,) = evaluation.cases
    for row, distances in zip(read(tmp_path / "tracklet_rankings.csv")[1:], result.distmats[VISUAL], strict=True):
        order = sorted(range(6), key=list(distances).__getitem__)[:3]
        assert row[2].split() == [result.case.gallery[index].name for index in order]


def test_a_short_gallery_gives_all_it_has(run, tmp_path):
    write_report(run(cases=("case1",)), tmp_path, ranking_length=20, origin=ORIGIN, pictures=False)
    assert {len(row[2].split()) for row in read(tmp_path / "tracklet_rankings.csv")[1:]} == {6}


def test_a_single_direction_is_written_into_the_folder_itself(run, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    write_report(run(cases=("case2",), tracklets=1), folder, ranking_length=20, origin=ORIGIN)
    assert names(folder) == {
        "results.txt",
        "results.json",
        "ranked_best.png",
        "ranked_worst.png",
        "tracklet_rankings.csv",
        "tracklet_rankings_annotated_attributes.csv",
        "distmat.npz",
        "distmat_annotated_attributes.npz",
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
    assert not {name for name in written if "results" in name or name.endswith(".png")}
    assert len(read(folder / "submission.csv")) == 13


def test_distances_are_saved_with_the_keys_of_rows_and_columns(run, tmp_path):
    evaluation = run(cases=("case1",))
    write_report(evaluation, tmp_path, ranking_length=20, origin=ORIGIN, pictures=False)
    (result,) = evaluation.cases
    with np.load(tmp_path / "distmat.npz") as saved:
        assert saved["distmat"].shape == (len(saved["query_keys"]), len(saved["gallery_keys"]))
        assert saved["query_keys"].tolist() == [tracklet.key for tracklet in result.case.query]
        assert saved["gallery_pids"].tolist() == [tracklet.pid for tracklet in result.case.gallery]
        assert saved["query_camids"].tolist() == [4] * 6
        nearest = saved["gallery_pids"][saved["distmat"].argmin(axis=1)]
        assert (nearest == saved["query_pids"]).all()


def test_pictures_are_valid_and_different(run, tmp_path):
    torch.manual_seed(0)
    write_report(run(cases=("case1",), tracklets=1), tmp_path, ranking_length=20, origin=ORIGIN)
    pictures = []
    for name in ("ranked_best.png", "ranked_worst.png"):
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"
            pictures.append(np.asarray(image.convert("RGB")))
    assert min(min(picture.shape[:2]) for picture in pictures) > 200
    assert pictures[0].std() > 10
    assert pictures[0].shape != pictures[1].shape or (pictures[0] != pictures[1]).any()


def test_pictures_survive_an_unreadable_frame(run, tmp_path):
    evaluation = run(cases=("case1",), tracklets=1, num_frames=1)
    for tracklet in evaluation.cases[0].case.query:
        with open(tracklet.frame_paths[0], "wb") as file:
            file.write(b"not an image")
    written = write_report(evaluation, tmp_path, ranking_length=20, origin=ORIGIN)
    assert tmp_path / "ranked_best.png" in written
