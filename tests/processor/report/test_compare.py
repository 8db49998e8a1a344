"""The results of several evaluations, compared and averaged, by the command and without it."""

import csv
import json

import numpy as np
import pytest

from processor.report.compare import format_changes, format_differences, format_means, read_pairs
from processor.report.tables import MEASURES, SCORES
from tools.results import main

DIRECTIONS = ("a to b", "b to a")


def write(folder, precisions, directions=DIRECTIONS, order=None, method="visual only", protocol="cross-camera", **made):
    """Write an evaluation: ``precisions`` of each direction's queries, two for a person; at rank 1 if 0.5 or more."""
    folder.mkdir()
    row = {"method": method, "protocol": protocol, **dict.fromkeys(MEASURES, 0.5), "R1": np.mean(precisions)}
    rows = [{**row, "direction": direction} for direction in directions]
    (folder / "results.json").write_text(json.dumps({"results": rows, **made}))
    with (folder / "queries.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "direction", "key", "pid", *SCORES])
        for direction in directions:
            for index in order or range(len(precisions)):
                pid, value = index // 2, precisions[index]
                writer.writerow([method, direction, f"{pid}/{index % 2}", pid, value, 1 + (value < 0.5), value])
    return folder


def test_queries_are_joined_by_key_and_overall_is_added(tmp_path):
    first, second = np.linspace(0.1, 0.8, 8), np.linspace(0.2, 0.9, 8)
    other = write(tmp_path / "other", second, order=[5, 2, 7, 0, 1, 6, 4, 3])
    pairs, _ = read_pairs([write(tmp_path / "one", first)], [other])
    assert [direction for _, direction, _ in pairs] == [DIRECTIONS[0]] * 8 + [DIRECTIONS[1]] * 8
    np.testing.assert_allclose([after[0][0] - before[0][0] for _, before, after in pairs.values()], 0.1)
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
    folders = [write(tmp_path / name, values, DIRECTIONS[:1]) for name, values in (("1", first), ("2", second))]
    pairs, _ = read_pairs(folders[:1], folders[1:])
    (mean_row,) = [line for line in format_differences(pairs).splitlines() if " mAP " in line]
    expected = 100 * (second - first).mean()
    assert mean_row.split()[6:9] == ["50.00", f"{50 + expected:.2f}", f"{expected:+.2f}"]
    better = format_changes(pairs, better=True).splitlines()[2:]
    assert [line.split()[0] for line in better] == [f"{index // 2}/{index % 2}" for index in range(10)]
    (worse,) = format_changes(pairs, better=False).splitlines()[2:]
    assert worse.split() == ["8/1", "a", "to", "b", "50.00", "25.00", "1", "2"]
    main(["compare", "--first", str(folders[0] / "results.json"), "--second", str(folders[1])])
    assert {mean_row, worse, *better} <= set(capsys.readouterr().out.splitlines())


def test_what_one_lacks_is_warned_about_and_evaluations_that_cannot_be_compared_are_refused(tmp_path, caplog):
    values = np.full(4, 0.5)
    one = write(tmp_path / "one", values)
    other = write(tmp_path / "other", values, DIRECTIONS[:1])
    assert {direction for _, direction, _ in read_pairs([one], [other])[0]} == {"a to b"}
    assert f"Only {one} has visual only | b to a: left out." in caplog.text
    for name, number, options, message in (
        ("more", 6, {}, r"different queries: 4 are in one only, such as visual only \| a to b \| 2/0"),
        ("rules", 4, {"protocol": "mars-official"}, r"scored by cross-camera, but .* by mars"),
        ("method", 4, {"method": "re-ranked"}, "no method and direction in common"),
    ):
        with pytest.raises(ValueError, match=message):
            read_pairs([one], [write(tmp_path / name, np.full(number, 0.5), **options)])
    with pytest.raises(ValueError, match="--first names 2 results and --second 1: name as many"):
        read_pairs([one, one], [other])
    same = [write(tmp_path / name, values) for name in "abc"]
    read_pairs([one, same[0]], same[1:])
    assert f"{one} and {same[0]} hold equal scores: are their seeds the same?" in caplog.text


def test_several_seeds_are_compared_pair_by_pair_and_what_differs_is_listed(tmp_path, capsys):
    rng = np.random.default_rng(1)
    recipe = "those of the recipe but for "
    folders = {}
    for method, gain, keys in (("a", 0, ""), ("b", 0.1, "SOLVER.STAGE2.STEPS '(6, 8)' LOSS.HARD_WEIGHT 0.25 ")):
        for seed in (0, 1, 2):
            values = 0.4 + gain + 0.01 * rng.random(40)
            settings = {"settings": "those of the recipe", "training settings": f"{recipe}{keys}SOLVER.SEED {seed}"}
            folders[method, seed] = str(write(tmp_path / f"{method}{seed}", values, DIRECTIONS[:1], **settings))
    first, second = ([folders[method, seed] for seed in (0, 1, 2)] for method in "ab")
    main(["compare", "--first", *first, "--second", *second])
    title, *settings, _, _, _, _, mean_row, _ = capsys.readouterr().out.split("\n\nbetter")[0].splitlines()
    assert title == "The settings of these runs differ:"
    sides = [f"{value} in {', '.join(side)}" for value, side in (("the recipe's", first), ("0.25", second))]
    assert settings[0] == f"  LOSS.HARD_WEIGHT: {'; '.join(sides)}"
    assert settings[1] == f"  SOLVER.STAGE2.STEPS: the recipe's in {', '.join(first)}; (6, 8) in {', '.join(second)}"
    assert len(settings) == 2  # the seeds of each pair agree
    changes = mean_row.split()[-3:]
    assert np.mean(list(map(float, changes))) == pytest.approx(float(mean_row.split()[8]), abs=0.01)
    assert mean_row.split()[12] == "0.0001"
    main(["compare", "--first", first[0], "--second", first[1]])
    assert f"  SOLVER.SEED: 0 in {first[0]}; 1 in {first[1]}\n" in capsys.readouterr().out
    main(["average", *first])
    assert "differ" not in capsys.readouterr().out
    main(["average", first[0], second[1]])
    assert capsys.readouterr().out.count("SOLVER") == 1
    old = str(
        write(tmp_path / "old", values, DIRECTIONS[:1], settings="those of the recipe but for MODEL.NAME a, X b c")
    )
    main(["average", first[0], old])
    unknown = [f"  {name}: known in {first[0]}; unknown in {old}" for name in ("settings", "training settings")]
    assert capsys.readouterr().out.splitlines()[1:4] == [*unknown, ""]


def test_an_evaluation_named_twice_and_other_data_are_no_second_seed(tmp_path):
    one, two = (write(tmp_path / name, [0.2, 0.4], data=f"folder in {name}") for name in ("one", "two"))
    (tmp_path / "link").symlink_to(one)
    for again in (one, one / "results.json", tmp_path / "link"):
        with pytest.raises(ValueError, match="are one evaluation, named twice"):
            format_means([one, two, again])
        with pytest.raises(ValueError, match="are one evaluation, named twice"):
            read_pairs([one], [again])
    assert f"  data: folder in one in {one}; folder in two in {two}\n" in format_means([one, two])
    _, settings = read_pairs([one], [two])  # whose queries are the same
    assert settings == ""


def test_mean_and_standard_deviation(tmp_path, capsys):
    folders = [write(tmp_path / str(value), [value], DIRECTIONS[:1]) for value in (0.2, 0.4, 0.6)]
    paths = [folder / "results.json" for folder in folders]
    main(["average", str(folders[0]), *map(str, paths[1:])])  # a folder stands for its results.json
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[:-12] == ["visual", "only", "|", "a", "to", "b", "|", "cross-camera"]
    assert row[-12:] == ["40.00", "(20.00)", *["50.00", "(0.00)"] * 5]
    assert format_means(paths[:1]).splitlines()[-1].split()[-12:] == ["20.00", "(-)", *["50.00", "(-)"] * 5]
    bad = tmp_path / "bad.json"
    for content, message in (("[]", "is not a results.json"), ('{"results": []}', "holds no row")):
        bad.write_text(content)
        with pytest.raises(ValueError, match=message):
            format_means([bad])
    other_rules = write(tmp_path / "other", [0.5], protocol="mars-official") / "results.json"
    with pytest.raises(ValueError, match="hold different rows"):
        format_means([paths[0], other_rules])
