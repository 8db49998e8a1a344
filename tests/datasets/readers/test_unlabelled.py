"""Tracklets of a folder that nobody has labelled."""

import logging
import os

import pytest

from datasets.readers.own_data import read_unlabelled


@pytest.fixture
def write(tmp_path):
    """``write("a/1.jpg", "b/")``: make empty files, and folders, below tmp_path / "people"; returns that folder."""

    def make(*names):
        root = tmp_path / "people"
        for name in names:
            path = root / name
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.touch()
        return root

    return make


def names_of(tracklets):
    return [tracklet.name for tracklet in tracklets]


def test_every_folder_that_directly_holds_frames_is_a_tracklet(write):
    root = write("p10/1.jpg", "p2/a/1.jpg", "p2/b/deep/er/1.PNG", "p2/cover.jpeg", "p2/notes.txt", "README")
    assert names_of(read_unlabelled(root)) == ["p2", "p2/a", "p2/b/deep/er", "p10"]


def test_a_tracklets_own_folder_is_named_by_itself_and_its_frames_are_in_natural_order(write, monkeypatch):
    root = write("f10.jpg", "f9.jpg", "f2.png", ".hidden.jpg", "frames.txt")
    monkeypatch.chdir(root)
    for path in (root, "."):
        (tracklet,) = read_unlabelled(path, camera=3)
        assert (tracklet.name, tracklet.pid, tracklet.camid) == ("people", -1, 3)
        assert tracklet.frame_paths == tuple(f"{root}/{name}" for name in ("f2.png", "f9.jpg", "f10.jpg"))


def test_an_image_is_a_tracklet_of_one_frame(write):
    root = write("photo.JPG", "photo.gif")
    (tracklet,) = read_unlabelled(root / "photo.JPG")
    assert (tracklet.name, tracklet.camid, list(tracklet.frame_paths)) == ("photo.JPG", -1, [f"{root}/photo.JPG"])
    with pytest.raises(FileNotFoundError, match=r"photo.gif cannot be used: expected a folder with frames \(.jpg"):
        read_unlabelled(root / "photo.gif")


def test_what_is_left_out_is_named(write, caplog):
    caplog.set_level(logging.WARNING)
    root = write("a/1.jpg", "b/", "c/notes.txt", ".d/1.jpg")
    (root / "e").symlink_to("nowhere")
    assert names_of(read_unlabelled(root)) == ["a"]
    assert caplog.messages == [
        f"{root}: left out (3): this folder has no images (2): b, c; this link leads nowhere (1): e."
    ]


def test_a_folder_that_cannot_be_listed_is_an_error(write, monkeypatch):
    root = write("a/1.jpg", "b/1.jpg")
    scandir = os.scandir

    def fail(path):
        if os.fspath(path).endswith("b"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(ValueError, match=r"b cannot be listed: Permission denied; its frames would be left out"):
        read_unlabelled(root)


def test_a_folder_without_frames_is_one_error(write, caplog):
    root = write("a/", "b/notes.txt")
    with pytest.raises(FileNotFoundError, match=r"people has no frames: expected a folder with frames"):
        read_unlabelled(root)
    with pytest.raises(FileNotFoundError, match=r"nowhere is missing: expected a folder with frames"):
        read_unlabelled(root / "nowhere")
    assert not caplog.messages


def test_links_are_followed_but_not_in_a_circle(write, tmp_path):
    root = write("a/1.jpg", "b/1.jpg")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.jpg").touch()
    (root / "linked").symlink_to(elsewhere)
    (root / "a/up").symlink_to(root)
    (root / "a/other").symlink_to(root / "b")
    (root / "b/other").symlink_to(root / "a")
    names = names_of(read_unlabelled(root))
    assert names == ["a", "a/other", "b", "b/other", "linked"]
