"""tools.dataset describe: from folders of one's own to a trained and evaluated model."""

import csv
import itertools
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import eval_main
import train_main
from datasets.split import read_pids
from tools import dataset

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


def test_splits_in_the_names_are_kept(build):
    root = build("{person}/{camera}/{tracklet}")
    for person, split in zip(PEOPLE, 3 * ["train"] + 3 * ["test"], strict=True):
        (root / split).mkdir(exist_ok=True)
        shutil.move(root / person, root / split / person)
    describe(root, "--pattern", "{split}/{person}/{camera}/{tracklet}")
    splits = {row["person"]: row["split"] for row in rows_of(root / "tracklets.csv")}
    assert splits == dict.fromkeys(PEOPLE[:3], "train") | dict.fromkeys(PEOPLE[3:], "test")


def test_people_are_drawn_into_a_list(make_tree, tmp_path, tiny_opts, capsys, caplog):
    words = ["--fraction", "0.5", "--seed", "1", "--output", str(tmp_path / "pids.txt"), *tiny_opts]
    words = ["split", *words, "DATASETS.ROOT_DIR", str(make_tree())]
    assert dataset.main(words) == 0
    assert len(read_pids(tmp_path / "pids.txt")) == 2
    assert "names 2 of 4 people" in capsys.readouterr().out
    assert dataset.main(words) == 1
    assert "pids.txt exists already" in caplog.text


def test_a_copy_with_small_frames(make_tree, tmp_path, capsys):
    words = ["resize", str(make_tree()), str(tmp_path / "copy"), "--size", "32", "16", "--workers", "1"]
    assert dataset.main(words) == 0
    assert "240 frames resized, 5 files copied, 0 were there already" in capsys.readouterr().out
