from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets.build import open_dataset
from datasets.problems import Findings
from datasets.readers.ilidsvid import SPLITS_FILE
from datasets.tracklet import DatasetOptions

PEOPLE = (1, 2, 5, 19)  # with gaps
SPLITS = [[1, 2, 3, 4], [4, 1, 2, 3]]  # places in the sorted list, not person numbers


@pytest.fixture
def root(tmp_path):
    for camera in (1, 2):
        for pid in PEOPLE:
            folder = tmp_path / f"i-LIDS-VID/sequences/cam{camera}/person{pid:03d}"
            folder.mkdir(parents=True)
            for frame in (99, 100):
                Image.new("RGB", (2, 4)).save(folder / f"cam{camera}_person{pid:03d}_{frame}.png")
    write_splits(tmp_path, SPLITS)
    return tmp_path


def write_splits(root, splits):
    (root / SPLITS_FILE).parent.mkdir(exist_ok=True)
    savemat(root / SPLITS_FILE, {"ls_set": np.array(splits, dtype=np.uint16)})


@pytest.mark.parametrize(
    ("options", "train", "test"),
    [
        (DatasetOptions(), [5, 19], [1, 2]),
        (DatasetOptions(train_half="first"), [1, 2], [5, 19]),
        (DatasetOptions(split=2), [2, 5], [1, 19]),
        (DatasetOptions(split=2, train_half="first"), [1, 19], [2, 5]),
    ],
)
def test_splits_and_halves(root, options, train, test):
    dataset = open_dataset("ilidsvid", root, options)
    assert [(t.pid, t.camid) for t in dataset.train] == [(pid, camera) for pid in train for camera in (1, 2)]
    case = dataset.cases["case1"]
    assert [(t.pid, t.camid) for t in case.query] == [(pid, 1) for pid in test]
    assert [(t.pid, t.camid) for t in case.gallery] == [(pid, 2) for pid in test]
    assert case.protocol == "cross-camera"
    assert {len(t.frame_paths) for t in case.query} == {2}
    assert [Path(path).stem[-3:] for path in case.query[0].frame_paths] == ["_99", "100"]


@pytest.mark.parametrize("splits", [[[1, 2, 3, 3]], [[1, 2, 3, 5]], [[1, 2]]])
def test_splits_of_other_people(root, splits):
    with pytest.raises(ValueError, match=r"DATASETS\.SPLIT must lie in 1\.\.2, got 3"):
        open_dataset("ilidsvid", root, DatasetOptions(split=3))
    write_splits(root, splits)
    with pytest.raises(ValueError, match=r"every row of ls_set must name each of the 4 people"):
        open_dataset("ilidsvid", root)


def test_evaluation_reads_no_frames_of_training_people(root):
    for folder in root.glob("i-LIDS-VID/sequences/cam*/person0*"):
        if int(folder.name[-3:]) in (5, 19):  # the second half trains
            for frame in folder.iterdir():
                frame.unlink()
    with pytest.raises(ValueError, match="this tracklet has no frames"):
        open_dataset("ilidsvid", root)
    findings = Findings()
    assert open_dataset("ilidsvid", root, problems=findings).train == ()
    assert len(findings.places["empty folder"]) == 4
    dataset = open_dataset("ilidsvid", root, DatasetOptions(with_train=False))
    assert dataset.train == ()
    assert [t.pid for t in dataset.cases["case1"].query] == [1, 2]


@pytest.mark.parametrize(
    ("person", "message"),
    [
        ("person020", r"the same people; only one saw 19, 20"),
        ("nobody", r"nobody: expected a folder name like person001"),
        (f"person{2**63}", rf"person{2**63}: expected a folder name like person001, of at most 64 bits"),
        ("person5", r"person5 and .*person005 are the same identity, 5"),
    ],
)
def test_odd_folders(root, person, message):
    folder = root / "i-LIDS-VID/sequences/cam1"
    (folder / "person019").rename(folder / person)
    with pytest.raises(ValueError, match=message):
        open_dataset("ilidsvid", root)
