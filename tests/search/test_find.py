"""Answers of a search: the query itself, the threshold, texts, and what is refused."""

import numpy as np
import pytest

from search.find import SIMILARITY, find_texts, find_tracklets
from search.index import TrackletIndex
from search.threshold import Threshold


def keys_of(answers):
    return [[hit.tracklet.key for hit in answer.hits] for answer in answers.answers]


def test_a_hit_says_which_tracklet_it_is(describe):
    index = TrackletIndex(describe(a=0, b=60))
    (answer,) = find_tracklets(index, describe(q=60), "q.npz", top=1).answers
    (hit,) = answer.hits
    assert (answer.query.key, answer.query.picture, answer.num_accepted) == ("q", "q.jpg", None)
    assert (hit.tracklet.key, hit.tracklet.camera, hit.tracklet.picture) == ("b", 0, "b.jpg")
    assert hit.value == pytest.approx(0, abs=1e-7)


def test_a_query_does_not_find_itself(describe):
    index = TrackletIndex(describe(a=0, b=10, c=90))
    assert keys_of(find_tracklets(index, index.tracklets, "own", top=1)) == [["b"], ["a"], ["b"]]
    # Another tracklet may have the same key, and another key the same feature.
    assert keys_of(find_tracklets(index, describe(a=1, d=90), "q.npz", top=2)) == [["a", "b"], ["c", "b"]]


def test_beyond_the_threshold_is_no_match(describe):
    index = TrackletIndex(describe(a=0, b=60, c=180))
    at_60_degrees = Threshold(2 - 2 * 0.5 + 1e-6, "test")
    answers = find_tracklets(index, describe(q=0, r=119, s=121), "q.npz", 3, at_60_degrees)
    assert [answer.num_accepted for answer in answers.answers] == [2, 1, 1]
    answers = find_tracklets(index, describe(q=0, r=119, s=270), "q.npz", 3, Threshold(0.5, "test"))
    assert [answer.num_accepted for answer in answers.answers] == [1, 0, 0]
    assert answers.num_unmatched == 2
    assert keys_of(answers)[1] == ["b", "c", "a"]  # still ranked


def test_an_empty_index_and_other_features_are_refused(describe):
    index = TrackletIndex(describe(a=0))
    with pytest.raises(ValueError, match=r"q\.npz cannot be compared with the index: its weights is 'b2'"):
        find_tracklets(index, describe(q=0, origin={"weights": "b2"}), "q.npz", 1)
    index.remove(["a"])
    with pytest.raises(ValueError, match="The index is empty"):
        find_tracklets(index, describe(q=0), "q.npz", 1)


def test_texts_are_ranked_by_the_inner_product(describe):
    words = np.array([[1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)
    index = TrackletIndex(describe(a=0, b=0, c=0, words=words, origin={"text tower": "t1"}))
    vectors = np.array([[0.8, 0.6], [0, 1]], dtype=np.float32)
    answers = find_texts(index, ["a red coat", "a hat"], vectors, "t1", top=2)
    assert answers.measure == SIMILARITY
    assert keys_of(answers) == [["b", "a"], ["c", "b"]]
    assert [hit.value for hit in answers.answers[0].hits] == pytest.approx([0.96, 0.8])
    assert answers.answers[0].query.key == "a red coat"
    with pytest.raises(ValueError, match="with another text tower, of SHA-256 .*; this one has t2. Name the file"):
        find_texts(index, ["a"], vectors[:1], "t2", top=2)
    with pytest.raises(ValueError, match="no vectors to compare with texts"):
        find_texts(TrackletIndex(describe(a=0)), ["a"], vectors[:1], "t1", top=2)
