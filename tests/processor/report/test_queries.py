"""The file of per-query scores."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from processor.evaluation.results import VISUAL, Evaluation
from processor.report.queries import COLUMNS, read_queries, write_queries


def test_the_file_has_every_counted_query_of_every_method(run, tmp_path):
    evaluation = run()
    write_queries(tmp_path / "queries.csv", evaluation)
    with (tmp_path / "queries.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert len(rows) == 3 * 12  # visual, with annotated attributes, and by these alone
    queries = [query for result in evaluation.cases for query in result.case.query]
    for row, query in zip(rows[:12], queries, strict=True):
        assert row[2:6] == [query.key, str(query.pid), str(query.camid), query.view]
        assert row[6] == ("" if query.altitude is None else str(query.altitude))
        assert row[7:9] == ["" if query.day is None else str(query.day), str(len(query.frame_paths))]
    assert {row[6] for row in rows} > {""}


def test_scores_come_back_exactly(run, tmp_path):
    (result,) = run(cases=("case1",)).cases
    ranking = replace(
        result.rankings[VISUAL],
        average_precisions=np.random.default_rng(0).random(5),
        first_ranks=np.array([np.inf, 1, 2.5, 3, 4]),
        inverse_penalties=np.random.default_rng(1).random(5),
        valid_queries=np.arange(6) != 2,
    )
    result = replace(result, rankings={VISUAL: ranking}, distances={VISUAL: result.distances[VISUAL]})
    write_queries(tmp_path / "queries.csv", Evaluation([result]))
    read = read_queries(tmp_path / "queries.csv")
    assert list(read) == [("visual only", "aerial to ground")]
    (queries,) = read.values()
    counted = [query for index, query in enumerate(result.case.query) if index != 2]
    assert queries.keys == [query.key for query in counted]
    assert queries.pids.tolist() == [query.pid for query in counted]
    for name in ("average_precisions", "first_ranks", "inverse_penalties"):
        np.testing.assert_array_equal(getattr(queries, name), getattr(ranking, name))
    assert queries.measures()["R1"].tolist() == [0, 1, 0, 0, 0]
    assert queries.take([3, 1]).keys == [queries.keys[3], queries.keys[1]]


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "queries.csv"
    with pytest.raises(FileNotFoundError, match=r"queries\.csv is not a file"):
        read_queries(path)
    row = "visual only,a to b,1/x,1,0,ground,,,8,0.5,1,0.5\n"
    for text, message in (
        ("", r"queries\.csv holds no query"),
        ("key,pid\n1/x,1\n", "is not a queries.csv of eval_main.py: KeyError"),
        (f"{','.join(COLUMNS)}\n{row.replace('0.5', 'half')}", "is not a queries.csv of eval_main.py: ValueError"),
        (f"{','.join(COLUMNS)}\n{row}{row}", "holds a query of visual only, a to b twice"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_queries(path)
