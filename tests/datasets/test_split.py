"""Divisions of people: who can be found, who is drawn, and the cases of those who are held out."""

import math

import pytest

from datasets.split import draw_people, find_queries, hold_out, read_pids
from datasets.tracklet import Case, Tracklet


def tracklet(pid, camid, view="ground", name="t"):
    return Tracklet(name, ("1.jpg",), pid, camid, view, None)


def seen(*tracklets):
    """From texts of 'person camera view', a person being a letter or a number; ``.`` is unknown."""
    words = [text.split() for text in tracklets]
    numbers = {
        word: -1 if word == "." else int(word) if word.isdecimal() else ord(word) for word in sum(words, [])[::3]
    }
    return [tracklet(numbers[pid], -1 if camid == "." else int(camid), view) for pid, camid, view in words]


@pytest.mark.parametrize(
    ("tracklets", "queries"),
    [
        # b was seen by one camera only: nothing to find.
        (("a 1 ground", "a 1 ground", "a 2 ground", "b 1 ground", "b 1 ground", ". 2 ground"), {0, 2}),
        # A query of unknown camera would find itself.
        (("a 1 ground", "a . ground", "b 1 ground", "b 2 ground"), {0, 2, 3}),
        (("a . ground", "a . ground", "b . ground"), {0}),
        (("a 1 ground", "a 1 ground"), {0}),
        # With views, people of one view are distractors.
        (("a . ground", "a . aerial", "a . aerial", "b 1 ground", "b 2 ground"), {0, 1}),
    ],
)
def test_one_query_of_each_camera_of_those_who_can_be_found(tracklets, queries):
    assert find_queries(seen(*tracklets)) == queries


PEOPLE = [f"{person} {camera} ground" for person in range(10) for camera in (1, 2)]


def test_people_are_drawn_by_the_seed():
    tracklets = seen(*PEOPLE, "a 1 ground", ". 1 ground")
    drawn = draw_people(tracklets, 0.4, seed=1)
    assert len(drawn) == 4  # of eleven
    assert drawn <= set(range(10))
    assert draw_people(tracklets, 0.4, seed=1) == drawn
    assert any(draw_people(tracklets, 0.4, seed=seed) != drawn for seed in range(2, 5))


def test_distractors_are_drawn_at_the_same_share():
    tracklets = seen(*PEOPLE, *(f"{letter} 1 ground" for letter in "abcde"))
    drawn = draw_people(tracklets, 0.4, distractors=True)
    assert [sum(pid < 10 for pid in drawn), len(drawn)] == [4, 6]


@pytest.mark.parametrize(
    ("tracklets", "share", "message"),
    [
        (PEOPLE, math.nan, "--share must lie between 0 and 1"),
        (PEOPLE, 0.1, r"\(--share\) makes 1 test people of 10, of whom 10 were seen by two cameras; .* Raise"),
        (PEOPLE, 0.99, r"\(--share\) leaves nobody to train on"),
        (["a 1 ground", "b 2 ground", "c 3 ground"], 0.9, "of 3, of whom 0 were seen by two cameras"),
        (["a . ground", "b . aerial", "c . ground"], 0.9, "of whom 0 were seen from both views"),
    ],
)
def test_too_few_people_say_what_to_change(tracklets, share, message):
    with pytest.raises(ValueError, match=message):
        draw_people(seen(*tracklets), share, setting="--share")


def keys(tracklets):
    return [(each.pid, each.camid) for each in tracklets]


AERIAL, GROUND = tracklet(90, 4, "aerial"), tracklet(90, 0)
DIRECTIONS = {
    "case1": Case("a2g", "aerial to ground", (AERIAL,), (GROUND,), identities_masked=True),
    "case2": Case("g2a", "ground to aerial", (GROUND,), (AERIAL,), identities_masked=True),
}


def test_held_out_people_are_searched_in_both_directions_with_distractors():
    train = [tracklet(pid, camid, "aerial" if camid > 3 else "ground") for pid in (1, 2, 3) for camid in (0, 4, 5)]
    train += [tracklet(7, 4, "aerial"), tracklet(8, 0)]
    rest, cases = hold_out(train, DIRECTIONS, {2, 3, 7})
    assert keys(rest) == [(1, 0), (1, 4), (1, 5), (8, 0)]
    aerial, ground = [(2, 4), (2, 5), (3, 4), (3, 5)], [(2, 0), (3, 0)]
    assert {key: (case.name, keys(case.query), keys(case.gallery)) for key, case in cases.items()} == {
        "case1": ("validation_a2g", aerial, ground),
        "case2": ("validation_g2a", ground, [*aerial, (7, 4)]),
    }
    assert not any(case.identities_masked for case in cases.values())
    assert list(hold_out(train, {"case2": DIRECTIONS["case2"]}, {2, 3})[1]) == ["case2"]


@pytest.mark.parametrize(
    ("protocol", "gallery"),
    [("cross-camera", [(2, 1), (2, 1), (2, 2), (3, 1)]), ("all-cameras", [(2, 1), (3, 1)])],
)
def test_between_cameras_no_query_finds_itself(protocol, gallery):
    people = [(1, 1), (2, 1), (2, 1), (2, 2), (3, 1)]
    train = [tracklet(*person, name=f"t{number}") for number, person in enumerate(people)]
    case = Case("x", "between cameras", (tracklet(90, 1),), (tracklet(90, 2),), protocol)
    _, cases = hold_out(train, {"case1": case}, {2, 3})
    assert (keys(cases["case1"].query), keys(cases["case1"].gallery)) == ([(2, 1), (2, 2)], gallery)


@pytest.mark.parametrize(
    ("pids", "message"),
    [
        ({1, 5}, r"1 people .* not in the training set \(first: 5\)"),
        ({1, 2}, "nobody is left to train on"),
        ({1}, "None of the 1 people .* case1, case2"),
    ],
)
def test_people_who_cannot_be_held_out(pids, message):
    with pytest.raises(ValueError, match=message):
        hold_out([tracklet(1, 0), tracklet(2, 0), tracklet(2, 4, "aerial")], DIRECTIONS, pids)


def test_people_are_read_from_a_file(tmp_path):
    path = tmp_path / "pids.txt"
    path.write_text("3\n\n 1\n")
    assert read_pids(path, ()) == {1, 3}
    for content, message in (("\n", "names nobody"), ("1\nx\n", "line 2: the pid must be an integer of 64")):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_pids(path, ())
