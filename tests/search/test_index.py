"""The index: nearest neighbours, additions and removals, its file, and the approximate search."""

import logging

import numpy as np
import pytest

from search import neighbours
from search.described import DescribedTracklets, write_described
from search.index import TrackletIndex, read_index, write_index
from search.neighbours import CompactCodes

ORIGIN = {"weights": "a1", "transform": "288x144"}


def chord(degrees):
    """Squared distance of two points of the unit circle."""
    return 2 - 2 * np.cos(np.deg2rad(degrees))


def nearest(index, described, k=2):
    rows, distances = index.find_nearest(described.features, k)
    return [[index.tracklets.keys[row] for row in own] for own in rows], distances


def test_the_nearest_come_first_with_squared_distances(describe):
    index = TrackletIndex(describe(a=0, b=40, c=90, d=180))
    keys, distances = nearest(index, describe(q=50, r=-10), k=3)
    assert keys == [["b", "c", "a"], ["a", "b", "c"]]
    np.testing.assert_allclose(distances, [[chord(10), chord(40), chord(50)], [chord(10), chord(50), chord(100)]], 1e-5)
    assert nearest(index, describe(q=50), k=99)[0] == [["b", "c", "a", "d"]]


def test_near_duplicates_keep_their_order():
    base = np.zeros((40, 64), dtype=np.float32)
    base[:, 0] = 1
    base[:, 1] = np.arange(40)[::-1] * 1e-5  # float32 has no digit of 1 - cos of such angles
    keys = [str(number) for number in range(40)]
    index = TrackletIndex(DescribedTracklets(keys, base, np.zeros(40, int), keys))
    rows, distances = index.find_nearest(np.repeat(base[-1:], 30, axis=0), 5)
    assert rows.tolist() == [[39, 38, 37, 36, 35]] * 30
    np.testing.assert_allclose(distances[0], (np.arange(5) * 1e-5) ** 2, rtol=1e-3)


def test_added_and_removed(describe):
    index = TrackletIndex(describe(a=0, b=40))
    index.add(describe(c=50), "c.npz")
    assert nearest(index, describe(q=50))[0] == [["c", "b"]]
    index.remove(["b"])
    assert nearest(index, describe(q=50))[0] == [["c", "a"]]
    with pytest.raises(ValueError, match=r"The index holds no tracklet 'b': it has 2; its first is 'a'\."):
        index.remove(["a", "b"])
    with pytest.raises(ValueError, match="new.npz: the index holds 'c' already; --replace"):
        index.add(describe(d=1, c=2), "new.npz")
    assert list(index.tracklets.keys) == ["a", "c"]
    index.add(describe(d=1, c=2), "new.npz", replaces=True)
    assert nearest(index, describe(q=3), k=3)[0] == [["c", "d", "a"]]
    assert index.tracklets.cameras.tolist() == [-1, -1, 0]
    assert list(index.tracklets.pictures) == ["a.jpg", "d.jpg", "c.jpg"]
    index.remove(["a", "c", "d"])
    assert len(index) == 0
    index.add(describe(e=5), "e.npz")
    assert nearest(index, describe(q=5), k=1)[0] == [["e"]]


@pytest.mark.parametrize(
    ("origin", "problem"),
    [
        ({**ORIGIN, "weights": "b2"}, "its weights is 'b2', the index's 'a1'"),
        ({**ORIGIN, "transform": "256x128"}, "its transform is '256x128'"),
        ({"weights": "a1"}, "its transform is 'None'"),
    ],
)
def test_features_of_another_origin_are_refused(describe, origin, problem):
    index = TrackletIndex(describe(a=0))
    with pytest.raises(ValueError, match=f"c.npz cannot be compared with the index: {problem}"):
        index.add(describe(c=50, origin=origin), "c.npz")
    assert list(index.tracklets.keys) == ["a"]


def test_words_are_compared_by_their_own_origin(describe):
    words = np.eye(1, 3, dtype=np.float32)
    index = TrackletIndex(describe(a=0, words=words, origin={**ORIGIN, "text tower": "t1"}))
    with pytest.raises(ValueError, match="c.npz cannot be added: the index holds vectors to compare with texts, c.npz"):
        index.add(describe(c=50), "c.npz")
    with pytest.raises(ValueError, match="its text tower is 't2'"):
        index.add(describe(c=50, words=words, origin={**ORIGIN, "text tower": "t2"}), "c.npz")
    with pytest.raises(ValueError, match="vectors of 4 numbers, the index of 3"):
        index.add(describe(c=50, words=np.eye(1, 4, dtype=np.float32), origin={**ORIGIN, "text tower": "t1"}), "c.npz")
    index.add(describe(c=50, words=2 * words, origin={**ORIGIN, "text tower": "t1"}), "c.npz")
    assert index.tracklets.words.tolist() == [[1, 0, 0], [2, 0, 0]]


def test_a_file_holds_everything(describe, tmp_path):
    words = np.eye(2, 3, dtype=np.float32)
    index = TrackletIndex(describe(a=0, b=40, words=words, origin={**ORIGIN, "text tower": "t1"}))
    write_index(index, tmp_path / "people.index")
    again = read_index(tmp_path / "people.index").tracklets
    for name in ("keys", "pictures", "origin"):
        assert getattr(again, name) == getattr(index.tracklets, name)
    for name in ("features", "cameras", "words"):
        np.testing.assert_array_equal(getattr(again, name), getattr(index.tracklets, name))


def test_a_failed_write_leaves_the_index_that_was_there(describe, tmp_path, monkeypatch):
    path = tmp_path / "people.index"
    write_index(TrackletIndex(describe(a=0)), path)
    before = path.read_bytes()

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(ValueError, match=r"Could not write .*people\.index: No space left"):
        write_index(TrackletIndex(describe(b=0)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_and_foreign_files_are_refused(describe, tmp_path):
    path = tmp_path / "people.index"
    write_index(TrackletIndex(describe(a=0, b=1)), path)
    content = bytearray(path.read_bytes())
    content[content.index(np.cos(np.deg2rad(np.float32(1))).tobytes())] ^= 1
    damaged = {"bit.index": bytes(content), "half.index": path.read_bytes()[:500], "text.index": b"a text"}
    for name, changed in damaged.items():
        (tmp_path / name).write_bytes(changed)
    write_described(describe(a=0), tmp_path / "features.npz")
    for name in (*damaged, "features.npz"):
        with pytest.raises(ValueError, match=f"{name} is damaged, or no index"):
            read_index(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"none\.index is not a file"):
        read_index(tmp_path / "none.index")


@pytest.mark.parametrize(
    "effort", ['{"candidates": 0, "recall": 1}', '{"candidates": "9", "recall": 1}', "[1]", "{}", "7"]
)
def test_an_effort_or_codes_that_make_no_sense_are_refused(clusters, effort, tmp_path):
    path = tmp_path / "people.index"
    index = TrackletIndex(clusters(300), exact_limit=100)
    write_index(index, path)
    with np.load(path) as content:
        arrays = dict(content)
    for changes in ({"effort": np.array(effort)}, {"codes": np.zeros(9)}, {"codes": np.zeros(0, np.uint8)}):
        with path.open("wb") as file:
            np.savez(file, **{**arrays, **changes})
        with pytest.raises(ValueError, match="people.index is damaged, or no index"):
            read_index(path)


@pytest.fixture
def clusters():
    """``clusters(count)``: features of 16 numbers in clusters of 20."""

    def build(count, first=0):
        rng = np.random.default_rng(first)
        centres = np.random.default_rng(7).standard_normal((10, 16))
        features = centres[np.arange(count) % 10] + 0.5 * rng.standard_normal((count, 16))
        features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
        keys = [str(number) for number in range(first, first + count)]
        return DescribedTracklets(keys, features, np.zeros(count, int), keys, None, ORIGIN)

    return build


def test_above_the_limit_search_is_approximate_and_its_recall_is_measured(clusters, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(neighbours, "CANDIDATES", (12,))
    rows = clusters(600)
    index, exact = TrackletIndex(rows, exact_limit=100), TrackletIndex(rows)
    write_index(index, tmp_path / "people.index")
    effort = index.prepare().effort
    assert 0.3 < effort.recall < 1  # 12 candidates by codes cannot find all
    assert f"finds {100 * effort.recall:.1f} % of the 10 nearest" in caplog.text
    sample = np.random.default_rng(0).permutation(600)[: neighbours.NUM_SAMPLES]
    found, wanted = (one.find_nearest(rows.features[sample], 11)[0] for one in (index, exact))
    share = np.mean([len({*a} & {*b} - {row}) / 10 for row, a, b in zip(sample, found, wanted, strict=True)])
    assert share == pytest.approx(effort.recall)
    again = read_index(tmp_path / "people.index", exact_limit=100)
    assert again.prepare().effort == effort
    np.testing.assert_array_equal(again.find_nearest(rows.features[sample], 11)[0], found)
    assert read_index(tmp_path / "people.index").prepare() is None  # few enough to compare all


def test_candidates_are_added_until_the_recall_is_reached(clusters):
    codes = CompactCodes.fit(clusters(2000).features)
    assert codes.effort.recall >= neighbours.TARGET_RECALL
    assert 12 < codes.effort.candidates < 2000


def test_codes_follow_additions_and_removals(clusters):
    index = TrackletIndex(clusters(300), exact_limit=100)
    index.prepare()
    added = clusters(50, first=300)
    index.add(added, "more.npz")
    assert nearest(index, added, k=1)[0] == [[key] for key in added.keys]
    assert len(index.prepare()) == 350
    index.remove(list(added.keys))
    assert not {key for keys in nearest(index, added, k=5)[0] for key in keys} & set(added.keys)
    assert len(index.prepare()) == 300
    assert sorted(index.find_nearest(added.features[:1], 999)[0][0]) == list(range(300))


def test_codes_of_other_features_are_refused(clusters):
    codes = CompactCodes.fit(clusters(300).features)
    with pytest.raises(ValueError, match="not those of 299 features of 16 numbers"):
        CompactCodes.restore(codes.as_array(), (299, 16), codes.effort)
