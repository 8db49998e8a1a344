import pytest

from datasets.build import open_dataset
from datasets.readers.dataset import DatasetOptions

TRAIN = [(1, 1, 2), (1, 2, 3)]
TEST = [(2, 1, 2), (2, 2, 2), (4, 1, 1), (4, 2, 2)]


def test_the_camera_without_queries_is_aerial(build_mars_tree, caplog):
    caplog.set_level("INFO")
    dataset = open_dataset("g2avreid", build_mars_tree(TRAIN, TEST, [1, 3]).root)
    assert [(t.pid, t.camid, t.view) for t in dataset.train] == [(1, 1, "ground"), (1, 2, "aerial")]
    assert list(dataset.cases) == ["case2"]
    case = dataset.cases["case2"]
    assert (case.title, case.protocol) == ("ground to aerial", "cross-camera")
    assert [(t.pid, t.view) for t in case.query] == [(2, "ground"), (4, "ground")]
    assert [(t.pid, t.view) for t in case.gallery] == [(2, "aerial"), (4, "aerial")]
    message = "G2A-VReID: this copy differs from the published counts: tracklets: 6 instead of 5576."
    assert message in caplog.messages


def test_cameras_may_be_the_other_way_round(build_mars_tree):
    dataset = open_dataset("g2avreid", build_mars_tree(TRAIN, TEST, [2, 4]).root)
    assert {t.camid: t.view for t in dataset.train} == {1: "aerial", 2: "ground"}


def test_the_config_decides_where_queries_do_not(build_mars_tree, caplog):
    root = build_mars_tree(TRAIN, TEST, [1, 4]).root
    with pytest.raises(ValueError, match=r"Queries come from cameras \[1, 2\].*set DATASETS\.AERIAL_CAMERA"):
        open_dataset("g2avreid", root)
    case = open_dataset("g2avreid", root, DatasetOptions(aerial_camera=2)).cases["case2"]
    assert [t.view for t in case.query] == ["ground", "aerial"]
    assert "query: 1 of 2 tracklets are not from the ground" in caplog.text
    with pytest.raises(ValueError, match=r"DATASETS\.AERIAL_CAMERA must be one of \[1, 2\], got 3"):
        open_dataset("g2avreid", root, DatasetOptions(aerial_camera=3))


def test_other_numbers_of_cameras(build_mars_tree):
    root = build_mars_tree(TRAIN, [*TEST, (4, 3, 1)], [1]).root
    with pytest.raises(ValueError, match=r"has two cameras, but its tables name \[1, 2, 3\]"):
        open_dataset("g2avreid", root)
