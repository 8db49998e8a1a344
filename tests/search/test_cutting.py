"""Tracklets cut out of tiny videos: their pixels and names, and that they are written whole or not at all."""

import weakref
from dataclasses import replace
from itertools import chain, islice

import numpy as np
import pytest
from PIL import Image

from datasets.readers.listing import list_subfolders
from search import cutting
from search.boxes import SelectionRules
from search.cutting import cut_tracklets, draw_tracklet_sheet

RED, GREEN = (255, 0, 0), (0, 255, 0)
RULES = SelectionRules(min_frames=2, min_width=4, min_height=4, min_confidence=None, margin=0.0, stride=1, gap=5)


@pytest.fixture
def cut(tmp_path, write_video, write_boxes, moving):
    """``cut(**changes)``: cut the moving rectangles, track 7 the red one and track 12 the green one."""
    boxes = [(number, 7, 4 * (number - 1), 16, 16, 32, 0.9) for number in range(1, 13)]
    boxes = write_boxes(boxes + [(number, 12, 72, 8, 16, 32, 0.8) for number in (3, 5, 8)])

    def run(frames=moving, boxes=boxes, rules=RULES, **options):
        places = {"output": tmp_path / "out", "contact_sheets": tmp_path / "sheets", **options}
        return cut_tracklets(write_video(frames), boxes, rules=rules, quality=95, **places)

    return run


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_tracklets_show_what_is_in_the_boxes(cut, tmp_path):
    summary = cut()
    assert names_in(tmp_path) == ["boxes.txt", "out", "sheets", "video.avi"]
    out = tmp_path / "out"
    assert names_in(out) == [".written.txt", "cut.csv", "track_0007", "track_0012"]
    assert names_in(out / "track_0007") == [f"{number:06d}.jpg" for number in range(1, 13)]
    assert names_in(out / "track_0012") == ["000003.jpg", "000005.jpg", "000008.jpg"]
    for folder, colour in (("track_0007", RED), ("track_0012", GREEN)):
        for path in (out / folder).iterdir():
            with Image.open(path) as image:
                assert image.size == (16, 32)
                assert np.abs(np.asarray(image)[2:-2, 2:-2].astype(int) - colour).max() < 40
    assert summary.startswith(f"Cut 15 frames of 2 tracklets into {out}: of 15 boxes, none was left out; 0 of the")


def test_the_table_lists_the_tracklets_and_disturbs_no_reader(cut, tmp_path):
    cut()
    header, first, second = (tmp_path / "out/cut.csv").read_text().splitlines()
    assert header == "folder,track,first_frame,last_frame,num_frames,mean_width,mean_height"
    assert first == "track_0007,7,1,12,12,16.0,32.0"
    assert second.startswith("track_0012,12,3,8,3,")
    assert [folder.name for folder in list_subfolders(tmp_path / "out")] == ["track_0007", "track_0012"]


def test_contact_sheets_show_frames_at_equal_steps(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number:06d}.png" for number in range(1, 92)]
    for number, path in enumerate(paths):
        Image.new("RGB", (10, 20), (2 * number, 0, 0)).save(path)
    sheet = np.asarray(draw_tracklet_sheet(paths))
    centres = [sheet[row * 178 + 80, column * 84 + 40] for row in (0, 1) for column in range(8)]
    assert [red.item() for red, _, _ in centres] == [2 * 6 * index for index in range(16)]
    one = np.asarray(draw_tracklet_sheet(paths[90:]))
    assert one.shape == (178, 84, 3)
    assert one[80, 40].tolist() == [180, 0, 0]


def test_a_folder_is_replaced_only_if_it_was_written_here_and_only_with_force(cut, tmp_path):
    cut()
    with pytest.raises(ValueError, match="sheets is not empty: choose another folder, or replace it with --force"):
        cut(output=tmp_path / "other")
    cut(rules=replace(RULES, min_frames=5), force=True)
    assert names_in(tmp_path / "out") == [".written.txt", "cut.csv", "track_0007"]
    assert names_in(tmp_path / "sheets") == [".written.txt", "cut.csv", "track_0007.jpg"]
    (tmp_path / "out/tracklets.csv").write_text("path,person")
    with pytest.raises(ValueError, match=r"out/tracklets\.csv was not written here, so .* Move"):
        cut(force=True)
    assert (tmp_path / "out/tracklets.csv").read_text() == "path,person"


@pytest.mark.parametrize("place", ["out", "out/sheets", "."])
def test_contact_sheets_never_lie_among_the_tracklets(place, cut, tmp_path):
    with pytest.raises(ValueError, match="--contact_sheets must be a folder outside of the tracklets"):
        cut(contact_sheets=tmp_path / place)


def test_an_error_in_the_middle_keeps_the_old_folders(cut, tmp_path, moving):
    cut()
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    with pytest.raises(ValueError, match="ends after frame 9"):
        cut(moving[:9], force=True)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before
    assert names_in(tmp_path) == ["boxes.txt", "out", "sheets", "video.avi"]


def test_only_one_frame_is_held(cut, moving, monkeypatch):
    alive = weakref.WeakSet()
    held = []

    class Frame:
        rotation, height, width = 0, 64, 96

        def __init__(self, pixels):
            self.pixels = pixels
            alive.add(self)

        def to_ndarray(self, format):
            return self.pixels

    def read(path):
        for pixels in moving:
            held.append(len(alive))
            yield Frame(pixels)

    monkeypatch.setattr(cutting, "read_frames", read)
    cut()
    assert held == [0] + [1] * 11


def test_a_video_that_changes_its_size(cut, tmp_path, moving, write_video, monkeypatch):
    small = write_video(moving[:, :32], "small.avi")
    read = cutting.read_frames
    monkeypatch.setattr(cutting, "read_frames", lambda path: chain(islice(read(path), 6), read(small)))
    with pytest.raises(ValueError, match=r"video\.avi changes its size: 96x32 pixels from frame 7 on, 96x64 before\."):
        cut()
    assert names_in(tmp_path) == ["boxes.txt", "small.avi", "video.avi"]


@pytest.mark.slow
def test_the_real_clip(shared, tmp_path):
    clip = shared / "data/video/pets09_s2l1_view1.avi"
    boxes = clip.with_name("pets09_s2l1_view1_boxes.txt")
    if not clip.is_file():
        pytest.skip(f"needs {clip}, which this machine does not have")
    rules = replace(RULES, min_frames=8, min_width=16, min_height=32, stride=10, gap=30)
    cut_tracklets(clip, boxes, tmp_path / "out", tmp_path / "sheets", rules, 95)
    by_track = {}
    for line in boxes.read_text().splitlines():
        frame, track, *_ = map(float, line.split(","))
        if frame % 10 == 1:
            by_track.setdefault(f"track_{int(track):04d}", []).append(int(frame))
    folders = (tmp_path / "out").glob("track_*")
    written = {folder.name: sorted(int(frame.stem) for frame in folder.iterdir()) for folder in folders}
    assert len(written) > 5
    assert written == {name: frames for name, frames in by_track.items() if len(frames) >= 8}
