"""Splits of a user's own tracklets."""

from dataclasses import replace

import pytest

from datasets.readers.own_splits import choose_queries, draw_split
from datasets.readers.tracklet_table import TableRow


def rows_of(*tracklets):
    """Rows of 'person camera view' texts; ``.`` is unknown."""
    rows = []
    for line, text in enumerate(tracklets, start=2):
        person, camera, view = ("" if word == "." else word for word in text.split())
        rows.append(TableRow(line, f"t{line}", person, camera, view, split="test"))
    return rows


def splits_of(*tracklets):
    return [row.split for row in choose_queries(rows_of(*tracklets))]


def test_one_query_of_each_camera_and_all_in_the_gallery():
    found = splits_of("a 1 ground", "a 1 ground", "a 2 ground", "b 1 ground", "b 1 ground", ". 2 ground")
    # b was seen by one camera only: nothing to find.
    assert found == ["query+gallery", "gallery", "query+gallery", "gallery", "gallery", "gallery"]


def test_a_query_of_unknown_camera_would_find_itself():
    found = splits_of("a 1 ground", "a . ground", "b 1 ground", "b 2 ground")
    assert found == ["query+gallery", "gallery", "query+gallery", "query+gallery"]


def test_without_cameras_the_first_tracklet_is_a_query_only():
    assert splits_of("a . ground", "a . ground", "b . ground") == ["query", "gallery", "gallery"]
    assert splits_of("a 1 ground", "a 1 ground") == ["query", "gallery"]


def test_with_views_people_of_one_view_are_distractors():
    found = splits_of("a . ground", "a . aerial", "a . aerial", "b 1 ground", "b 2 ground")
    assert found == ["query+gallery", "query+gallery", "gallery", "gallery", "gallery"]


def test_other_splits_stay():
    one, other = rows_of("a 1 ground", "b 2 ground")
    rows = [replace(one, split="train"), replace(other, split="query")]
    assert choose_queries(rows) == rows


def test_the_first_tracklet_is_the_first_in_natural_order():
    one, other = rows_of("a . ground", "a . ground")
    rows = [replace(one, path="x10"), replace(other, path="x9")]
    assert [row.split for row in choose_queries(rows)] == ["gallery", "query"]


PEOPLE = [f"p{person} {camera} ground" for person in range(10) for camera in (1, 2)]


def test_people_train_or_are_tested_by_the_seed():
    rows = rows_of(*PEOPLE, "alone 1 ground", ". 1 ground")
    drawn = draw_split(rows, 0.4, seed=1)
    assert [(row.line, row.path, row.person) for row in drawn] == [(row.line, row.path, row.person) for row in rows]
    train = {row.person for row in drawn if row.split == "train"}
    test = {row.person for row in drawn if row.split != "train"}
    assert not train & test
    assert len(test) == 5  # four of eleven people, and the unknown one
    assert "alone" in train
    assert drawn[-1].split == "gallery"
    assert draw_split(rows, 0.4, seed=1) == drawn
    assert any(draw_split(rows, 0.4, seed=seed) != drawn for seed in range(2, 5))


@pytest.mark.parametrize(
    ("tracklets", "share", "message"),
    [
        (PEOPLE, 0.0, r"--test_share must lie between 0 and 1, got 0"),
        (PEOPLE, float("nan"), r"--test_share must lie between 0 and 1"),
        (PEOPLE, 0.1, r"makes 1 test people of 10, of whom 10 were seen by two cameras; .* Raise --test_share"),
        (PEOPLE, 0.99, r"leaves nobody to train on; lower --test_share"),
        (["a 1 ground", "b 2 ground", "c 3 ground"], 0.9, r"of 3, of whom 0 were seen by two cameras.*--pattern"),
        (["a . ground", "b . ground", "c . ground"], 0.9, r"of whom 0 were seen in two tracklets"),
        (["a . ground", "b . aerial", "c . ground"], 0.9, r"of whom 0 were seen from both views"),
    ],
)
def test_too_few_people_say_what_to_change(tracklets, share, message):
    with pytest.raises(ValueError, match=message):
        draw_split(rows_of(*tracklets), share)
