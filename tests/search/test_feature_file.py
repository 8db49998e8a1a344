"""Feature files: what is written is read, and damaged or foreign files are refused."""

from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search import feature_file
from search.feature_file import (
    FeatureTable,
    as_arrays,
    read_feature_files,
    read_features,
    write_features,
)

SUFFIXES = (".npz", ".parquet")


def unit_rows(count, width):
    rows = np.random.default_rng(width).normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def table():
    return FeatureTable(
        keys=["p1/a", "p1/ünï b", "people"],
        features=unit_rows(3, 5),
        cameras=np.array([4, -1, 0]),
        views=["aerial", "", "ground"],
        times=np.array(["2023-10-17T10:00:00", "NaT", "2023-10-18"], dtype="datetime64[s]"),
        pictures=["/data/p1/a/1.jpg", "/data/p1/ünï b/2.jpg", "/data/3.png"],
        words=unit_rows(3, 2),
        origin={"weights": "abc", "transform": "INPUT.SIZE_TEST (64, 32)"},
    )


def assert_equal(actual, expected):
    for name in (each.name for each in fields(FeatureTable)):
        own, other = getattr(actual, name), getattr(expected, name)
        if isinstance(other, np.ndarray):
            assert (own.dtype, own.shape, own.tobytes()) == (other.dtype, other.shape, other.tobytes()), name
        else:
            assert own == other, name


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("with_words", [True, False])
def test_a_file_returns_what_was_written(table, suffix, with_words, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_file, "ROW_GROUP", 2)
    table = table if with_words else replace(table, words=None)
    path = tmp_path / f"run=3/features{suffix}"  # such a folder is a column to readers of Parquet
    write_features(table, path)
    assert_equal(read_features(path), table)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_version_0_1_without_views_and_times_is_read(table, suffix, tmp_path):
    path = tmp_path / f"old{suffix}"
    if suffix == ".npz":
        np.savez(path, **{name: value for name, value in as_arrays(table).items() if name not in ("views", "times")})
    else:
        pq.write_table(table.to_arrow().drop_columns(["view", "time"]), path)
    unknown = np.full(3, "NaT", dtype="datetime64[s]")
    assert_equal(read_features(path), replace(table, views=["", "", ""], times=unknown))


def test_rows_are_selected_and_joined(table):
    chosen = table.select(np.array([2, 0]))
    assert (chosen.keys, chosen.views, chosen.cameras.tolist()) == (["people", "p1/a"], ["ground", "aerial"], [0, 4])
    rest = table.select(np.array([False, True, False]))
    assert_equal(rest.join(chosen).select(np.array([2, 0, 1])), table)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_refused(table, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_features(table, path)
    content = path.read_bytes()
    place = content.index(table.features[0].tobytes())
    changed = content[: place + 3] + bytes([content[place + 3] ^ 1]) + content[place + 4 :]
    for damaged in (content[:-9], b"", b"no file of ours", changed):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.\w+ is damaged, or was not written by tools\.extract_features: "):
            read_features(path)


def test_files_that_are_missing_or_of_another_kind_are_refused(table, tmp_path):
    np.savez(tmp_path / "a.npz", keys=["a"], features=np.zeros((1, 2)), distances=np.zeros((1, 1)))
    columns = {"key": ["a"], "feature": [1.0], "camera": [1], "picture": ["a"]}
    pq.write_table(pa.table(columns, metadata={"origin": "{}"}), tmp_path / "plain.parquet")
    for name in ("a.npz", "plain.parquet"):
        with pytest.raises(ValueError, match=f"{name} is damaged, or was not written by"):
            read_features(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"b\.npz is not a file"):
        read_features(tmp_path / "b.npz")
    for act in (lambda path: write_features(table, path), read_features):
        with pytest.raises(ValueError, match=r"must end in \.npz or \.parquet, got '\.csv'"):
            act(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"keys": np.array("abc")}, "must be"),
        ({"keys": np.arange(3)}, "keys, views and pictures must be"),
        ({"keys": np.array(["a", "b"])}, "different lengths"),
        ({"keys": np.array(["a", "b", "a"])}, "the key 'a' twice"),
        ({"views": np.arange(3)}, "keys, views and pictures must be"),
        ({"pictures": np.array([["a"], ["b"], ["c"]])}, "keys, views and pictures must be"),
        ({"times": np.zeros(3)}, "times must be"),
        ({"cameras": np.zeros((3, 1), dtype=np.int64)}, "cameras must be"),
        ({"cameras": np.zeros(3, dtype=np.int32)}, "cameras must be"),
        ({"features": np.zeros((3, 0), dtype=np.float32)}, "D at least 1"),
        ({"features": np.zeros((3, 2))}, "float32"),
        ({"features": np.full((3, 2), np.nan, dtype=np.float32)}, "NaN or infinity for 'p1/a'"),
        ({"words": 2 * unit_rows(3, 2)}, "vectors for texts must have length 1"),
        ({"origin": np.array("[" * 100_000)}, "recursion"),
        ({"origin": np.array("[]")}, "no dictionary"),
    ],
)
def test_entries_that_make_no_sense_are_refused(table, changes, problem, tmp_path):
    np.savez(tmp_path / "a.npz", **{**as_arrays(table), **changes})
    with pytest.raises(ValueError, match=f"a.npz is damaged, or was not written by .*{problem}"):
        read_features(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"origin": {"weights": "b2"}}, "b.npz cannot be compared with .*a.npz: its weights is 'b2'"),
        ({"features": unit_rows(3, 4)}, "b.npz has vectors of 4 numbers"),
        ({"words": None}, "a.npz has vectors to compare with texts and .*b.npz has none"),
        ({"keys": ["x", "people", "z"]}, "b.npz: the key 'people' is in another file"),
    ],
)
def test_files_of_a_search_must_fit_together(table, changes, problem, tmp_path):
    write_features(table, tmp_path / "a.npz")
    other = replace(table, keys=["x", "y", "z"])
    write_features(other, tmp_path / "b.npz")
    assert read_feature_files([tmp_path / "a.npz", tmp_path / "b.npz"]).keys == [*table.keys, "x", "y", "z"]
    write_features(replace(other, **changes), tmp_path / "b.npz")
    with pytest.raises(ValueError, match=problem):
        read_feature_files([tmp_path / "a.npz", tmp_path / "b.npz"])
