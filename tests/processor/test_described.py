"""The file of described tracklets."""

from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from processor import described as described_module
from processor.described import COMPARED, DescribedTracklets, read_described, write_described

SUFFIXES = (".npz", ".parquet")


@pytest.fixture
def described():
    rng = np.random.default_rng(0)
    return DescribedTracklets(
        keys=["p1/a", "p1/ünï b", "people"],
        features=rng.normal(size=(3, 5)).astype(np.float32),
        cameras=np.array([4, -1, 0]),
        pictures=["/data/p1/a/1.jpg", "/data/p1/ünï b/2.jpg", "/data/3.png"],
        words=rng.normal(size=(3, 2)).astype(np.float32),
        origin={"weights": "abc", "transform": "INPUT.SIZE_TEST (64, 32)"},
    )


def assert_equal(actual, expected):
    for name in ("keys", "pictures", "origin"):
        assert getattr(actual, name) == getattr(expected, name)
    for name in ("features", "cameras", "words"):
        own, other = getattr(actual, name), getattr(expected, name)
        if other is None:
            assert own is None
        else:
            assert (own.dtype, own.shape, own.tobytes()) == (other.dtype, other.shape, other.tobytes())


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("with_words", [True, False])
def test_a_file_returns_what_was_written(described, suffix, with_words, tmp_path, monkeypatch):
    monkeypatch.setattr(described_module, "ROW_GROUP", 2)
    described = described if with_words else replace(described, words=None)
    path = tmp_path / f"run=3/features{suffix}"  # such a folder is a column to readers of Parquet
    write_described(described, path)
    assert_equal(read_described(path), described)
    assert set(COMPARED) <= read_described(path).origin.keys()


def test_parquet_has_one_row_a_tracklet(described, tmp_path):
    write_described(described, tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == ["key", "camera", "picture", "feature", "words"]
    assert table.schema.field("feature").type == pa.list_(pa.float32(), 5)
    assert table.slice(1, 1).to_pylist()[0]["feature"] == described.features[1].tolist()


@pytest.mark.parametrize("name", ["a.csv", "a", "a.NPZ"])
def test_another_suffix_is_refused(described, name, tmp_path):
    for act in (partial(write_described, described), read_described):
        with pytest.raises(ValueError, match=r"must end in \.npz or \.parquet, got '"):
            act(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_refused(described, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_described(described, path)
    content = path.read_bytes()
    place = content.index(described.features[0].tobytes())
    changed = content[: place + 3] + bytes([content[place + 3] ^ 1]) + content[place + 4 :]
    for damaged in (content[:-9], b"", b"no file of ours", changed):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.\w+ is damaged, or was not written by tools/extract_features\.py: "):
            read_described(path)


def test_files_of_other_programs_are_refused(described, tmp_path):
    np.savez(tmp_path / "a.npz", keys=["a"], features=np.zeros((1, 2)), distances=np.zeros((1, 1)))
    pq.write_table(pa.table({"key": ["a"], "feature": [[1.0, 2.0]]}), tmp_path / "a.parquet")
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, described.features)
    columns = {"key": ["a"], "feature": [1.0], "camera": [1], "picture": ["a"]}
    pq.write_table(pa.table(columns, metadata={"origin": "{}"}), tmp_path / "plain.parquet")
    for name in ("a.npz", "a.parquet", "array.npz", "plain.parquet"):
        with pytest.raises(ValueError, match=f"{name} is damaged, or was not written by tools/extract_features.py"):
            read_described(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"b.npz is not a file: tools/extract_features.py makes one"):
        read_described(tmp_path / "b.npz")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("column", "dtype"), [("features", np.float64), ("words", np.float16), ("cameras", np.int32)])
def test_columns_of_another_type_are_refused(column, dtype, suffix, described, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_described(replace(described, **{column: getattr(described, column).astype(dtype)}), path)
    with pytest.raises(ValueError, match="float32, and cameras int64"):
        read_described(path)


def test_columns_of_other_lengths_are_refused(described, tmp_path):
    write_described(replace(described, keys=["a"]), tmp_path / "a.npz")
    with pytest.raises(ValueError, match="its columns have different lengths"):
        read_described(tmp_path / "a.npz")
