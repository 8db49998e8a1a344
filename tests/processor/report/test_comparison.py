"""Two evaluations of the same queries, compared."""

import csv
import json
import logging

import numpy as np
import pytest

from processor.report.comparison import COMPARED, format_changes, format_differences, read_pairs
from processor.report.measures import MEASURES
from processor.report.queries import COLUMNS
from tools.compare_results import main

DIRECTIONS = ("a to b", "b to a")


def write(folder, precisions, order=None, directions=DIRECTIONS, method="visual only", protocol="cross-camera", **made):
    """Write an evaluation: ``precisions`` of each direction's queries, two for a person; at rank 1 if 0.5 or more."""
    folder.mkdir(parents=True)
    row = {"method": method, "protocol": protocol, **dict.fromkeys(MEASURES, 0.5)}
    rows = [{**row, "direction": direction} for direction in directions]
    (folder / "results.json").write_text(json.dumps({"results": rows, **made}))
    with (folder / "queries.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for direction in directions:
            for index in range(len(precisions)) if order is None else order:
                pid, value = index // 2, precisions[index]
                key = f"{pid}/{index % 2}"
                writer.writerow([method, direction, key, pid, 0, "ground", "", "", 8, value, 1 + (value < 0.5), value])
    return folder


def test_queries_are_joined_by_key_and_overall_is_added(tmp_path):
    first, second = np.linspace(0.1, 0.8, 8), np.linspace(0.2, 0.9, 8)
    pairs = read_pairs(
        write(tmp_path / "one", first),
        write(tmp_path / "other", second, order=[5, 2, 7, 0, 1, 6, 4, 3]) / "results.json",
    )
    assert [pair.direction for pair in pairs] == [*DIRECTIONS, "overall"]
    for pair in pairs[:2]:
        assert pair.first.keys == pair.second.keys
        np.testing.assert_allclose(pair.second.average_precisions - pair.first.average_precisions, 0.1)
    results = pairs[2].differences()
    assert tuple(results) == COMPARED
    assert results["mAP"].difference == pytest.approx(0.1)
    # Four people in two directions are four people: of 2^4 flips two are as extreme.
    assert results["mAP"].p_value == pytest.approx(2 / 16, abs=0.01)
    assert results["R1"].difference == pytest.approx(1 / 8)


def test_tables_show_the_difference_and_the_largest_changes(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first, second = np.full(30, 0.5), np.full(30, 0.5)
    second[:12] += np.linspace(0.4, 0.01, 12)
    second[17] = 0.25
    one, other = (
        write(tmp_path / name, values, directions=DIRECTIONS[:1]) for name, values in (("1", first), ("2", second))
    )
    pairs = read_pairs(one, other)
    (mean_row,) = [line for line in format_differences(pairs).splitlines() if " mAP " in line]
    expected = 100 * (second - first).mean()
    assert mean_row.split()[6:9] == ["50.00", f"{50 + expected:.2f}", f"{expected:+.2f}"]
    better = format_changes(pairs, better=True).splitlines()[2:]
    assert [line.split()[0] for line in better] == [f"{index // 2}/{index % 2}" for index in range(10)]
    (worse,) = format_changes(pairs, better=False).splitlines()[2:]
    assert worse.split() == ["8/1", "a", "to", "b", "50.00", "25.00", "1", "2"]
    main([str(one), str(other)])
    assert worse in caplog.text


def test_other_settings_and_missing_parts_are_warned_about(tmp_path, caplog):
    values = np.full(4, 0.5)
    one = write(tmp_path / "one", values, settings="those of the recipe")
    other = write(tmp_path / "other", values, settings="TEST.FLIP False", directions=DIRECTIONS[:1])
    assert [pair.direction for pair in read_pairs(one, other)] == ["a to b"]
    assert "settings differ: 'those of the recipe' in" in caplog.text
    assert f"Only {one} has visual only | b to a: left out." in caplog.text


def test_evaluations_that_cannot_be_compared_are_refused(tmp_path, capsys):
    one = write(tmp_path / "one", np.full(4, 0.5))
    for name, options, message in (
        (
            "more",
            {"precisions": np.full(6, 0.5)},
            r"different queries of visual only \| a to b: 2 are in one only, such as 2/0",
        ),
        (
            "rules",
            {"precisions": np.full(4, 0.5), "protocol": "mars-official"},
            r"scored by cross-camera, but .* by mars",
        ),
        ("method", {"precisions": np.full(4, 0.5), "method": "re-ranked"}, "no method and direction in common"),
    ):
        with pytest.raises(ValueError, match=message):
            read_pairs(one, write(tmp_path / name, **options))
    with pytest.raises(FileNotFoundError, match=r"mistyped/results\.json is not a file"):
        read_pairs(one, tmp_path / "mistyped")
    (one / "queries.csv").unlink()
    with pytest.raises(SystemExit):
        main([str(one), str(one)])
    assert "queries.csv is not a file" in capsys.readouterr().err.splitlines()[-1]
