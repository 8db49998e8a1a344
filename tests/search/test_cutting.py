"""tools.cut_tracklets on tiny videos: the tracklets' pixels and names, written whole or not at all."""

import signal
from itertools import islice

import av
import numpy as np
import pytest
from PIL import Image

from datasets.readers.own_data import read_unlabelled
from search import cutting
from search.boxes import SelectionRules
from search.cutting import draw_tracklet_sheet, read_frames, upright_pixels
from tools.cut_tracklets import main
from utils.commands import run_command

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def cut(tmp_path, write_video, write_boxes, moving):
    """``cut(*words)``: cut the moving rectangles, track 7 the red one and track 12 the green one."""
    boxes = [(number, 7, 4 * (number - 1), 16, 16, 32, 0.9) for number in range(1, 13)]
    boxes = write_boxes(boxes + [(number, 12, 72, 8, 16, 32, 0.8) for number in (3, 5, 8)])

    def run(*words, frames=moving):
        main([str(write_video(frames)), str(boxes), "--output", str(tmp_path / "out"), "--min_frames", "2", *words])

    return run


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_tracklets_show_what_is_in_the_boxes(cut, tmp_path, caplog):
    caplog.set_level("INFO")
    cut()
    assert (tmp_path / "out/cut.csv").read_text().splitlines() == [
        "folder,track,first_frame,last_frame,num_frames,mean_width,mean_height",
        "video_track_0007,7,1,12,12,16.0,32.0",
        "video_track_0012,12,3,8,3,16.0,32.0",
    ]
    assert names_in(tmp_path) == ["boxes.txt", "out", "out_contact_sheets", "video.avi"]
    out = tmp_path / "out"
    assert names_in(out) == [".written.txt", "cut.csv", "video_track_0007", "video_track_0012"]
    assert names_in(out / "video_track_0007") == [f"{number:06d}.jpg" for number in range(1, 13)]
    assert names_in(out / "video_track_0012") == ["000003.jpg", "000005.jpg", "000008.jpg"]
    for folder, colour in (("video_track_0007", RED), ("video_track_0012", GREEN)):
        for path in (out / folder).iterdir():
            with Image.open(path) as image:
                assert image.size == (16, 32)
                assert np.abs(np.asarray(image)[2:-2, 2:-2].astype(int) - colour).max() < 40
    assert f"Cut 15 frames of 2 tracklets into {out}: of 15 boxes, none was left out; 0 of the" in caplog.text
    assert f"Look at {tmp_path / 'out_contact_sheets'}" in caplog.text


@pytest.mark.parametrize(
    ("video", "name"),
    [("a/drone 1.mp4", "drone_1"), ("seq/img1", "seq"), ("a/v.2", "v.2"), ("a/=x\x1b.avi", "x"), ("a/..mp4", "video")],
)
def test_the_name_of_a_video_begins_those_of_its_tracklets(video, name, tmp_path):
    if not video.endswith(("4", "i")):
        (tmp_path / video).mkdir(parents=True)
    assert cutting.name_video(tmp_path / video) == name


def test_two_videos_meet_in_one_walk_without_their_contact_sheets(cut, tmp_path, caplog):
    for name in ("first", "second"):
        cut("--name", name, "--output", str(tmp_path / "videos" / name))
    keys = [f"{name}/{name}_track_{number}" for name in ("first", "second") for number in ("0007", "0012")]
    assert [tracklet.name for tracklet in read_unlabelled(tmp_path / "videos")] == keys
    assert "contact sheets of tools.cut_tracklets (2): first_contact_sheets, second_contact_sheets" in caplog.text
    cut("--name", "../a b", "--output", str(tmp_path / "other"))
    assert names_in(tmp_path / "other")[1] == "a_b_track_0007"


def test_pictures_and_boxes_that_are_numbered_from_elsewhere_are_refused(tmp_path, write_boxes):
    folder = tmp_path / "img1"
    folder.mkdir()
    for number in range(5, 9):
        Image.new("RGB", (40, 60)).save(folder / f"{number:06d}.jpg")
    rules = SelectionRules(1, 1, 1, None, 0.0, 1, 1)
    boxes = write_boxes([(number, 1, 0, 0, 20, 40, 1) for number in (5, 6)])
    with pytest.raises(ValueError, match="img1 begin with number 5, and no box of .* Number both from 1"):
        cutting.cut_tracklets(folder, boxes, tmp_path / "out", rules)
    boxes = write_boxes([(number, 1, 0, 0, 20, 40, 1) for number in (1, 2)])
    cutting.cut_tracklets(folder, boxes, tmp_path / "out", rules)


def test_contact_sheets_show_frames_at_equal_steps(tmp_path):
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
    with pytest.raises(ValueError, match="out_contact_sheets is not empty: choose .* or replace it with --force"):
        cut()
    cut("--min_confidence", "0.85", "--stride", "4", "--force")
    assert names_in(tmp_path / "out") == [".written.txt", "cut.csv", "video_track_0007"]
    assert names_in(tmp_path / "out/video_track_0007") == ["000001.jpg", "000005.jpg", "000009.jpg"]
    assert names_in(tmp_path / "out_contact_sheets") == [".written.txt", "video_track_0007.jpg"]
    (tmp_path / "out/tracklets.csv").write_text("path,person")
    with pytest.raises(ValueError, match=r"out/tracklets\.csv was not written here: delete"):
        cut("--force")
    assert (tmp_path / "out/tracklets.csv").read_text() == "path,person"


def test_an_error_in_the_middle_keeps_the_old_folders(cut, tmp_path, moving, write_video, monkeypatch):
    cut()
    before = {path: path.read_bytes() for path in tmp_path.glob("out*/**/*.*")}
    with pytest.raises(ValueError, match="ends after frame 9"):
        cut("--force", frames=moving[:9])
    small, read = write_video(moving[:, :32], "small.avi"), cutting.read_frames

    def grow(path):
        yield from islice(read(path), 6)
        yield from read(small)

    monkeypatch.setattr(cutting, "read_frames", grow)
    with pytest.raises(ValueError, match=r"video\.avi changes its size before frame 7\."):
        cut("--force")
    monkeypatch.undo()
    monkeypatch.setattr(cutting, "draw_tracklet_sheet", lambda paths: signal.raise_signal(signal.SIGTERM))
    assert run_command(lambda: cut("--force")) == 128 + signal.SIGTERM
    assert {path: path.read_bytes() for path in tmp_path.glob("out*/**/*.*")} == before
    assert names_in(tmp_path) == ["boxes.txt", "out", "out_contact_sheets", "small.avi", "video.avi"]


# ---- frames of videos


def test_every_frame_in_order(write_video, moving):
    for name, codec in (("video.avi", "mjpeg"), ("video.mkv", "mpeg4")):
        frames = [upright_pixels(frame) for frame in read_frames(write_video(moving, name, codec))]
        assert len(frames) == len(moving)
        for index, frame in enumerate(frames):
            assert np.abs(frame[30, 4 * index + 8].astype(int) - RED).max() < 30
            assert np.abs(frame[24, 80].astype(int) - GREEN).max() < 30


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (-90, -1)])
def test_marked_frames_are_turned_upright(rotation, turns, write_video):
    if not hasattr(av.VideoStream, "set_display_rotation"):
        pytest.skip("this version of PyAV cannot mark a video as rotated")
    upright = np.zeros((64, 96, 3), dtype=np.uint8)
    upright[:32, :48], upright[32:, 48:] = RED, BLUE
    # The mark says by how much a player turns the stored frames, counterclockwise.
    stored = np.rot90(upright, -turns)
    (frame,) = read_frames(write_video([stored], "video.mp4", "mpeg4", rotation))
    pixels = upright_pixels(frame)
    assert pixels.shape[:2] == (64, 96)
    assert np.abs(pixels.astype(int) - upright)[8:24, 8:40].max() < 40
    assert np.abs(pixels.astype(int) - upright)[40:56, 56:88].max() < 40


def test_a_video_that_breaks_off_or_is_damaged_names_the_frame(write_video, moving):
    path = write_video(moving)
    content = path.read_bytes()
    with av.open(str(path)) as container:
        sixth = list(container.demux(video=0))[5]
    start = sixth.pos + 8
    path.write_bytes(content[: start + sixth.size // 2])
    with pytest.raises(ValueError, match=r"video\.avi is cut short or damaged: it breaks off after frame 5\."):
        list(read_frames(path))
    path.write_bytes(content[:start] + bytes(sixth.size) + content[start + sixth.size :])
    with pytest.raises(ValueError, match=r"video\.avi cannot be decoded after frame 5: Invalid data found"):
        list(read_frames(path))


def test_what_is_no_video(tmp_path, write_boxes):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(ValueError, match=r"empty\.mp4 cannot be read as a video: Invalid data found"):
        list(read_frames(tmp_path / "empty.mp4"))
    with pytest.raises(ValueError, match=r"boxes\.txt holds no video"):
        list(read_frames(write_boxes([(number, 1, 0, 0, 5, 5, 1) for number in range(1, 5000)])))
    with pytest.raises(FileNotFoundError, match="is not a file; it must be the video"):
        list(read_frames(tmp_path / "nowhere"))


def test_pictures_of_a_folder_are_frames_in_order_and_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    for number in (10, 9):
        Image.new("RGB", (6, 4), (number, 0, 0)).save(tmp_path / f"{number}.png", exif=exif)
    frames = [upright_pixels(frame) for frame in read_frames(tmp_path)]
    assert [(frame.shape, frame[0, 0, 0]) for frame in frames] == [((6, 4, 3), 9), ((6, 4, 3), 10)]


def test_a_folder_that_lacks_a_frame_or_holds_a_damaged_one_is_refused(tmp_path):
    for number in (1, 2, 4, 5):
        Image.new("RGB", (6, 4)).save(tmp_path / f"{number:06d}.png")
    with pytest.raises(ValueError, match="lacks frame 3, so boxes would be cut out of wrong frames"):
        list(read_frames(tmp_path))
    (tmp_path / "000002.png").unlink()
    (tmp_path / "000004.png").unlink()
    assert len(list(read_frames(tmp_path))) == 2  # every fourth frame
    (tmp_path / "000005.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"Cannot read frame .*000005\.png: it is damaged, or none of JPEG"):
        list(read_frames(tmp_path))
