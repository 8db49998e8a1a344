"""tools.dataset: describe, up to a trained and evaluated model; check, with its exit status and JSON file; the rest."""

import csv
import itertools
import json

import numpy as np
import pytest
from PIL import Image

import eval_main
import train_main
from datasets.check import check
from datasets.split import read_pids
from tools import dataset

TRACKLET = "train/1/c0n0"
PEOPLE = ("Anna Müller", "bob", "carla", "dieter", "émile", "李")
OPTS = ["DATASETS.NAMES", "folder", "DATASETS.EVAL_CASE", "all", "TEST.MASK_ATTRIBUTES", "()"]


@pytest.fixture
def build(tmp_path):
    """``build(form)``: write six people of different colours, each in four tracklets of four frames."""

    def write(form):
        for (index, person), camera, tracklet in itertools.product(enumerate(PEOPLE), (1, 2), (1, 2)):
            folder = tmp_path / "own data" / form.format(person=person, camera=camera, tracklet=tracklet)
            folder.mkdir(parents=True)
            rng = np.random.default_rng([index, tracklet])
            for frame in range(4):
                pixels = 40 * index + rng.integers(0, 30, (64, 32, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{frame}.png")
        return tmp_path / "own data"

    return write


def describe(*words):
    assert dataset.main(["describe", *map(str, words)]) == 0


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_from_folders_to_results(build, tmp_path, tiny_opts, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = build("{person}/cam{camera}_{tracklet}")
    describe(root, "--pattern", "{person}/cam{camera}_{tracklet}")
    text = capsys.readouterr().out
    assert "Read by {person}/cam{camera}_{tracklet} (as given)" in text
    assert f"python -m tools.dataset check --config_file configs/own_data.yml DATASETS.ROOT_DIR '{root}'" in text

    opts = [*tiny_opts, *OPTS, "DATASETS.ROOT_DIR", str(root)]
    assert dataset.main(["check", "--workers", "1", *opts]) == 0
    train_main.main(["--output_dir", "logs", *opts])
    eval_main.main(["--output_dir", "logs", "TEST.RANKING_LENGTH", "3"])
    results = json.loads((tmp_path / "logs/results/results.json").read_text())
    assert list(results["protocols"]) == ["cross-camera"]
    names = {row["path"].replace(" ", "%20"): row["split"] for row in rows_of(root / "tracklets.csv")}
    rankings = rows_of(tmp_path / "logs/results/tracklet_rankings.csv")
    assert [row["query_tracklet"] for row in rankings] == [name for name in names if names[name] == "query+gallery"]
    for row in rankings:
        ranked = row["gallery_tracklets"].split(" ")
        assert len(set(ranked)) == 3
        assert all("gallery" in names[name] for name in ranked)


def test_a_table_is_replaced_only_with_force(build, caplog):
    root = build("{camera}/{person}_{tracklet}")
    words = (root, "--pattern", "{camera}/{person}_{tracklet}")
    describe(*words)
    first = (root / "tracklets.csv").read_text()
    assert dataset.main(["describe", *map(str, words)]) == 1
    assert "tracklets.csv exists already: --force replaces it" in caplog.text
    describe(*words, "--test_share", "0.5", "--force")
    assert len({row["person"] for row in rows_of(root / "tracklets.csv") if row["split"] != "train"}) == 3
    assert (root / "tracklets.csv").read_text() != first


def test_splits_are_added_to_a_table_and_its_other_columns_stay(build):
    root = build("{person}/{camera}/{tracklet}")
    lines = [f"{person}/{camera}/1,{person},{camera},x" for person in PEOPLE for camera in "12"]
    table = root / "tracklets.csv"
    table.write_text("\n".join(["path,person,camera,attribute:bag", *lines]), encoding="utf-8")
    describe(root, "--table", table, "--force")
    rows = rows_of(table)
    assert [f"{row['path']},{row['person']},{row['camera']},{row['attribute:bag']}" for row in rows] == lines
    assert {row["split"] for row in rows} == {"train", "query+gallery"}


def test_people_are_drawn_into_a_list(make_tree, tmp_path, tiny_opts, capsys, caplog):
    words = ["--fraction", "0.5", "--seed", "1", "--output", str(tmp_path / "pids.txt"), *tiny_opts]
    words = ["split", *words, "DATASETS.ROOT_DIR", str(make_tree())]
    assert dataset.main(words) == 0
    assert len(read_pids(tmp_path / "pids.txt", ())) == 2
    assert "names 2 of 4 people" in capsys.readouterr().out
    assert dataset.main(words) == 1
    assert "pids.txt exists already" in caplog.text


def test_a_copy_with_small_frames(make_tree, tmp_path, capsys):
    words = ["resize", str(make_tree()), str(tmp_path / "copy"), "--size", "32", "16", "--workers", "1"]
    assert dataset.main(words) == 0
    assert "240 frames resized, 5 files copied, 0 were there already" in capsys.readouterr().out


# ---- check


def test_the_command(make_tree, tmp_path, tiny_opts, capsys):
    root = make_tree()
    path = tmp_path / "out/report.json"
    words = ["check", "--workers", "1", "--json", str(path), *tiny_opts, "DATASETS.ROOT_DIR", str(root)]
    assert dataset.main(words) == 0
    assert "Training can start; blocking problems: 0, warnings: 0." in capsys.readouterr().out
    assert json.loads(path.read_text())["can_train"] is True

    for number in range(7):
        (root / TRACKLET / f"{number}.jpg").write_bytes(b"")
    assert dataset.main(words) == 1
    text = capsys.readouterr().out
    assert "... and 2 more" in text
    # 7 frame names, and the share of bad frames.
    assert "Training cannot start; blocking problems: 8, warnings:" in text
    content = json.loads(path.read_text())
    assert content["can_train"] is False
    (names,) = [finding for finding in content["findings"] if finding["check"] == "frame name"]
    assert (names["level"], names["count"], len(names["places"])) == ("blocking", 7, 7)


def test_a_bad_command_line(caplog):
    assert dataset.main(["check", "DATASETS.ROOT", "x"]) == 1
    assert "Did you mean DATASETS.ROOT_DIR?" in caplog.text


def test_an_interruption_keeps_what_was_found(make_tree, tmp_path, tiny_opts, capsys, monkeypatch):
    root = make_tree()
    sorted((root / TRACKLET).iterdir())[0].write_bytes(b"")
    examine, seen = check.examine_tracklet, []

    def interrupt(split, tracklet, size, sample):
        seen.append(tracklet)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return examine(split, tracklet, size, sample)

    monkeypatch.setattr(check, "examine_tracklet", interrupt)
    path = tmp_path / "report.json"
    assert (
        dataset.main(["check", "--workers", "1", "--json", str(path), *tiny_opts, "DATASETS.ROOT_DIR", str(root)])
        == 130
    )
    content = json.loads(path.read_text())
    assert (content["complete"], content["can_train"]) == (False, None)
    assert content["splits"]["train"]["tracklets"] == 2
    assert "empty frame" in {finding["check"] for finding in content["findings"]}
    assert "The check was interrupted. Nothing blocks training so far;" in capsys.readouterr().out
