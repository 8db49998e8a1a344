"""Submissions: read, checked against a sample, and joined, by the command and without it."""

import random
from pathlib import Path

import pytest

from processor.report.submission import (
    check_submission,
    format_problems,
    read_submission,
    tracklet_names,
    write_submission,
)
from tools.submission import main

HEADER = "row_id,query_tracklet,gallery_tracklets"
SAMPLE = ("1,q1,g1 g2 g3", "2,q2,g4 g1 g2", "3,q3,g1 g2 g3")


@pytest.fixture
def write(tmp_path):
    """``write(name, *rows, header=HEADER)``: a submission of these lines."""

    def build(name, *rows, header=HEADER):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in (header, *rows)))
        return tmp_path / name

    return build


def test_every_problem_is_named_with_its_line(write, tmp_path):
    sample = read_submission(write("sample", *SAMPLE))
    assert check_submission(read_submission(write("own", "1,q1,g4 g3 g2 g1", *SAMPLE[1:])), sample) == []
    own = read_submission(write("own", "1,q1,g1 g2 g9", "3,q2,g4 g4 g2", "3,q7,g1 g2", "4,q1,g1 g2 g3"))
    assert [": ".join(each).replace(f"{tmp_path}/", "") for each in check_submission(own, sample)] == [
        "own, line 2: unknown gallery tracklets: g9",
        "own, line 3: wrong row number: '3', expected 2",
        "own, line 3: repeated gallery tracklets: g4",
        "own, line 4: unknown query: 'q7'",
        "own, line 4: short list: 2 gallery tracklets, expected 3",
        "own, line 5: repeated query: q1 (first in own, line 2)",
        "sample, line 4: missing query: q3",
    ]
    lines = format_problems([("own, line 2", "short list", "0")] * 23).splitlines()
    assert (lines[0], len(lines), lines[-1]) == ("23 short list", 22, "  and 3 more")
    for rows, message in (((), "holds no rankings"), (("1,q1,g1", "2,q2"), "line 3: expected 3 values")):
        with pytest.raises(ValueError, match=rf"bad\.csv.*{message}"):
            read_submission(write("bad.csv", *rows))
    with pytest.raises(ValueError, match="line 1: the header must be row_id,query_tracklet,gallery"):
        read_submission(write("bad.csv", header="case,query_tracklet,ranked_gallery_tracklets"))


LONG = " ".join(f"g{number}" for number in range(40_000))  # beyond the limit of the csv module


@pytest.mark.parametrize(
    ("rows", "sample", "expected"),
    [
        (
            ("1,q2,g1", "2,q1,g1", "3,q3,g1"),
            True,
            ["another order: row 1 is q2, in the sample q1; rows that differ: 2"],
        ),
        (("1,q2,g1", "2,q1,g1", "3,q3,g1"), False, []),
        (("1,q1,g1 [g2]", "2,q 2,g1 g2"), False, ["unknown gallery tracklets: [g2]", "unknown query: 'q 2'"]),
        (("1,q1,",), False, ["short list: 0 gallery tracklets, expected 1"]),
        (("1,q1,g1 g2", "2,q2,g1"), False, ["short list: 1 gallery tracklets, expected 2"]),
        ((f"1,q1,{LONG}",), False, []),
    ],
)
def test_the_order_is_the_samples_and_without_one_the_form_is_checked(rows, sample, expected, write):
    names = read_submission(write("sample", "1,q1,g1", "2,q2,g1", "3,q3,g1")) if sample else ()
    problems = check_submission(read_submission(write("own", *rows)), names)
    assert [f"{kind}: {detail}" for _, kind, detail in problems] == expected


def test_the_organisers_sample(shared, tmp_path):
    """It names all queries and all of case 1's gallery; twelve of its lists name a tracklet twice."""
    path = shared / "data/agvpreid_meta/sample_submission.csv"
    sample = read_submission(path)
    assert len(sample) == 5774
    assert [kind for _, kind, _ in check_submission(sample, sample)] == ["repeated gallery tracklets"] * 12
    shuffled = random.Random(0).sample(sample, len(sample))
    assert write_submission(tmp_path / "copy.csv", shuffled, sample) == 5774
    assert (tmp_path / "copy.csv").read_text().splitlines() == path.read_text().splitlines()
    kinds = [kind for _, kind, _ in check_submission([*sample[3023:], *sample[:3023]], sample)]
    assert (kinds[0], kinds.count("another order"), kinds.count("wrong row number")) == ("another order", 1, 5774)


def test_merged_rows_are_numbered_through_in_the_order_of_the_sample(write, tmp_path):
    first, second = str(write("1.csv", "1,q9,g1 g2")), str(write("2.csv", "1,q3,g3", "2,q1,g4", "3,q8,g1"))
    output = tmp_path / "out.csv"
    main(["merge", first, second, "--output", str(output)])
    assert output.read_text().splitlines() == [HEADER, "1,q9,g1 g2", "2,q3,g3", "3,q1,g4", "4,q8,g1"]
    main(["merge", first, second, "--output", str(output), "--sample", str(write("sample.csv", *SAMPLE))])
    assert output.read_text().splitlines() == [HEADER, "1,q1,g4", "2,q3,g3", "3,q9,g1 g2", "4,q8,g1"]
    with pytest.raises(ValueError, match=r"1\.csv, line 2: the query q9 is already ranked in .*1\.csv, line 2"):
        main(["merge", first, second, first, "--output", str(output)])
    with pytest.raises(ValueError, match="a.csv is the sample: --output names another file"):
        main(["merge", first, "--output", str(tmp_path / "a.csv"), "--sample", str(tmp_path / "a.csv")])


def test_check_returns_1_if_there_is_a_problem(write, make_tree, capsys):
    sample, own = str(write("sample.csv", "1,q1,g1")), str(write("own.csv", "2,q1,tracklet_0"))
    root = str(make_tree(masked=True))
    Path(root, "case1_aerial_to_ground/query/20/@eaDir").mkdir()
    assert "@eaDir" not in tracklet_names(Path(root), "query")
    assert main(["check", own, "--sample", sample, "--root", root]) == 1
    assert "own.csv: 1 rows, 1 wrong row number\n" in capsys.readouterr().out
    assert main(["check", sample, "--sample", sample]) == 0
    assert main(["check", sample]) == 0
    assert "sample.csv, without a sample: 1 rows, no problems\n" in capsys.readouterr().out
    assert main(["check", sample, "--root", root]) == 1
    assert "1 unknown query, 1 unknown gallery tracklets" in capsys.readouterr().out
