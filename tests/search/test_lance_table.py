"""The table of LanceDB: the same answers as memory, loading, replacing, deleting, and the index of a large one."""

import logging
from pathlib import Path

import numpy as np
import pytest

from search.feature_file import FeatureTable
from search.find import MemoryGallery, find_texts, find_tracklets, parse_condition

lance_table = pytest.importorskip("search.lance_table")
LanceGallery, load, delete = lance_table.LanceGallery, lance_table.load, lance_table.delete


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "new/people.lance")


def answers_of(gallery, queries, top=3):
    answers = find_tracklets(gallery, queries, top)
    hits = [{**hit, "distance": round(hit["distance"], 12)} for query in answers["queries"] for hit in query["found"]]
    return hits, answers["tracklets_searched"]


@pytest.mark.parametrize("words", ["", "camera=0,1", "view=aerial", "time=2023-10-17T10:00..", "view=aerial camera=1"])
def test_a_table_answers_as_memory_does(describe, uri, words):
    table = describe(
        a=0,
        b=40,
        **{"it's": 90},
        d=180,
        words=np.eye(4, dtype=np.float32),
        origin={"weights": "a1", "text tower": "t1"},
        views=["aerial", "", "aerial", "ground"],
        times=["2023-10-17T09:00", "NaT", "2023-10-17T10:00", "2023-10-18"],
    )
    where = [parse_condition(word) for word in words.split()]
    load(uri, table, "a.npz")
    stored, expected = LanceGallery(uri, where), MemoryGallery(table, uri, where)
    assert answers_of(stored, table) == answers_of(expected, table)
    vectors = np.eye(4, dtype=np.float32)[1:2]
    assert find_texts(stored, ["red"], vectors, "t1", 4) == find_texts(expected, ["red"], vectors, "t1", 4)
    fetched = stored.fetch(["d", "it's"])
    assert fetched.list_entries() == table.list_entries([3, 2])
    assert np.array_equal(fetched.features, table.features[[3, 2]])


def test_rows_are_added_replaced_and_deleted(describe, uri):
    load(uri, describe(a=0, b=60), "one.npz")
    with pytest.raises(ValueError, match="two.npz: .*people.lance has 'b' already; --replace"):
        load(uri, describe(c=90, b=30), "two.npz")
    with pytest.raises(ValueError, match="two.npz cannot be compared with .*people.lance: its weights is 'b2'"):
        load(uri, describe(c=90, origin={"weights": "b2"}), "two.npz")
    assert len(LanceGallery(uri)) == 2
    load(uri, describe(c=90, b=30), "two.npz", replaces=True)
    expected = MemoryGallery(describe(c=90, b=30, a=0), "")
    ranked = [answers_of(gallery, describe(q=30))[0] for gallery in (LanceGallery(uri), expected)]
    first, second = ([(hit["key"], hit["distance"]) for hit in hits] for hits in ranked)
    assert first == second
    with pytest.raises(ValueError, match="people.lance has no tracklet 'z'"):
        delete(uri, ["a", "z"])
    vector = describe(c=90).features.tobytes()
    for stays in (True, False):
        contents = [path.read_bytes() for path in Path(uri).rglob("*") if path.is_file()]
        assert any(vector in content for content in contents) == stays
        if stays:
            delete(uri, ["c"])
    assert [hit["key"] for hit in answers_of(LanceGallery(uri), describe(q=90))[0]] == ["b", "a"]


def test_a_large_table_has_an_index_which_logs_its_recall(describe, uri, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(lance_table, "INDEX_FROM", 300)
    angles = np.random.default_rng(0).uniform(0, 360, 400)
    table = describe(**{f"k{number}": angle for number, angle in enumerate(angles)})
    load(uri, FeatureTable(table.rows[:300]), "one.npz")
    lance_table.update_index(uri)
    assert len(list(LanceGallery(uri).table.list_indices())) == 1
    load(uri, FeatureTable(table.rows[300:]), "two.npz")
    lance_table.update_index(uri)
    assert caplog.text.count("From 300 tracklets on, search is approximate: the index finds 100.0 %") == 2
    queries = describe(q=10, r=200)
    assert answers_of(LanceGallery(uri), queries) == answers_of(MemoryGallery(table, ""), queries)
