"""Feature files: what is written is read, and damaged or foreign files are refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search import feature_file
from search.feature_file import as_arrays, check_replaced, make_table, read_feature_files, read_features, write_features

SUFFIXES = (".npz", ".parquet")
ORIGIN = {"weights": "abc", "transform": "INPUT.SIZE_TEST (64, 32)"}


def unit_rows(count, width):
    rows = np.random.default_rng(width).normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


COLUMNS = {
    "key": ["p1/a", "p1/ünï b", "people"],
    "feature": unit_rows(3, 5),
    "camera": np.array([4, -1, 0]),
    "view": ["aerial", "", "ground"],
    "time": np.array(["2023-10-17T10:00:00", "NaT", "2023-10-18"], dtype="datetime64[s]"),
    "picture": ["/data/p1/a/1.jpg", "/data/p1/ünï b/2.jpg", "/data/3.png"],
    "words": unit_rows(3, 2),
}


def build(origin=ORIGIN, **changes):
    return make_table(origin, **{**COLUMNS, **changes})


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("changes", [{}, {"words": None}])
def test_a_file_returns_what_was_written(suffix, changes, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_file, "ROW_GROUP", 2)
    table = build(**changes)
    path = tmp_path / f"run=3/features{suffix}"  # such a folder is a column to readers of Parquet
    write_features(table, path)
    found = read_features(path)
    assert found.rows.combine_chunks().equals(table.rows, check_metadata=True)
    assert found.origin == ORIGIN
    assert found.features.tobytes() == COLUMNS["feature"].tobytes()
    known = {"key": "p1/ünï b", "picture": "/data/p1/ünï b/2.jpg"}
    assert found.list_entries([1]) == [{**known, "camera": -1, "view": "", "time": ""}]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_version_0_1_without_views_and_times_is_read(suffix, tmp_path):
    path = tmp_path / f"old{suffix}"
    if suffix == ".npz":
        arrays = as_arrays(build())
        np.savez(path, **{name: value for name, value in arrays.items() if name not in ("views", "times")})
    else:
        rows = build().rows.drop_columns(["view", "time"])
        pq.write_table(rows.set_column(1, "camera", rows["camera"].cast(pa.int64())), path)
    assert [entry["camera"] for entry in read_features(path).list_entries()] == [4, -1, 0]
    assert {(entry["view"], entry["time"]) for entry in read_features(path).list_entries()} == {("", "")}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_refused(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_features(build(), path)
    content = path.read_bytes()
    place = content.index(COLUMNS["feature"][0].tobytes())
    changed = content[: place + 3] + bytes([content[place + 3] ^ 1]) + content[place + 4 :]
    for damaged in (content[:-9], b"", b"no file of ours", changed):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.\w+ is damaged, or was not written by tools\.extract_features: "):
            read_features(path)


def test_files_that_are_missing_or_of_another_kind_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", keys=["a"], features=np.zeros((1, 2)), distances=np.zeros((1, 1)))
    columns = {"key": ["a"], "feature": [1.0], "camera": [1], "picture": ["a"]}
    pq.write_table(pa.table(columns, metadata={"origin": "{}"}), tmp_path / "plain.parquet")
    for name in ("a.npz", "plain.parquet"):
        with pytest.raises(ValueError, match=f"{name} is damaged, or was not written by"):
            read_features(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"b\.npz is not a file"):
        read_features(tmp_path / "b.npz")
    with pytest.raises(ValueError, match=r"must end in \.npz or \.parquet, got '\.csv'"):
        read_features(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"keys": np.arange(3)}, ""),
        ({"keys": np.array(["a", "b"])}, "length"),
        ({"keys": np.array(["a", "b", "a"])}, "the key 'a' twice"),
        ({"cameras": np.zeros((3, 1), dtype=np.int64)}, ""),
        ({"features": np.zeros((3, 0), dtype=np.float32)}, ""),
        ({"features": np.zeros((3, 2))}, "float32"),
        ({"features": np.full((3, 2), np.nan, dtype=np.float32)}, "NaN or infinity for 'p1/a'"),
        ({"origin": np.array("[" * 100_000)}, "recursion"),
    ],
)
def test_entries_that_make_no_sense_are_refused(changes, problem, tmp_path):
    np.savez(tmp_path / "a.npz", **{**as_arrays(build()), **changes})
    with pytest.raises(ValueError, match=f"a.npz is damaged, or was not written by .*{problem}"):
        read_features(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"origin": None}, "NoneType"),
        ({"origin": b"{}"}, "origin"),
        ({"origin": b"[1, 2]"}, "sequence"),
        ({"origin": b"\xff"}, "decode"),
        ({"key": ["a", None, "c"]}, "lacks a key"),
        ({"time": pa.array([2**50] * 3, pa.timestamp("s"))}, "large|range"),
    ],
)
def test_odd_tables_are_refused(changes, problem, tmp_path):
    rows = build().rows
    for name, values in changes.items():
        if name == "origin":
            rows = rows.replace_schema_metadata(values and {"origin": values})
        else:
            rows = rows.set_column(rows.column_names.index(name), name, [values])
    pq.write_table(rows, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=f"a.parquet is damaged, or was not written by .*({problem})"):
        read_features(tmp_path / "a.parquet")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_camera_may_be_a_word(suffix, tmp_path):
    write_features(build(camera=["East", "-1", "007"]), tmp_path / f"a{suffix}")
    assert [entry["camera"] for entry in read_features(tmp_path / f"a{suffix}").list_entries()] == ["East", -1, "007"]
    rows = build(camera=["4", None, "0"])
    assert [entry["camera"] for entry in rows.list_entries()] == [4, -1, 0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"origin": {"weights": "b2"}}, "b.parquet cannot be compared with .*a.npz: its weights is 'b2'"),
        ({"words": None}, "Only one of .*a.npz and .*b.parquet has vectors to compare with texts"),
        ({"key": ["x", "people", "z"]}, "b.parquet: the key 'people' is in another file"),
    ],
)
def test_files_of_a_search_must_fit_together(changes, problem, tmp_path):
    paths = [tmp_path / "a.npz", tmp_path / "b.parquet"]
    write_features(build(), paths[0])
    other = {"key": ["x", "y", "z"]}
    write_features(build(**other), paths[1])
    assert read_feature_files(paths).keys == [*COLUMNS["key"], "x", "y", "z"]
    write_features(build(**{**other, **changes}), paths[1])
    with pytest.raises(ValueError, match=problem):
        read_feature_files(paths)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_feature_files_are_replaced(suffix, tmp_path):
    path = tmp_path / f"people{suffix}"
    write_features(build(), path)
    check_replaced(path)
    np.savez(tmp_path / "distmat.npz", distmat=np.zeros(3))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "text.npz").write_text("text")
    for other in tmp_path.glob("[!p]*"):
        with pytest.raises(ValueError, match="is no feature file that could be replaced"):
            check_replaced(other)
