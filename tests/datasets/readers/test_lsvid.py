from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from datasets.build import open_dataset
from datasets.readers.lsvid import LIST_FOLDERS, QUERY_FILES

TRAIN = [("tracklet_train/0000/0000_0001_01_", 0, (9, 10, 100)), ("tracklet_train/0003/0003_0001_15_", 3, (1, 2))]
TEST = [
    ("tracklet_test/0011/0011_0001_02_", 11, (1, 2)),
    ("tracklet_test/0011/0011_0002_03_", 11, (1,)),
    ("tracklet_test/0012/0012_0001_04_", 12, (1,)),
]


def add_list(root, folder, split, tracklets):
    for prefix, _, numbers in tracklets:
        for number in numbers:
            path = root / f"{prefix}{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (2, 4)).save(path)
    (root / folder).mkdir(parents=True, exist_ok=True)
    lines = [f"{prefix} {pid}" for prefix, pid, _ in tracklets]
    (root / folder / f"list_seq_{split}.txt").write_text("\n".join(lines) + "\n")


def build(root, layout=0, query=(2,)):
    add_list(root, LIST_FOLDERS[layout], "train", TRAIN)
    add_list(root, LIST_FOLDERS[layout], "test", TEST)
    path = root / QUERY_FILES[layout]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["query"] = np.array([query], dtype=float).T
        file["gallery"] = np.array([[1.0, 2.0, 3.0]]).T
    return root


@pytest.mark.parametrize("layout", [0, 1])
def test_both_layouts(tmp_path, layout, caplog):
    caplog.set_level("INFO")
    dataset = open_dataset("lsvid", build(tmp_path, layout))
    assert [(t.pid, t.camid, len(t.frame_paths)) for t in dataset.train] == [(0, 1, 3), (3, 15, 2)]
    assert [Path(path).name[-7:] for path in dataset.train[0].frame_paths] == ["1_9.jpg", "_10.jpg", "100.jpg"]
    case = dataset.cases["case1"]
    assert case.protocol == "cross-camera"
    assert [(t.pid, t.camid) for t in case.query] == [(11, 3)]
    assert [(t.pid, t.camid) for t in case.gallery] == [(11, 2), (12, 4)]
    assert caplog.messages[-1].endswith(
        "train tracklets: 2 instead of 2831, lsvid/query tracklets: 1 instead of 3504, lsvid/gallery tracklets: 2 "
        "instead of 7829."
    )


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("tracklet_train/0000/0000_ -1", "expected a path prefix and a pid"),
        ("tracklet train/0000/0000_ 9", r"line 3: expected a path prefix and a pid, and no other spaces, got"),
        (f"tracklet_train/0000/0000_0001_01_ {2**63}", r"line 3: the pid must be an integer of 64 bits"),
        ("tracklet_train/0000/0009_ 9", "line 3: no image in .*0000 begins with 0009_"),
        ("tracklet_odd/0000_01_ 9", "line 3: expected a camera, 1 to 15, .* got 0000_01_16_1"),
        ("tracklet_odd/0000_02_ 9", r"line 3: the frames come from several cameras, \[1, 2\]"),
    ],
)
def test_odd_lines(tmp_path, line, error):
    build(tmp_path)
    (tmp_path / "tracklet_odd").mkdir()
    for name in ("0000_01_16_1.jpg", "0000_02_01_1.jpg", "0000_02_02_1.jpg"):
        Image.new("RGB", (2, 4)).save(tmp_path / "tracklet_odd" / name)
    with (tmp_path / "info/list_sequence/list_seq_train.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=error):
        open_dataset("lsvid", tmp_path)


def test_prefixes_that_overlap_are_reported(tmp_path, caplog):
    build(tmp_path)
    with (tmp_path / "info/list_sequence/list_seq_train.txt").open("a") as file:
        file.write("tracklet_train/0000/0000_0001_01_10 0\n")
    open_dataset("lsvid", tmp_path)
    assert any("train: 2 frames belong to several tracklets" in message for message in caplog.messages)
