"""What the data check finds in the frames of single tracklets."""

import os
from dataclasses import replace

from datasets.check.check import examine_tracklet

TRACKLET = "train/1/c0n0"


def test_damaged_frames_are_warnings(make_tree, check, frames_of, found):
    root = make_tree()
    empty, truncated, copy, other, *_ = frames_of(root)
    empty.write_bytes(b"")
    truncated.write_bytes(truncated.read_bytes()[:-200])
    other.write_bytes(copy.read_bytes())
    report = check(root)
    assert found(report) == {"empty frame", "unreadable frame", "repeated frame"}
    assert report.problems.places["empty frame"] == [str(empty)]
    assert str(truncated) in report.problems.places["unreadable frame"][0]
    assert copy.name in report.problems.places["repeated frame"][0]
    assert report.can_train


def test_a_sample_of_the_frames(make_tree, check, frames_of, found):
    root = make_tree()
    frames = frames_of(root)
    frames[2].write_bytes(b"no image")
    frames[3].write_bytes(b"")
    report = check(root, sample=2)  # the first and the last
    assert found(report) == {"empty frame"}
    num_unread = sum(each.num_frames for each in report.examined) - 2 * len(report.examined) - 1
    assert report.not_checked == [
        f"whether {num_unread} frames can be decoded or are repeated (--sample 2); they exist and are not empty"
    ]


def test_special_files_that_a_table_lists_as_frames(tmp_path, make_tracklet):
    paths = [tmp_path / f"{name}.jpg" for name in ("pipe", "device", "dead_link", "missing", "folder")]
    pipe, device, dead_link, missing, folder = paths
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    dead_link.symlink_to("nowhere.jpg")
    folder.mkdir()
    tracklet = replace(make_tracklet(1), frame_paths=tuple(map(str, paths)))
    results = examine_tracklet("train", tracklet, (8, 8), sample=0)
    assert results.problems == [
        ("unreadable frame", f"{pipe}: it is not a regular file"),
        ("unreadable frame", f"{device}: it is not a regular file"),
        ("missing frame", str(dead_link)),
        ("missing frame", str(missing)),
        ("unreadable frame", f"{folder}: it is not a regular file"),
        ("no readable frame", str(tmp_path)),
    ]
    assert len(results.digests) == 0
