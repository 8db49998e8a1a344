"""Fixtures of the search's tests: tracklets on the unit circle, and tiny videos written by PyAV."""

from pathlib import Path

import av
import numpy as np
import pytest

from search.feature_file import make_table

RED, GREEN = (255, 0, 0), (0, 255, 0)
ORIGIN = {"weights": "a1", "transform": "288x144"}


@pytest.fixture
def describe():
    """``describe(a=angle, ...)``: tracklets whose features are points of the unit circle, by degrees."""

    def build(words=None, origin=ORIGIN, pictures=None, views=None, times=None, **degrees):
        angles = np.deg2rad(np.array(list(degrees.values()), dtype=np.float64))
        return make_table(
            origin,
            key=list(degrees),
            feature=np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32),
            camera=np.arange(len(degrees)) - 1,
            view=views or [""] * len(degrees),
            time=np.array(times or ["NaT"] * len(degrees), dtype="datetime64[s]"),
            picture=pictures or [f"{key}.jpg" for key in degrees],
            words=words,
        )

    return build


@pytest.fixture
def write_video(tmp_path):
    """``write_video(frames, name, codec, rotation)``: write frames (T, H, W, 3) as a video; returns its path."""

    def write(frames, name="video.avi", codec="mjpeg", rotation=None) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuvj444p" if codec == "mjpeg" else "yuv420p"
            if rotation is not None:
                stream.set_display_rotation(rotation)
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def moving():
    """Twelve black frames of 64 x 96 pixels. A red rectangle starts at the left edge and moves right by 4 pixels a
    frame; a green one stays."""
    frames = np.zeros((12, 64, 96, 3), dtype=np.uint8)
    for index, frame in enumerate(frames):
        frame[16:48, 4 * index : 4 * index + 16] = RED
        frame[8:40, 72:88] = GREEN
    return frames


@pytest.fixture
def write_boxes(tmp_path):
    """``write_boxes(lines, name)``: write lines, each a text or the first values of a box; returns the path."""

    def write(lines, name="boxes.txt") -> Path:
        path = tmp_path / name
        texts = [line if isinstance(line, str) else ",".join(map(str, (*line, -1, -1, -1))) for line in lines]
        path.write_text("".join(f"{text}\n" for text in texts))
        return path

    return write
