"""What the data check finds in the names and frames of single tracklets."""

import os

TRACKLET = "train/1/c0n0"

def test_damaged_frames_are_warnings(make_tree, check, frames_of, found):
    root = make_tree()
    empty, truncated, gone, copy, *_ = frames_of(root)
    empty.write_bytes(b"")
    truncated.write_bytes(truncated.read_bytes()[:-200])
    gone.unlink()
    gone.symlink_to("nowhere.jpg")
    frames_of(root)[4].write_bytes(copy.read_bytes())
    report = check(root)
    assert found(report) == {"empty frame", "unreadable frame", "missing frame", "repeated frame"}
    assert report.findings["empty frame"] == [str(empty)]
    assert report.findings["missing frame"] == [str(gone)]
    assert str(truncated) in report.findings["unreadable frame"][0]
    assert copy.name in report.findings["repeated frame"][0]
    assert report.can_train


def test_a_tracklet_without_a_readable_frame_blocks(make_tree, check, frames_of):
    root = make_tree()
    for frame in frames_of(root):
        frame.write_bytes(b"no image")
    report = check(root)
    assert report.findings["no readable frame"] == [str(root / TRACKLET)]
    assert report.can_train is False


def test_a_sample_of_the_frames(make_tree, check, frames_of, found):
    root = make_tree()
    frames = frames_of(root)
    frames[2].write_bytes(b"no image")
    frames[3].write_bytes(b"")
    report = check(root, sample=2)  # the first and the last
    assert found(report) == {"empty frame"}
    num_frames = sum(tracklet.num_frames for tracklet in report.tracklets)
    num_unread = num_frames - 2 * len(report.tracklets) - 1
    assert report.not_checked == [
        f"whether {num_unread} frames can be decoded or are repeated (--sample 2); they are there and not empty"
    ]


def test_a_folder_that_cannot_be_listed(make_tree, check, monkeypatch):
    root = make_tree()
    listdir = os.listdir

    def refuse(path):
        if str(path).endswith(TRACKLET):
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    report = check(root)
    assert report.findings["unreachable folder"] == [f"{root / TRACKLET}: Permission denied"]
    assert report.can_train is False
