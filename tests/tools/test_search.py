"""The command: from files to files, and what it answers to mistakes."""

import json
import logging
import multiprocessing
import re

import numpy as np
import pytest

from search import commands
from search.described import DescribedTracklets, write_described
from search.index import read_index
from tools.search import main, parse_args
from utils.commands import run_command

ORIGIN = {"weights": "a1", "transform": "288x144"}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """``write(name, a=degrees, ...)``: a file of features that are points of the unit circle."""
    monkeypatch.chdir(tmp_path)

    def build(name, keys=None, origin=ORIGIN, **degrees):
        angles = np.deg2rad(list(degrees.values()))
        features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        keys = keys or list(degrees)
        write_described(DescribedTracklets(keys, features, np.full(len(keys), -1), keys, None, origin), tmp_path / name)

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


def test_from_files_to_files(write, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write("one.npz", a=0, b=60)
    write("two.npz", c=90)
    write("three.npz", c=100, d=180)
    main(["build", "people.index", "one.npz", "two.npz"])
    main(["add", "people.index", "three.npz", "--replace"])
    main(["remove", "people.index", "a"])
    assert list(read_index(tmp_path / "people.index").tracklets.keys) == ["b", "c", "d"]
    write("queries.npz", q=95, r=270)
    main(
        ["find", "people.index", "--queries", "queries.npz", "--top", "2", "--max_distance", "0.1", "--output", "found"]
    )
    q, r = json.loads((tmp_path / "found/search.json").read_text())["queries"]
    assert [hit["key"] for hit in q["found"]] == ["c", "b"]
    assert (q["match"], r["match"]) == (True, False)
    assert "1 of 2 queries have no match" in caplog.text
    assert (tmp_path / "found/search.html").is_file()
    caplog.clear()
    main(["find", "people.index", "--key", "d"])
    assert "nothing is judged" in caplog.text
    assert re.search(r"^d +1 +c +1\.6527$", caplog.text, re.MULTILINE)  # 80 degrees apart; d itself is left out


def test_the_threshold_comes_from_an_evaluation(write, complaint, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    point = {"threshold": 0.25, "false_positive_rate": 0.01, "true_positive_rate": 0.9}
    row = {"method": "visual only", "direction": "up", "operating_points": [point], "roc": []}
    results = {"settings": "", "checkpoint": "best.pth", "verification": [row]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    write("one.npz", a=0, b=60)
    main(["build", "people.index", "one.npz"])
    main(["find", "people.index", "--queries", "one.npz", "--results", "results.json"])
    assert "Accepted up to a distance of 0.25 (results.json, up" in caplog.text
    assert "2 of 2 queries have no match" in caplog.text
    assert "if all 2 tracklets are of other people, 0.02 are expected" in caplog.text
    write("any.npz", a=0, b=60, origin={**ORIGIN, "transform": "TEST.FEAT_NORM False"})
    main(["build", "any.index", "any.npz"])
    message = complaint("find", "any.index", "--key", "a", "--results", "results.json")
    assert "any.index holds descriptors of any length" in message


def add_while_others_do(barrier, name):
    logging.disable()
    barrier.wait()
    raise SystemExit(run_command(lambda: main(["add", "people.index", name])))


def test_no_addition_is_lost(write, complaint, tmp_path):
    write("one.npz", a=0)
    main(["build", "people.index", "one.npz"])
    processes, context = [], multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    for number in range(4):
        write(f"{number}.npz", keys=[str(number)], x=number)
        processes.append(context.Process(target=add_while_others_do, args=(barrier, f"{number}.npz")))
        processes[-1].start()
    for process in processes:
        process.join()
    added = [str(number) for number, process in enumerate(processes) if process.exitcode == 0]
    assert added
    assert sorted(read_index(tmp_path / "people.index").tracklets.keys) == [*added, "a"]


def test_a_second_change_is_refused(write, complaint, tmp_path):
    write("one.npz", a=0)
    main(["build", "people.index", "one.npz"])
    before = (tmp_path / "people.index").read_bytes()
    with multiprocessing.get_context("fork").Pool(1) as pool, commands._lock(tmp_path / "people.index"):
        assert pool.apply(is_refused, (["remove", str(tmp_path / "people.index"), "a"],))
        assert pool.apply(is_refused, (["build", str(tmp_path / "people.index"), str(tmp_path / "one.npz")],))
    assert (tmp_path / "people.index").read_bytes() == before
    assert "none/people.index is not a file" in complaint("add", "none/people.index", "one.npz")
    assert not (tmp_path / "none").exists()


def is_refused(words):
    try:
        main(words)
    except OSError as error:
        return "people.index.lock is in use by process" in str(error)
    return False


def test_mistakes_are_one_line(write, complaint, tmp_path):
    write("one.npz", a=0, b=60)
    write("twice.npz", keys=["a", "a"], x=0, y=60)
    write("nan.npz", a=0, b=np.nan)
    write("other.npz", c=0, origin={**ORIGIN, "weights": "b2"})
    main(["build", "people.index", "one.npz"])
    before = (tmp_path / "people.index").read_bytes()
    assert "people.index exists" in complaint("build", "people.index", "one.npz")
    assert "it holds the key 'a' twice" in complaint("build", "new.index", "twice.npz")
    assert "it holds NaN or infinity for 'b'" in complaint("build", "new.index", "nan.npz")
    assert "other.npz cannot be compared" in complaint("build", "new.index", "one.npz", "other.npz")
    assert not (tmp_path / "new.index").exists()
    assert "other.npz cannot be compared" in complaint("find", "people.index", "--queries", "other.npz")
    assert "one.npz: the index holds 'a' already" in complaint("add", "people.index", "one.npz")
    assert "holds no tracklet 'z'" in complaint("remove", "people.index", "a", "z")
    assert "people.index holds no tracklet 'z'" in complaint("find", "people.index", "--key", "z")
    assert "one.npz is damaged, or no index" in complaint("find", "one.npz", "--key", "a")
    assert "none.npz is not a file" in complaint("find", "people.index", "--queries", "none.npz")
    assert "at least 0, got nan" in complaint("find", "people.index", "--key", "a", "--max_distance", "nan")
    assert (tmp_path / "people.index").read_bytes() == before
    main(["remove", "people.index", "a", "b"])
    assert "The index is empty" in complaint("find", "people.index", "--queries", "one.npz")


def test_an_index_without_words_is_refused_before_the_towers_are_opened(write, complaint):
    write("one.npz", a=0)
    main(["build", "people.index", "one.npz"])
    message = complaint("find", "people.index", "--text", "man", "--text_tower", "none.pt")
    assert "no vectors to compare with texts. Describe its tracklets again with `python -m tools.extract_" in message


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "name the queries: --queries FEATURES"),
        (["--text", "man"], "--text needs --text_tower"),
        (["--key", "a", "--text_tower", "t.pt"], "--text_tower goes with --text"),
    ],
)
def test_find_needs_queries(words, problem, capsys):
    with pytest.raises(SystemExit):
        parse_args(["find", "people.index", *words])
    assert problem in capsys.readouterr().err
