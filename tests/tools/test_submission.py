"""The command; what it does is tested in tests/processor/report/test_submission.py."""

import logging

import numpy as np
import pytest

from tools.submission import main

HEADER = "row_id,query_tracklet,gallery_tracklets"


@pytest.fixture
def write(tmp_path):
    def build(name, *lines):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in (HEADER, *lines)))
        return str(tmp_path / name)

    return build


def test_check_ends_with_1_if_there_is_a_problem(write, make_tree, caplog):
    caplog.set_level(logging.INFO)
    sample, own = write("sample.csv", "1,q1,g1"), write("own.csv", "2,q1,tracklet_0")
    with pytest.raises(SystemExit) as ended:
        main(["check", own, "--sample", sample, "--root", str(make_tree(masked=True))])
    assert ended.value.code == 1
    assert "own.csv: 1 rows, 1 problems (1 wrong row number):\n  line 2: wrong row number" in caplog.text
    with pytest.raises(SystemExit) as ended:
        main(["check", sample, "--sample", sample])
    assert ended.value.code == 0


def test_merge_writes_in_the_order_of_the_sample(write, tmp_path):
    sample = write("sample.csv", "1,q1,g1", "2,q2,g1")
    main(
        ["merge", write("a.csv", "1,q2,g2"), write("b.csv", "1,q1,g1"), "--output", f"{tmp_path}/o", "--sample", sample]
    )
    assert (tmp_path / "o").read_text().splitlines() == [HEADER, "1,q1,g1", "2,q2,g2"]


def test_write_lists_as_many_as_asked_for(tmp_path):
    np.savez(tmp_path / "distmat.npz", distmat=[[2.0, 1.0]], query_keys=["1/q1"], gallery_keys=["1/g1", "2/g2"])
    main(["write", str(tmp_path), "--output", str(tmp_path / "out.csv"), "--length", "1"])
    assert (tmp_path / "out.csv").read_text().splitlines() == [HEADER, "1,q1,g2"]


@pytest.mark.parametrize(
    "words", [["check", "nowhere.csv", "--sample", "nowhere.csv"], ["write", ".", "--length", "-1"]]
)
def test_a_mistake_is_one_line(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, *(["--output", "out.csv"] if words[0] == "write" else [])])
    assert ended.value.code == 2
    assert ("nowhere.csv is not a file" in capsys.readouterr().err) == (words[0] == "check")
