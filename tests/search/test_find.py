"""Answers of a search in memory: the nearest, the query itself, conditions, the threshold, and texts."""

import argparse
import itertools

import numpy as np
import pytest

from search.feature_file import make_table
from search.find import (
    SIMILARITY,
    MemoryGallery,
    find_nearest,
    find_texts,
    find_tracklets,
    parse_condition,
    require_searchable,
)
from search.threshold import Threshold

OPEN = "timestamp '2200-01-01 00:00:00'"


def keys_of(answers):
    return [[hit["key"] for hit in query["found"]] for query in answers["queries"]]


@pytest.fixture
def gallery(describe):
    """``gallery(a=angle, ...)``: as ``describe``, to search in."""
    return lambda where=(), **options: MemoryGallery(describe(**options), "people.npz", where)


def test_the_nearest_rows_are_those_of_a_full_sort_in_double_precision():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 32)).astype(np.float32)
    rows[100:110] = rows[0]  # equal rows keep their order
    rows[200:210] = rows[0] + 1e-6 * rng.normal(size=(10, 32)).astype(np.float32)  # float32 cannot tell these apart
    vectors = np.concatenate([rows[:2], rng.normal(size=(3, 32)).astype(np.float32)])
    full = np.square(vectors[:, None].astype(np.float64) - rows[None]).sum(axis=2)
    for row, (found, distances) in zip(full, find_nearest(rows, vectors, 15), strict=True):
        expected = np.argsort(row, kind="stable")[:15]
        assert found == expected.tolist()
        assert distances == pytest.approx(row[expected].tolist(), abs=1e-12)
    assert len(next(find_nearest(rows[:3], vectors, 15))[0]) == 3


def test_a_query_does_not_find_itself(gallery, describe):
    searched = gallery(a=0, b=10, c=90)
    assert keys_of(find_tracklets(searched, searched.form, top=1)) == [["b"], ["a"], ["b"]]
    # Another tracklet may have the same key, and another key the same feature.
    assert keys_of(find_tracklets(searched, describe(a=1, d=90), top=2)) == [["a", "b"], ["c", "b"]]


@pytest.mark.parametrize(("top", "limit", "expected"), [(1, 0.5, [3, 2, 2]), (3, 0.5, [3, 2, 2]), (1, 0, [1, 0, 0])])
@pytest.mark.parametrize("place", ["memory", "table"])
def test_accepted_are_all_within_the_threshold_but_the_query(place, top, limit, expected, gallery, describe, tmp_path):
    """Within 0.5 are 41 degrees: of q three tracklets, and of a and b the two others of the three."""
    searched = gallery(a=0, b=10, c=20, d=90)
    if place == "table":
        table = pytest.importorskip("search.lance_table")
        table.load(str(tmp_path / "t.lance"), searched.form, "")
        searched = table.LanceGallery(str(tmp_path / "t.lance"))
    answers = find_tracklets(searched, describe(q=0, a=0, b=10), top, Threshold(limit, ""))
    assert [query["num_accepted"] for query in answers["queries"]] == expected
    assert [len(query["found"]) for query in answers["queries"]] == [top] * 3


def test_counts_near_the_limit_are_those_of_double_precision():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 32)).astype(np.float32)
    rows[200:300] = rows[0] + 1e-4 * rng.normal(size=(100, 32)).astype(np.float32)
    gallery = MemoryGallery(make_table({}, key=[*map(str, range(500))], feature=rows, picture=[""] * 500), "")
    distances = np.square(rows - rows[1].astype(np.float64)).sum(axis=1)
    for limit in np.sort(distances)[::25]:  # which are within it
        assert gallery.count_within(rows[1], limit) == (distances <= limit).sum()


@pytest.mark.parametrize(
    ("words", "fitting", "sql"),
    [
        ("camera=1,3", "ce", "camera IN ('1', '3')"),
        ("view=aerial", "bc", "view IN ('aerial')"),
        ("time=2023-10-17", "bc", None),
        ("time=2023-10-17T11:00..2023-10-18", "cd", None),
        ("time=2023-10-17T11:00..", "cd", f"time BETWEEN timestamp '2023-10-17 11:00:00' AND {OPEN}"),
        ("time=..2023-10-17T10:00", "b", None),
        ("view=aerial camera=1", "c", None),
        ("camera=7", "", None),
        ("camera=O'Neil", "", "camera IN ('O''Neil')"),
    ],
)
def test_conditions_choose_rows(describe, words, fitting, sql):
    table = describe(
        **dict.fromkeys("abcde", 0),
        views=["", "aerial", "aerial", "ground", "ground"],
        times=["NaT", "2023-10-17T10:00", "2023-10-17T12:00", "2023-10-18T23:00", "NaT"],
    )
    where = [parse_condition(word) for word in words.split()]
    answers = find_tracklets(MemoryGallery(table, "", where), describe(q=0), 5) if fitting else {"queries": []}
    assert "".join(itertools.chain(*keys_of(answers))) == fitting
    if sql is not None:
        assert where[0].as_sql() == sql


@pytest.mark.parametrize(
    "word", ["camera", "camera=", "view=sky", "time=..", "time=soon", "time=2023-10-17T10:00Z", "pid=3"]
)
def test_a_condition_that_makes_no_sense_is_refused(word):
    with pytest.raises(argparse.ArgumentTypeError, match="expected camera=3,5 or view=aerial"):
        parse_condition(word)


def test_only_what_fits_is_searched_and_any_row_is_a_query(gallery):
    searched = gallery(a=0, b=10, c=20, where=[parse_condition("camera=-1,1")])
    answers = find_tracklets(searched, searched.fetch(["b"]), top=5)
    assert (keys_of(answers), answers["tracklets_searched"]) == ([["a", "c"]], 2)
    with pytest.raises(ValueError, match=r"people.npz has no tracklet 'z'; its first is 'a'"):
        searched.fetch(["z"])


def test_texts_are_ranked_by_the_inner_product(gallery):
    words = np.array([[1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)
    searched = gallery(a=0, b=0, c=0, words=words, origin={"text tower": "t1"})
    vectors = np.array([[0.8, 0.6], [0, 1]], dtype=np.float32)
    answers = find_texts(searched, ["a red coat", "a hat"], vectors, "t1", top=2)
    assert answers["measure"] == SIMILARITY
    assert keys_of(answers) == [["b", "a"], ["c", "b"]]
    assert [hit["similarity"] for hit in answers["queries"][0]["found"]] == pytest.approx([0.96, 0.8])
    assert answers["queries"][0]["key"] == "a red coat"
    with pytest.raises(ValueError, match="with another text tower, of SHA-256 t1; this one has t2"):
        find_texts(searched, ["a"], vectors[:1], "t2", top=2)


@pytest.mark.parametrize(("words", "is_refused"), [("camera=0", False), ("camera=0,7", True), ("view=aerial", False)])
def test_a_camera_that_no_tracklet_has_is_refused(words, is_refused, gallery):
    where = [parse_condition(words)]
    searched = gallery(a=0, b=10, where=where if "camera" in words else ())
    if is_refused:
        with pytest.raises(ValueError, match="people.npz has no tracklet of the camera '7'"):
            require_searchable(searched, False, where)
    else:
        require_searchable(searched, False, where)
