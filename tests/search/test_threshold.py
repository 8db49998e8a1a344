"""The threshold that is read from results.json."""

import json

import pytest

from search.threshold import Threshold, read_threshold


def row(direction, *points, method="visual only"):
    """A row of the verification; each point is a threshold and its rates."""
    points = [dict(zip(("threshold", "false_positive_rate", "true_positive_rate"), one, strict=True)) for one in points]
    return {"method": method, "direction": direction, "operating_points": points[:1], "roc": points[1:]}


@pytest.fixture
def write(tmp_path):
    def build(*rows, **facts):
        path = tmp_path / "results.json"
        content = {"checkpoint": "logs/all/best.pth (best)", "data": "demo in data", "verification": rows, **facts}
        path.write_text(json.dumps(content))
        return path

    return build


def test_the_highest_threshold_that_keeps_to_the_rate_is_taken(write):
    path = write(row("up", (0.5, 0.009, 0.8), (None, 0, 0), (0.6, 0.01, 0.85), (0.9, 0.02, 0.9)))
    threshold = read_threshold(path, 0.01)
    assert (threshold.distance, threshold.false_positive_rate, threshold.data) == (0.6, 0.01, "demo in data")
    assert threshold.reason == f"{path}, up, true positive rate 0.8500, with the model logs/all/best.pth (best)"
    assert read_threshold(path, 0.0099).distance == 0.5


@pytest.mark.parametrize(
    ("pictures", "is_other"),
    [(["data/a/1.jpg"], False), (["data/a/1.jpg", "data2/1.jpg"], True), (["data/../b/1.jpg"], True), ([""], True)],
)
def test_a_threshold_of_other_data_is_known_by_the_pictures(pictures, is_other):
    assert Threshold(0.5, "", 0.01, "demo in data").is_of_other_data(pictures) is is_other
    assert Threshold(0.5, "--max_distance").is_of_other_data(pictures) is False


@pytest.mark.parametrize(
    ("checkpoint", "is_other"),
    [
        ("/data/logs/a/checkpoint_last.pth (the last, after epoch 3)", False),
        ("a/checkpoint_last.pth (the last, after epoch 4)", True),
        ("logs/b/checkpoint_last.pth (the last, after epoch 3)", True),
    ],
)
def test_a_threshold_of_another_model_is_known_by_the_checkpoint(checkpoint, is_other):
    measured = Threshold(0.5, "", 0.01, "", "logs/a/checkpoint_last.pth (the last, after epoch 3)")
    assert measured.is_of_other_model(checkpoint) is is_other
    assert Threshold(0.5, "--max_distance").is_of_other_model(checkpoint) is False


def test_the_strictest_direction_of_the_visual_ranking_counts(write):
    other = row("down", (0.1, 0.001, 0.8), method="re-ranked")
    path = write(row("up", (0.5, 0.01, 0.8)), row("down", (0.4, 0.01, 0.7)), other)
    threshold = read_threshold(path, 0.01)
    assert threshold.distance == 0.4
    assert ", down, true positive rate 0.7000, the strictest of 2 directions" in threshold.reason


STRANGE = ("", "[]", "{}", "\xff", '{"checkpoint": "", "verification": [1]}')


def test_what_cannot_be_used_is_refused(write, tmp_path):
    for rows, facts, problem in [
        ([row("up", (0.5, 0.01, 0.8), (None, 0, 0))], {}, "up: no threshold accepts at most 0.001 of the pairs of two"),
        ([], {}, "verifies no pairs by the ranking 'visual only'"),
        ([row("up", (3, 0.01, 0.8))], {"unit_length": False}, "descriptors of any length"),
    ]:
        with pytest.raises(ValueError, match=problem):
            read_threshold(write(*rows, **facts), 0.001)
    with pytest.raises(FileNotFoundError, match="none.json is not a file: eval_main.py"):
        read_threshold(tmp_path / "none.json", 0.01)
    for content in STRANGE:
        (tmp_path / "other.json").write_text(content, encoding="latin-1")
        with pytest.raises(ValueError, match=r"other\.json is not a results\.json"):
            read_threshold(tmp_path / "other.json", 0.01)
