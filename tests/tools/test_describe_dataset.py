"""tools/describe_dataset.py: from folders of one's own to a trained and evaluated model."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import eval_main
import train_main
from datasets.readers import own_splits
from tools import dataset
from tools.describe_dataset import FRACTION, SEED, main

PEOPLE = ("Anna Müller", "bob", "carla", "dieter", "émile", "李")
OPTS = ["DATASETS.NAMES", "folder", "DATASETS.EVAL_CASE", "all", "TEST.MASK_ATTRIBUTES", "()"]


@pytest.fixture
def build(tmp_path):
    """``build(form)``: write six people of different colours, each in four tracklets of four frames."""

    def write(form, cameras=("1", "2"), name="own data"):
        for index, person in enumerate(PEOPLE):
            for camera in cameras:
                for tracklet in (1, 2):
                    folder = tmp_path / name / form.format(person=person, camera=camera, tracklet=tracklet)
                    folder.mkdir(parents=True)
                    rng = np.random.default_rng([index, tracklet])
                    for frame in range(4):
                        pixels = 40 * index + rng.integers(0, 30, (64, 32, 3))
                        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{frame}.png")
        return tmp_path / name

    return write


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_defaults_are_those_of_the_draw():
    assert (FRACTION, SEED) == (own_splits.FRACTION, own_splits.SEED)


def test_from_folders_to_results(build, tmp_path, tiny_opts, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)
    root = build("{person}/cam{camera}_{tracklet}")
    main([str(root)])
    assert "Read by {person}/cam{camera}_{tracklet} (guessed; --pattern corrects it)" in caplog.text
    assert f"python -m tools.dataset check --config_file configs/own_data.yml DATASETS.ROOT_DIR '{root}'" in caplog.text

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


def test_people_without_cameras_are_searched_in_all_tracklets(build, tmp_path, tiny_opts, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = build("{person}/{tracklet}", cameras=("",))
    main([str(root), "--pattern", "{person}/{tracklet}", "--seed", "3"])
    train_main.main(["--output_dir", "logs", *tiny_opts, *OPTS, "DATASETS.ROOT_DIR", str(root)])
    eval_main.main(["--output_dir", "logs"])
    assert "scored by the protocol all-cameras" in (tmp_path / "logs/results/eval.log").read_text()
    assert list(json.loads((tmp_path / "logs/results/results.json").read_text())["protocols"]) == ["all-cameras"]


def test_a_table_is_never_replaced_without_force(build):
    root = build("{camera}/{person}_{tracklet}")
    main([str(root), "--pattern", "{camera}/{person}_{tracklet}"])
    first = (root / "tracklets.csv").read_text()
    with pytest.raises(ValueError, match=r"tracklets\.csv exists already: --force replaces it, --output names"):
        main([str(root), "--pattern", "{camera}/{person}_{tracklet}", "--seed", "1"])
    assert (root / "tracklets.csv").read_text() == first
    main([str(root), "--pattern", "{camera}/{person}_{tracklet}", "--seed", "1", "--force"])
    assert (root / "tracklets.csv").read_text() != first


def test_another_table_of_the_same_folder(build, tmp_path, caplog):
    caplog.set_level("INFO")
    root = build("{person}/{camera}/{tracklet}")
    main([str(root), "--output", str(tmp_path / "half.csv"), "--test_share", "0.5"])
    assert f"DATASETS.TABLE {tmp_path / 'half.csv'}" in caplog.text
    assert not (root / "tracklets.csv").exists()
    test = {row["person"] for row in rows_of(tmp_path / "half.csv") if row["split"] != "train"}
    assert len(test) == 3


def test_splits_are_added_to_a_table_and_its_other_columns_stay(build, tmp_path):
    root = build("{person}/{camera}/{tracklet}")
    lines = [f"{person}/{camera}/1,{person},{camera},x" for person in PEOPLE for camera in "12"]
    table = root / "tracklets.csv"
    table.write_text("\n".join(["path,person,camera,attribute:bag", *lines]), encoding="utf-8")
    main([str(root), "--table", str(table), "--force"])
    rows = rows_of(table)
    assert [f"{row['path']},{row['person']},{row['camera']},{row['attribute:bag']}" for row in rows] == lines
    assert {row["split"] for row in rows} == {"train", "query+gallery"}


def test_splits_in_the_names_are_kept(build):
    root = build("{person}/{camera}/{tracklet}")
    for split, people in (("train", PEOPLE[:3]), ("test", PEOPLE[3:])):
        for person in people:
            shutil.move(root / person, root / split / person)
    main([str(root)])
    assert {row["person"]: row["split"] for row in rows_of(root / "tracklets.csv")} == {
        **dict.fromkeys(PEOPLE[:3], "train"),
        **dict.fromkeys(PEOPLE[3:], "test"),
    }


def test_a_person_in_train_and_test_is_refused(build):
    root = build("{person}/{camera}/{tracklet}")
    shutil.copytree(root, root / "test")
    for person in PEOPLE:
        shutil.move(root / person, root / "train" / person)
    message = r"tracklets\.csv, line 2: person 'Anna Müller' is in test here and in train on line 29; "
    with pytest.raises(ValueError, match=message):
        main([str(root)])


def test_what_was_understood_is_shown_before_it_is_refused(build, caplog):
    caplog.set_level("INFO")
    root = build("{person}/{camera}/{tracklet}")
    with pytest.raises(ValueError, match="makes 1 test people of 2, of whom 2 were seen by two cameras; .*--pattern"):
        main([str(root), "--pattern", "{tracklet}/{camera}/{person}"])
    assert "Read by {tracklet}/{camera}/{person} (as given)" in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "-1"], "argument --seed: must be at least 0, got -1"),
        (["--pattern", "x", "--table", "y"], "not allowed with argument"),
        ([], "the following arguments are required: root"),
    ],
)
def test_a_bad_command_line(words, message, capsys):
    with pytest.raises(SystemExit):
        main([*(["data"] if words else []), *words])
    assert message in capsys.readouterr().err
