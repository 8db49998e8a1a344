"""What the data check finds in the names and frames of single tracklets."""

import os

import pytest
from PIL import Image

from datasets.check.findings import Problem
from datasets.check.tracklet_checks import examine_frames

TRACKLET = "train/1/c0n0"


def test_damaged_frames_are_warnings(make_tree, check, frames_of, found):
    root = make_tree()
    empty, truncated, copy, other, *_ = frames_of(root)
    empty.write_bytes(b"")
    truncated.write_bytes(truncated.read_bytes()[:-200])
    other.write_bytes(copy.read_bytes())
    report = check(root)
    assert found(report) == {"empty frame", "unreadable frame", "repeated frame"}
    assert report.findings["empty frame"] == [str(empty)]
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
        f"whether {num_unread} frames can be decoded or are repeated (--sample 2); they exist and are not empty"
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


def test_a_frame_that_leads_nowhere_blocks(make_tree, check, frames_of, found):
    root = make_tree()
    gone, loop, *_ = frames_of(root)
    for path, target in ((gone, "nowhere.jpg"), (loop, loop.name)):
        path.unlink()
        path.symlink_to(target)
    (root / TRACKLET / "nowhere.txt").symlink_to("nowhere")  # not named as a frame: the loader does not look at it
    report = check(root)
    assert found(report) == {"unusable entry", "loader"}  # each once, and not as a frame that a neighbour replaces
    assert [text.split(" ")[0] for text in report.findings["unusable entry"]] == [str(gone), str(loop)]
    assert "a link whose target is missing" in report.findings["unusable entry"][0]
    assert not any("cannot" in text or "whether" in text for text in report.not_checked)
    assert report.findings["stray file"] == [str(root / TRACKLET / "nowhere.txt")]
    assert report.can_train is False


def test_pipes_and_devices_are_not_opened(make_tree, check, frames_of, found):
    root = make_tree()
    pipe, device, *_ = frames_of(root)
    pipe.unlink()
    os.mkfifo(pipe)
    device.unlink()
    device.symlink_to("/dev/zero")
    report = check(root)
    assert found(report) == {"unusable entry", "loader"}
    assert [text.split(": ")[0] for text in report.findings["unusable entry"]] == [
        f"{pipe} is a pipe",
        f"{device} is a link to a character device",
    ]


def test_special_files_that_a_table_lists_as_frames(tmp_path):
    paths = [tmp_path / f"{name}.jpg" for name in ("pipe", "device", "dead_link", "missing", "folder")]
    pipe, device, dead_link, missing, folder = paths
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    dead_link.symlink_to("nowhere.jpg")
    folder.mkdir()
    results = examine_frames([str(path) for path in paths], (8, 8), sample=0)
    assert results.problems == [
        Problem("unreadable frame", f"{pipe}: it is not a regular file"),
        Problem("unreadable frame", f"{device}: it is not a regular file"),
        Problem("missing frame", str(dead_link)),
        Problem("missing frame", str(missing)),
        Problem("unreadable frame", f"{folder}: it is not a regular file"),
        Problem("no readable frame", str(tmp_path)),
    ]
    assert len(results.digests) == 0


@pytest.mark.parametrize("form", ["TIFF", "DDS"])
@pytest.mark.parametrize("num_bytes", [None, 100], ids=["whole", "cut off"])
def test_rare_formats_under_the_name_of_a_jpeg_are_unreadable(tmp_path, form, num_bytes):
    path = tmp_path / "1.jpg"
    Image.new("RGB", (16, 16)).save(path, form)
    path.write_bytes(path.read_bytes()[:num_bytes])
    frame, everything = examine_frames([str(path)], (8, 8), sample=0).problems
    assert (frame.check, everything.check) == ("unreadable frame", "no readable frame")
    assert str(path) in frame.text


def test_whatever_a_decoder_raises_is_an_unreadable_frame(make_tree, check, frames_of, found, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a bug of the decoder")

    root = make_tree()
    path = frames_of(root)[0]
    Image.new("RGB", (32, 64)).save(path, "PNG")
    monkeypatch.setattr(Image, "open", fail)  # JPEG files take another way
    report = check(root)
    assert found(report) == {"unreadable frame"}
    (text,) = report.findings["unreadable frame"]
    assert str(path) in text
    assert "a bug of the decoder" in text
    assert report.can_train
