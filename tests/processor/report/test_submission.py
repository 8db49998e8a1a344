"""Submissions: read, checked against a sample, joined, and made from distances."""

import numpy as np
import pytest

from processor.report.submission import (
    MAX_SHOWN,
    check_submission,
    format_problems,
    gallery_names,
    merge_submissions,
    order_as,
    rank_results,
    read_submission,
    write_submission,
)
from processor.report.write import write_report

HEADER = "row_id,query_tracklet,gallery_tracklets"
SAMPLE = (HEADER, "1,q1,g1 g2 g3", "2,q2,g4 g1 g2", "3,q3,g1 g2 g3")


@pytest.fixture
def write(tmp_path):
    """``write(name, *lines)``: a file of these lines."""

    def build(name, *lines):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return build


@pytest.fixture
def check(write):
    """``check(*rows, **options)``: the problems of a submission, as text, compared with ``SAMPLE``."""

    def run(*rows, **options):
        sample = read_submission(write("sample.csv", *SAMPLE))
        return list(map(str, check_submission(read_submission(write("own.csv", HEADER, *rows)), sample, **options)))

    return run


def test_a_correct_submission_has_no_problems(check):
    assert check("1,q1,g4 g3 g2 g1", "2,q2,g4 g1 g2", "3,q3,g1 g2 g3") == []
    assert format_problems([]) == "no problems"


def test_every_problem_is_named_with_its_line(check):
    problems = check("1,q1,g1 g2 g9", "3,q2,g4 g4 g2", "3,q7,g1 g2", "4,q1,g1 g2 g3")
    assert problems == [
        "line 2: unknown gallery tracklets: g9",
        "line 3: wrong row number: '3', expected 2",
        "line 3: repeated gallery tracklets: g4",
        "line 4: unknown query: 'q7'",
        "line 4: short list: 2 gallery tracklets, expected 3",
        "line 5: repeated query: q1 (first in line 2)",
        "missing query: q3 (line 4 of the sample)",
    ]


def test_more_names_and_another_length(check):
    rows = ("1,q1,g1 g2 g9", "2,q2,g4 g1 g2", "3,q3,g1 g2 g3 g4")
    assert check(*rows, known={"g9"}) == []
    assert check(*rows, known={"g9"}, length=4) == [
        f"line {line}: short list: 3 gallery tracklets, expected 4" for line in (2, 3)
    ]


def test_a_long_report_is_cut_and_counts_all(check, write):
    sample = read_submission(write("many.csv", HEADER, *(f"{n},q{n},g1" for n in range(1, 101))))
    problems = check_submission(sample[:1], sample, length=2)
    lines = format_problems(problems).splitlines()
    assert lines[0] == "100 problems (1 short list, 99 missing query):"
    assert len(lines) == MAX_SHOWN + 2
    assert lines[-1] == f"  and {100 - MAX_SHOWN} more"


def test_the_organisers_sample(shared, tmp_path):
    """It names all queries and all of case 1's gallery; twelve of its lists name a tracklet twice."""
    path = shared / "data/agvpreid_meta/sample_submission.csv"
    sample = read_submission(path)
    assert len(sample) == 5774
    problems = check_submission(sample, sample)
    assert {problem.kind for problem in problems} == {"repeated gallery tracklets"}
    assert len(problems) == 12
    write_submission(tmp_path / "copy.csv", sample)
    assert (tmp_path / "copy.csv").read_text().splitlines() == path.read_text().splitlines()
    swapped = [*sample[3023:], *sample[:3023]]
    kinds = [problem.kind for problem in check_submission(swapped, sample)]
    assert kinds.count("wrong row number") == 5774
    assert order_as(swapped, sample) == sample


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["case,query_tracklet,ranked_gallery_tracklets"], r"line 1: the header must be row_id,query_tracklet,gallery"),
        ([HEADER], r"holds no rankings"),
        ([HEADER, "1,q1,g1", "2,q2"], r"line 3: expected 3 columns, got 2"),
        ([HEADER, '1,"q1,g1'], r"line 2: "),
    ],
)
def test_a_file_of_another_form_is_refused(lines, message, write):
    with pytest.raises(ValueError, match=message) as caught:
        read_submission(write("bad.csv", *lines))
    assert "bad.csv" in str(caught.value)


def test_merged_rows_are_numbered_through(write, tmp_path):
    first, second = write("1.csv", HEADER, "1,q1,g1 g2"), write("2.csv", HEADER, "1,q2,g3", "2,q3,g4")
    write_submission(tmp_path / "out.csv", merge_submissions([first, second]))
    assert (tmp_path / "out.csv").read_text().splitlines() == [HEADER, "1,q1,g1 g2", "2,q2,g3", "3,q3,g4"]
    with pytest.raises(ValueError, match=r"1\.csv, line 2: the query q1 is already ranked in .*1\.csv, line 2"):
        merge_submissions([first, second, first])


def test_rows_follow_the_samples_order(write):
    rows = read_submission(write("own.csv", HEADER, "1,q9,g1", "2,q3,g1", "3,q1,g1", "4,q8,g1"))
    sample = read_submission(write("sample.csv", *SAMPLE))
    assert [row.query for row in order_as(rows, sample)] == ["q1", "q3", "q9", "q8"]


def test_names_of_gallery_folders(make_tree, tmp_path):
    assert gallery_names(make_tree(masked=True)) == {
        *(f"tracklet_{number}" for number in range(6)),
        *(f"ab{letter}{number % 2}cD" for number, letter in enumerate("abcdef")),
    }
    with pytest.raises(FileNotFoundError, match="no copy of AG-VPReID"):
        gallery_names(tmp_path / "nowhere")


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("length", [3, 0])
def test_distances_give_the_submission_of_the_evaluation(length, run, tmp_path):
    write_report(run(masked=True), tmp_path, ranking_length=length, origin={}, save_distances=True)
    for name, slug in (("visual", ""), ("annotated_attributes", "_annotated_attributes")):
        write_submission(tmp_path / "out.csv", rank_results(tmp_path, name, length))
        assert (tmp_path / "out.csv").read_bytes() == (tmp_path / f"submission{slug}.csv").read_bytes()
    with pytest.raises(FileNotFoundError, match=r"case1_aerial_to_ground holds no distmat_reranked\.npz"):
        rank_results(tmp_path, "reranked", length)


def save(folder, distances, queries=("1/q1",), galleries=("1/g1", "2/g2", "3/g3")):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "distmat.npz", distmat=np.array(distances), query_keys=queries, gallery_keys=galleries)


def test_the_nearest_are_listed_first_and_equals_in_order(tmp_path):
    save(tmp_path, [[0.5, 0.2, 0.5]])
    (row,) = rank_results(tmp_path, "visual", 0)
    assert (row.query, row.gallery) == ("q1", ("g2", "g1", "g3"))
    assert rank_results(tmp_path, "visual", 2)[0].gallery == ("g2", "g1")


@pytest.mark.parametrize(
    ("distances", "message"),
    [([[0.5, np.nan, 0.1]], "distmat.npz holds NaN"), ([[0.5, 0.1]], r"distmat.npz is damaged: \(1, 2\) distances")],
)
def test_distances_of_no_use_are_refused(distances, message, tmp_path):
    save(tmp_path, distances)
    with pytest.raises(ValueError, match=message):
        rank_results(tmp_path, "visual", 0)


def test_damaged_repeated_and_missing_distances_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no distmat\*\.npz.*TEST\.SAVE_DISTANCES True"):
        rank_results(tmp_path, "visual", 0)
    for name in ("case1", "case2"):
        save(tmp_path / name, [[0.1, 0.2, 0.3]])
    with pytest.raises(ValueError, match=r"case2/distmat\.npz: the query q1 is already ranked in .*case1"):
        rank_results(tmp_path, "visual", 0)
    (tmp_path / "case2/distmat.npz").write_bytes(b"PK\3\4 cut short")
    with pytest.raises(ValueError, match=r"case2/distmat\.npz is damaged, or no distances of an evaluation"):
        rank_results(tmp_path, "visual", 0)
