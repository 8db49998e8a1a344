"""The results of several evaluations, compared and averaged, by the command and without it."""

import csv
import json

import numpy as np
import pytest

from processor.report.compare import SCORES, average, format_changes, format_differences, read_pairs
from processor.report.tables import MEASURES
from tools.results import main

DIRECTIONS = ("a to b", "b to a")


def write(folder, precisions, order=None, directions=DIRECTIONS, method="visual only", protocol="cross-camera", **made):
    """Write an evaluation: ``precisions`` of each direction's queries, two for a person; at rank 1 if 0.5 or more."""
    folder.mkdir(parents=True)
    row = {"method": method, "protocol": protocol, **dict.fromkeys(MEASURES, 0.5)}
    rows = [{**row, "direction": direction} for direction in directions]
    (folder / "results.json").write_text(json.dumps({"results": rows, **made}))
    with (folder / "queries.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "direction", "key", "pid", *SCORES])
        for direction in directions:
            for index in range(len(precisions)) if order is None else order:
                pid, value = index // 2, precisions[index]
                key = f"{pid}/{index % 2}"
                writer.writerow([method, direction, key, pid, 1 + (value < 0.5), value, value])
    return folder


def test_queries_are_joined_by_key_and_overall_is_added(tmp_path):
    first, second = np.linspace(0.1, 0.8, 8), np.linspace(0.2, 0.9, 8)
    order = [5, 2, 7, 0, 1, 6, 4, 3]
    one, other = write(tmp_path / "one", first), write(tmp_path / "other", second, order) / "results.json"
    pairs = read_pairs(one, other)
    assert [pair.direction for pair in pairs] == [DIRECTIONS[0]] * 8 + [DIRECTIONS[1]] * 8
    np.testing.assert_allclose([pair.second[1] - pair.first[1] for pair in pairs], 0.1)
    rows = {tuple(line.split()[2:4]): line.split() for line in format_differences(pairs).splitlines()[-3:]}
    assert [name for _, name in rows] == ["R1", "mAP", "mINP"]
    assert rows["overall", "mAP"][6] == "+10.00"
    # Four people in two directions are four people: of 2^4 flips two are as extreme.
    assert float(rows["overall", "mAP"][-1]) == pytest.approx(2 / 16, abs=0.01)
    assert rows["overall", "R1"][6] == "+12.50"


def test_the_table_on_standard_output_shows_the_difference_and_the_largest_changes(tmp_path, capsys):
    first, second = np.full(30, 0.5), np.full(30, 0.5)
    second[:12] += np.linspace(0.4, 0.01, 12)
    second[17] = 0.25
    folders = [write(tmp_path / name, values, None, DIRECTIONS[:1]) for name, values in (("1", first), ("2", second))]
    pairs = read_pairs(*folders)
    (mean_row,) = [line for line in format_differences(pairs).splitlines() if " mAP " in line]
    expected = 100 * (second - first).mean()
    assert mean_row.split()[6:9] == ["50.00", f"{50 + expected:.2f}", f"{expected:+.2f}"]
    better = format_changes(pairs, better=True).splitlines()[2:]
    assert [line.split()[0] for line in better] == [f"{index // 2}/{index % 2}" for index in range(10)]
    (worse,) = format_changes(pairs, better=False).splitlines()[2:]
    assert worse.split() == ["8/1", "a", "to", "b", "50.00", "25.00", "1", "2"]
    main(["compare", *map(str, folders)])
    shown = capsys.readouterr().out.splitlines()
    assert {mean_row, worse, *better} <= set(shown)


def test_other_settings_are_warned_about_and_evaluations_that_cannot_be_compared_are_refused(tmp_path, caplog):
    values = np.full(4, 0.5)
    one = write(tmp_path / "one", values, settings="those of the recipe")
    other = write(tmp_path / "other", values, settings="TEST.FLIP False", directions=DIRECTIONS[:1])
    assert {pair.direction for pair in read_pairs(one, other)} == {"a to b"}
    assert f"settings differ: 'those of the recipe' in {one}" in caplog.text
    assert f"'TEST.FLIP False' in {other}" in caplog.text
    assert f"Only {one} has visual only | b to a: left out." in caplog.text
    for name, number, options, message in (
        ("more", 6, {}, r"different queries of visual only \| a to b: 2 are in one only, such as 2/0"),
        ("rules", 4, {"protocol": "mars-official"}, r"scored by cross-camera, but .* by mars"),
        ("method", 4, {"method": "re-ranked"}, "no method and direction in common"),
    ):
        with pytest.raises(ValueError, match=message):
            read_pairs(one, write(tmp_path / name, np.full(number, 0.5), **options))


def write_results(path, protocol="cross-camera", **values):
    row = {"method": "visual only", "direction": "camera 1 to 2", "protocol": protocol}
    path.write_text(json.dumps({"results": [{**row, **dict.fromkeys(MEASURES, 0.5), **values}]}))
    return path


def test_mean_and_standard_deviation(tmp_path, capsys):
    paths = [write_results(tmp_path / f"{value}.json", R1=value) for value in (0.2, 0.4, 0.6)]
    main(["average", *map(str, paths), "--output", str(tmp_path / "out/mean.json")])
    (row,) = json.loads((tmp_path / "out/mean.json").read_text())
    assert (row["num_runs"], row["protocol"]) == (3, "cross-camera")
    assert (row["R1"], row["R1_std"]) == (pytest.approx(0.4), pytest.approx(0.2))
    assert (row["mAP"], row["mAP_std"]) == (0.5, 0)
    assert "40.00 (20.00)" in capsys.readouterr().out
    (row,) = average(paths[:1])
    assert (row["R1"], row["R1_std"]) == (0.2, None)
    main(["average", str(paths[0])])
    assert "50.00 (-)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"b\.json is not a file"),
        ("[]", r"b\.json is not a results\.json"),
        ('{"results": []}', r"b\.json holds no row"),
        ({"protocol": "mars-official"}, r"b\.json and .*a\.json hold different rows"),
    ],
)
def test_results_that_cannot_be_averaged_are_refused(content, message, tmp_path):
    first, second = write_results(tmp_path / "a.json"), tmp_path / "b.json"
    if isinstance(content, dict):
        write_results(second, **content)
    elif content is not None:
        second.write_text(content)
    with pytest.raises(ValueError, match=message):
        average([first, second])
