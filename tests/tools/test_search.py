"""The search command: from files to files, by memory and by a table, and what it answers to mistakes."""

import json
import logging
import re

import numpy as np
import pytest

from search.feature_file import make_table, write_features
from tools.search import main
from utils.commands import run_command

ORIGIN = {"weights": "a1", "transform": "288x144"}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """``write(name, a=degrees, ...)``: a feature file of points of the unit circle."""
    monkeypatch.chdir(tmp_path)

    def build(name, length=1, origin=ORIGIN, **degrees):
        angles = np.deg2rad(list(degrees.values()))
        features = length * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        keys = list(degrees)
        table = make_table(origin, key=keys, feature=features, camera=np.arange(len(keys)), picture=keys)
        write_features(table, tmp_path / name)

    return build


@pytest.fixture
def complaint(caplog):
    """``complaint(*words)``: the one line that the command ends with."""

    def run(*words):
        caplog.clear()
        assert run_command(lambda: main(list(words))) == 1
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "\n" not in record.getMessage()
        return record.getMessage()

    return run


@pytest.mark.parametrize("place", ["files", "table"])
def test_from_files_to_files(write, place, tmp_path, caplog, capsys):
    caplog.set_level(logging.INFO)
    write("one.npz", a=0, b=60)
    write("two.npz", c=90)
    write("queries.npz", q=95, r=270)
    searched = ["one.npz", "two.npz"]
    if place == "table":
        pytest.importorskip("search.lance_table")
        write("old.npz", a=200, z=95)
        main(["load", "old.npz", "--into", "people.lance"])
        main(["load", "one.npz", "two.npz", "--into", "people.lance", "--replace"])
        main(["delete", "--index", "people.lance", "z"])
        assert "people.lance holds 3 tracklets" in caplog.text
        searched = ["--index", "people.lance"]
    main(["find", *searched, "--queries", "queries.npz", "--top", "2", "--max_distance", "0.1", "--output", "found"])
    q, r = json.loads((tmp_path / "found/search.json").read_text())["queries"]
    assert [hit["key"] for hit in q["found"]] == ["c", "b"]
    assert (q["match"], r["match"]) == (True, False)
    assert "1 of 2 queries have no match" in caplog.text
    assert (tmp_path / "found/search.html").is_file()
    capsys.readouterr()
    main(["find", *searched, "--key", "c", "--where", "camera=1"])
    assert "nothing is judged" in caplog.text
    shown = capsys.readouterr().out  # camera 1 recorded b alone; 30 degrees apart
    assert re.search(r"^c +1 +b +1 +0\.2679 *$", shown, re.MULTILINE)
    assert len(shown.splitlines()) == 3


def test_the_threshold_comes_from_an_evaluation(write, complaint, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    point = {"threshold": 0.25, "false_positive_rate": 0.01, "true_positive_rate": 0.9}
    row = {"method": "visual only", "direction": "up", "operating_points": [point], "roc": []}
    (tmp_path / "results.json").write_text(
        json.dumps({"checkpoint": "best.pth", "data": "demo in /data", "verification": [row]})
    )
    write("one.npz", a=0, b=60)
    main(["find", "one.npz", "--queries", "one.npz", "--results", "results.json"])
    assert "Accepted up to a distance of 0.25 (results.json, up" in caplog.text
    assert "2 of 2 queries have no match" in caplog.text
    assert "The threshold was measured on other data, demo in /data" in caplog.text
    assert "If all 2 tracklets are of other people, 0.02 are expected" in caplog.text
    write("any.npz", a=0, b=60, length=3)
    words = ("find", "any.npz", "--key", "a", "--results", "results.json")
    assert "--results compares descriptors of length 1" in complaint(*words)


def test_mistakes_are_one_line(write, complaint):
    write("one.npz", a=0, b=60)
    write("other.npz", c=0, origin={**ORIGIN, "weights": "b2"})
    for words, problem in [
        (["one.npz", "--queries", "other.npz"], "the file of queries cannot be compared with one.npz"),
        (["one.npz", "--key", "a", "--where", "view=aerial"], "no tracklet to search in, or none that fits --where"),
        # Before the towers are opened, which takes seconds.
        (["one.npz", "--text", "man", "--text_tower", "none.pt"], "no vectors to compare with texts.*extract_features"),
    ]:
        assert re.search(problem, complaint("find", *words)), words
    pytest.importorskip("search.lance_table")
    assert "none.lance is no table" in complaint("find", "--index", "none.lance", "--key", "a")
    assert "none.lance is no table" in complaint("delete", "--index", "none.lance", "a")
