import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from datasets.build import open_dataset
from datasets.readers.mars import MARS_COUNTS, read_tables
from datasets.tracklet import DatasetOptions
from utils.metrics import CROSS_CAMERA, MARS_OFFICIAL, evaluate_ranking

TRAIN = [(1, 1, 2), (1, 2, 3), (7, 1, 12)]
TEST = [(-1, 1, 2), (0, 1, 2), (0, 3, 1), (2, 1, 2), (2, 1, 2), (2, 2, 3), (4, 5, 2), (4, 6, 2)]
QUERY = [4, 6, 7, 8]  # person 2, cameras 1 and 2; person 4, cameras 5 and 6


@pytest.fixture
def tree(build_mars_tree):
    return build_mars_tree(TRAIN, TEST, QUERY)


def rows(tracklets):
    return [int(tracklet.name.removeprefix("track")) for tracklet in tracklets]


def score(case, protocol):
    ids = [[tracklet.pid for tracklet in side] for side in (case.query, case.gallery)]
    cameras = [[tracklet.camid for tracklet in side] for side in (case.query, case.gallery)]
    distmat = np.random.default_rng(0).random((len(case.query), len(case.gallery)))
    return evaluate_ranking(distmat, *ids, *cameras, protocol=protocol)


def test_reads_the_tree_without_lists_of_names(tree, caplog):
    caplog.set_level(logging.INFO)
    dataset = open_dataset("mars", tree.root)
    assert [(t.pid, t.camid, t.view, len(t.frame_paths)) for t in dataset.train] == [
        (1, 1, "ground", 2),
        (1, 2, "ground", 3),
        (7, 1, "ground", 12),
    ]
    assert [Path(path).name for path in dataset.train[2].frame_paths] == [
        f"0007C1T0003F{frame:03d}.jpg" for frame in range(1, 13)
    ]
    assert any("train_name.txt is absent: its list is derived" in message for message in caplog.messages)
    assert "gallery tracklets without queries: 3 instead of 9330" in caplog.text


@pytest.mark.parametrize(
    ("chosen", "protocol", "gallery", "valid", "unmatched"),
    [("", MARS_OFFICIAL, [2, 3, 4, 5, 6, 7, 8], 4, 0), ("cross-camera", CROSS_CAMERA, [2, 3, 5], 1, 3)],
)
def test_queries_stay_in_the_gallery_by_the_official_protocol_alone(tree, chosen, protocol, gallery, valid, unmatched):
    case = open_dataset("mars", tree.root, DatasetOptions(protocol=chosen)).cases["case1"]
    assert case.protocol == protocol.name
    assert (rows(case.query), rows(case.gallery)) == (QUERY, gallery)  # junk is out, distractors are in
    assert len({tracklet.key for tracklet in case.gallery}) == len(gallery)
    result = score(case, protocol)
    assert (result.num_valid_queries, result.num_unmatched) == (valid, unmatched)


def test_lists_of_names_give_the_order(tree):
    for split, names in tree.names.items():
        (tree.root / f"info/{split}_name.txt").write_text("\n".join(names) + "\n")
    assert [tracklet.frame_paths for tracklet in open_dataset("mars", tree.root).train][0][0].endswith(
        "0001/0001C1T0001F001.jpg"
    )
    names = tree.names["train"]
    (tree.root / "info/train_name.txt").write_text("\n".join([*names[5:], *names[:5]]))
    with pytest.raises(ValueError, match=r"track 1 is person 1, camera 1, but holds .*0007C1.*not in the order"):
        open_dataset("mars", tree.root)
    for content, message in (
        ("\n".join(names).encode() + b"\nreadme.md\n", "expected one image name a line, found 'readme"),
        (b"0001C1T0001F001.jpg\n\n1.jpg 2.jpg\n", r"train_name\.txt, line 3: expected one image name a line"),
        (b"0001C1T0001F001.jpg\n\xff.jpg", r"train_name\.txt, line 2: the file is not UTF-8 text"),
    ):
        (tree.root / "info/train_name.txt").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            open_dataset("mars", tree.root)


def test_incomplete_copies_are_named(tree):
    victim = tree.root / "bbox_test/0004" / tree.names["test"][-1]
    victim.unlink()
    with pytest.raises(ValueError, match=r"test: the table counts 16 frames, but the list has 15"):
        open_dataset("mars", tree.root)
    (tree.root / "info/test_name.txt").write_text("\n".join(tree.names["test"]))
    open_dataset("mars", tree.root)  # a frame that is not a track's first is missed when it is decoded, and replaced
    (tree.root / "bbox_test/0004" / tree.names["test"][-2]).unlink()
    with pytest.raises(FileNotFoundError, match=r"0004C6T0008F001\.jpg is listed, but is not there"):
        open_dataset("mars", tree.root)


def test_evaluation_can_do_without_train(tree):
    (tree.root / "bbox_train").rename(tree.root / "moved")
    with pytest.raises(FileNotFoundError, match=r"bbox_train is not a folder"):
        open_dataset("mars", tree.root)
    assert open_dataset("mars", tree.root, DatasetOptions(with_train=False)).train == ()
    (tree.root / "moved").rename(tree.root / "bbox_train")
    (tree.root / "info/tracks_train_info.mat").write_text("not a table")
    with pytest.raises(ValueError, match=r"tracks_train_info\.mat is not a MATLAB file"):
        open_dataset("mars", tree.root)
    assert open_dataset("mars", tree.root, DatasetOptions(with_train=False)).train == ()


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("query_IDX", "query_IDX", [[9]], r"query_IDX must lie in 1\.\.8, found 9\.\.9"),
        ("query_IDX", "query_IDX", [[4, 4]], "names 1 rows more than once"),
        ("query_IDX", "query_IDX", [[1]], "1 queries are junk or distractors"),
        ("query_IDX", "query", [[4]], "expected a variable 'query_IDX', found query"),
        ("query_IDX", "query_IDX", [[4.5]], "query_IDX must hold integers"),
        ("tracks_test_info", "track_test_info", [[1, 2, 3]], r"must have four columns .* got \(1, 3\)"),
        ("tracks_test_info", "track_test_info", [[1, 1, 2, 1], [3, 2, 2, 1]], "row 2 has no frames"),
        ("tracks_train_info", "track_train_info", [[1, 17, 1, 9]], r"cameras \[9\] are not among"),
    ],
)
def test_odd_tables(tree, name, key, value, message):
    savemat(tree.root / f"info/{name}.mat", {key: np.array(value)})
    with pytest.raises(ValueError, match=message):
        open_dataset("mars", tree.root)


def test_published_tables(shared):
    tables = read_tables(shared / "data/mars_info", "MARS")
    found = {
        "train identities": len(np.unique(tables.train[:, 2])),
        "train tracklets": len(tables.train),
        "mars/query tracklets": len(tables.query_rows),
        "gallery tracklets without queries": len(tables.gallery_rows(keep_queries=False)),
    }
    assert found == MARS_COUNTS
    assert len(tables.gallery_rows(keep_queries=True)) == 9330 + 1980
    assert (tables.train[:, 1].max(), tables.test[:, 1].max()) == (509914, 681089)
    gallery = tables.test[tables.gallery_rows(keep_queries=False)]
    assert (len(np.unique(gallery[:, 2])), int((gallery[:, 2] == 0).sum())) == (621, 3248)
    assert len(np.unique(tables.test[tables.query_rows, 2])) == 626
    raw = loadmat(shared / "data/mars_info/query_IDX.mat")["query_IDX"]
    assert tables.query_rows.tolist() == [int(row) - 1 for row in raw.ravel()]


@pytest.mark.parametrize(
    ("keep_queries", "protocol", "valid", "unmatched"), [(1, MARS_OFFICIAL, 1980, 0), (0, CROSS_CAMERA, 1840, 140)]
)
def test_published_conventions(shared, keep_queries, protocol, valid, unmatched):
    tables = read_tables(shared / "data/mars_info", "MARS")
    query, gallery = tables.test[tables.query_rows], tables.test[tables.gallery_rows(bool(keep_queries))]
    distmat = np.random.default_rng(0).random((len(query), len(gallery)), dtype=np.float32)
    result = evaluate_ranking(distmat, query[:, 2], gallery[:, 2], query[:, 3], gallery[:, 3], protocol=protocol)
    assert (result.num_valid_queries, result.num_unmatched) == (valid, unmatched)


G2A_TRAIN = [(1, 1, 2), (1, 2, 3)]
G2A_TEST = [(2, 1, 2), (2, 2, 2), (4, 1, 1), (4, 2, 2)]


def test_the_camera_without_queries_is_aerial(build_mars_tree, caplog):
    caplog.set_level("INFO")
    dataset = open_dataset("g2avreid", build_mars_tree(G2A_TRAIN, G2A_TEST, [1, 3]).root)
    assert [(t.pid, t.camid, t.view) for t in dataset.train] == [(1, 1, "ground"), (1, 2, "aerial")]
    assert list(dataset.cases) == ["case2"]
    case = dataset.cases["case2"]
    assert (case.title, case.protocol) == ("ground to aerial", "cross-camera")
    assert [(t.pid, t.view) for t in case.query] == [(2, "ground"), (4, "ground")]
    assert [(t.pid, t.view) for t in case.gallery] == [(2, "aerial"), (4, "aerial")]
    message = "G2A-VReID: this copy differs from the published counts: tracklets: 6 instead of 5576."
    assert message in caplog.messages


def test_the_config_decides_where_queries_do_not(build_mars_tree, caplog):
    root = build_mars_tree(G2A_TRAIN, G2A_TEST, [1, 4]).root
    with pytest.raises(ValueError, match=r"Queries come from cameras \[1, 2\].*set DATASETS\.AERIAL_CAMERA"):
        open_dataset("g2avreid", root)
    case = open_dataset("g2avreid", root, DatasetOptions(aerial_camera=2)).cases["case2"]
    assert [t.view for t in case.query] == ["ground", "aerial"]
    assert "query: 1 of 2 tracklets are not from the ground" in caplog.text
    with pytest.raises(ValueError, match=r"DATASETS\.AERIAL_CAMERA must be one of \[1, 2\], got 3"):
        open_dataset("g2avreid", root, DatasetOptions(aerial_camera=3))
    build_mars_tree(G2A_TRAIN, [*G2A_TEST, (4, 3, 1)], [1])
    with pytest.raises(ValueError, match=r"has two cameras, but its tables name \[1, 2, 3\]"):
        open_dataset("g2avreid", root)
