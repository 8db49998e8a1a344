"""Frames of videos: their order and pixels, rotation, and videos that cannot be read."""

import av
import numpy as np
import pytest
from PIL import Image

from search.frames import read_frames, upright_pixels

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


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


def test_a_folder_that_lacks_a_frame_is_refused(tmp_path):
    for number in (1, 2, 4, 5):
        Image.new("RGB", (6, 4)).save(tmp_path / f"{number:06d}.png")
    with pytest.raises(ValueError, match="lacks frame 3, so boxes would be cut out of wrong frames"):
        list(read_frames(tmp_path))
    (tmp_path / "000002.png").unlink()
    (tmp_path / "000004.png").unlink()
    assert len(list(read_frames(tmp_path))) == 2  # every fourth frame
