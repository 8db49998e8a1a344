"""The file of described tracklets."""

import zipfile
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search import described as described_module
from search.described import COMPARED, DescribedTracklets, read_described, write_described

SUFFIXES = (".npz", ".parquet")


def unit_rows(count, width):
    rows = np.random.default_rng(width).normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def described():
    return DescribedTracklets(
        keys=["p1/a", "p1/ünï b", "people"],
        features=unit_rows(3, 5),
        cameras=np.array([4, -1, 0]),
        pictures=["/data/p1/a/1.jpg", "/data/p1/ünï b/2.jpg", "/data/3.png"],
        words=unit_rows(3, 2),
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
    with pytest.raises(ValueError, match=r"must be \(n, D\), float32|cameras must be \(n,\), int64"):
        read_described(path)


def test_columns_of_other_lengths_are_refused(described, tmp_path):
    write_described(replace(described, keys=["a"]), tmp_path / "a.npz")
    with pytest.raises(ValueError, match="its columns have different lengths"):
        read_described(tmp_path / "a.npz")


def write_npz(described, path, **changes):
    np.savez(path, **{**described_module.described_as_arrays(described), **changes})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"keys": np.array("abc")}, "keys and pictures must be"),
        ({"keys": np.arange(3)}, "keys and pictures must be"),
        ({"pictures": np.array([["a"], ["b"], ["c"]])}, "keys and pictures must be"),
        ({"cameras": np.zeros((3, 1), dtype=np.int64)}, "cameras must be"),
        ({"features": np.zeros((3, 0), dtype=np.float32)}, "D at least 1"),
        ({"words": 2 * unit_rows(3, 2)}, "a vector of length 2, not 1, for 'p1/a'"),
        ({"features": np.zeros((3, 5), dtype=np.float32)}, "a vector of length 0, not 1"),
        ({"origin": np.array("[" * 100_000)}, "recursion"),
        ({"origin": np.array("[]")}, "no dictionary"),
    ],
)
def test_entries_that_make_no_sense_are_refused(described, changes, problem, tmp_path):
    write_npz(described, tmp_path / "a.npz", **changes)
    with pytest.raises(ValueError, match=f"a.npz is damaged, or was not written by .*{problem}"):
        read_described(tmp_path / "a.npz")


def test_a_model_may_leave_descriptors_as_they_are(described, tmp_path):
    origin = {**described.origin, "transform": "TEST.FEAT_NORM False, TEST.FLIP True"}
    write_described(replace(described, features=2 * described.features, origin=origin), tmp_path / "a.npz")
    assert np.linalg.norm(read_described(tmp_path / "a.npz").features, axis=1) == pytest.approx(2)


@pytest.mark.parametrize(
    "shape", ["(9999999999999, 5)", "(1e999, 5)", "(99999999999999999999999, 5)", "((3, 5)", "(3,"]
)
def test_a_shape_that_makes_no_sense_is_refused(described, shape, tmp_path):
    described_module.write_described(described, tmp_path / "whole.npz")
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode()
    entry = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + described.features.tobytes()
    with zipfile.ZipFile(tmp_path / "whole.npz") as whole, zipfile.ZipFile(tmp_path / "a.npz", "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, entry if name == "features.npy" else whole.read(name))
    with pytest.raises(ValueError, match=r"a\.npz is damaged, or was not written by"):
        read_described(tmp_path / "a.npz")


def test_a_damaged_or_foreign_compression_is_refused(described, tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **described_module.described_as_arrays(described))
    content = path.read_bytes()
    begin = content.index(b"features.npy") + len(b"features.npy") + 20  # 20 bytes of an extra field
    for changed in (
        content[:begin] + bytes(40) + content[begin + 40 :],
        content.replace(b"\x08\0", b"\x63\0"),  # no such method
        content.replace(b"PK\x01\x02\x2d\x03\x2d\0\0\0", b"PK\x01\x02\x2d\x03\x2d\0\x01\0"),  # encrypted
    ):
        assert changed != content
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"a\.npz is damaged, or was not written by"):
            read_described(path)
