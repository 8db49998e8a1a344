"""What the data check finds by comparing all tracklets."""

import shutil

CASE1 = "case1_aerial_to_ground"
TRACKLET = "train/1/c0n0"


def test_a_frame_of_two_people(make_tree, check, frames_of, found):
    root = make_tree()
    mine, other = frames_of(root)[0], frames_of(root, "train/4/c0n0")[3]
    other.write_bytes(mine.read_bytes())
    report = check(root)
    assert found(report) == {"frame of two people"}
    assert report.problems.places["frame of two people"] == [f"{mine} and {other}"]
    shutil.copytree(root / TRACKLET, root / "train/4/copy")
    texts = check(root).problems.places["frame of two people"]
    assert len(texts) == 2  # frame 0 is shown with the first of the other's two, the five others with the copy
    assert texts[1].endswith(", and 4 more of these tracklets")


def test_people(make_tree, check):
    root = make_tree(test=(1, 20))
    shutil.rmtree(root / "train/4/c4n0")
    shutil.rmtree(root / "train/4/c4n1")
    for name in ("c0n0", "c0n1", "c4n0"):
        shutil.rmtree(root / "train/6" / name)
    shutil.rmtree(root / CASE1 / "gallery/20")
    report = check(root)
    places = report.problems.places
    assert places["people in train and test"] == ["identity 1"]
    assert places["one view"] == ["identity 4: only ground", "identity 6: only aerial"]
    assert places["one tracklet"] == ["identity 6"]
    assert places["few tracklets"] == ["identity 6: 1"]
    assert places["query without match"] == [f"{CASE1}/query: identity 20, 2 queries"]
    assert report.can_train


def test_short_tracklets_cameras_views_altitudes_and_strays(make_tree, check, frames_of, found):
    root = make_tree()
    for frame in frames_of(root)[3:]:
        frame.unlink()
    for frame in frames_of(root, f"{CASE1}/query/20/c4n0"):
        frame.rename(frame.with_name(frame.name.replace("C4", "C2")))
    for frame in frames_of(root, "train/1/c4n0"):
        frame.rename(frame.with_name(frame.name.replace("A2", "A9")))
    (root / TRACKLET / "Thumbs.db").write_bytes(b"x")
    report = check(root)
    assert found(report) == {"short tracklet", "other view", "camera only in test", "altitude"}
    places = report.problems.places
    assert places["short tracklet"] == ["train: identity 1, c0n0: 3 frames"]
    assert places["other view"] == [f"{root / CASE1}/query/20/c4n0: from the ground"]
    assert places["camera only in test"] == ["camera 2: 1 tracklets"]
    assert places["altitude"] == [str(root / "train/1/c4n0")]
    assert places["stray file"] == [str(root / TRACKLET / "Thumbs.db")]


def test_a_query_that_may_find_itself(detreidx_tree, check_detreidx):
    root = detreidx_tree.root
    case3 = "case3_aerial_to_aerial"
    for side in ("query", "gallery"):
        shutil.copytree(root / f"{CASE1}/query", root / case3 / side)
    assert check_detreidx().problems.places["query in its gallery"] == [f"{case3}/query: identity 3, 3_query"]
    for opts in (("TEST.PROTOCOL", "cross-camera"), ("DATASETS.IDENTITIES_MASKED", True)):
        assert "query in its gallery" not in check_detreidx(*opts).problems.places


def test_more_bad_frames_than_training_tolerates(make_tree, check, frames_of):
    root = make_tree()
    empty, garbled, *_ = frames_of(root)
    empty.write_bytes(b"")
    garbled.write_bytes(b"no image")
    report = check(root, "DATALOADER.MAX_BAD_FRACTION", 0.01)  # 2 of 96
    (text,) = report.problems.places["too many bad frames"]
    assert text == "2 of 96 training frames cannot be used, 2.08 %; the limit is 1 %"
    assert report.can_train is False
    report = check(root, "DATALOADER.MAX_BAD_FRACTION", 0.03)
    assert "too many bad frames" not in report.problems.places
    assert report.can_train
