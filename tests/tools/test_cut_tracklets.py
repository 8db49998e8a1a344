"""tools/cut_tracklets.py: from a video to a folder that other commands read."""

import signal

import av
import numpy as np
import pytest

from tools.cut_tracklets import main
from utils.commands import run_command


@pytest.fixture
def clip(tmp_path):
    """A video of ten grey frames of 64 x 96 pixels, and a track in each of them; returns both paths."""
    with av.open(str(tmp_path / "clip.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuvj420p"
        for number in range(10):
            pixels = np.full((64, 96, 3), 20 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    lines = [f"{number},7,10,10,20,40,0.9,-1,-1,-1\n" for number in range(1, 11)]
    (tmp_path / "boxes.txt").write_text("".join(lines))
    return [str(tmp_path / "clip.avi"), str(tmp_path / "boxes.txt")]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_cuts_with_the_defaults_and_says_where(clip, tmp_path, caplog):
    caplog.set_level("INFO")
    main([*clip, "--output", str(tmp_path / "data/out")])
    assert names_in(tmp_path / "data") == ["out", "out_contact_sheets"]
    assert len(names_in(tmp_path / "data/out/track_0007")) == 10
    assert "Cut 10 frames of 1 tracklets" in caplog.text
    assert f"Look at {tmp_path / 'data/out_contact_sheets'}" in caplog.text


def test_options_reach_the_rules(clip, tmp_path):
    out = tmp_path / "out"
    words = ["--stride", "4", "--min_frames", "3", "--margin", "0.1", "--contact_sheets", str(tmp_path / "pictures")]
    main([*clip, "--output", str(out), *words])
    assert names_in(out / "track_0007") == ["000001.jpg", "000005.jpg", "000009.jpg"]
    assert names_in(tmp_path / "pictures") == [".written.txt", "cut.csv", "track_0007.jpg"]


def test_mistakes_are_one_line_and_write_nothing(clip, tmp_path, caplog):
    words = ["--output", str(tmp_path / "out"), "--min_frames", "4", "--min_confidence", "0.9", "--stride", "4"]
    assert run_command(lambda: main([*clip, *words])) == 1
    (line,) = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    reason = "7 are skipped by --stride 4, 3 are in tracklets of fewer than 4 frames (--min_frames)"
    assert line.startswith(f"No tracklet is left: of 10 boxes, {reason}. The boxes are those of ")
    assert names_in(tmp_path) == ["boxes.txt", "clip.avi"]


def test_a_signal_writes_nothing(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("search.cutting.draw_tracklet_sheet", lambda paths: signal.raise_signal(signal.SIGTERM))
    assert run_command(lambda: main([*clip, "--output", str(tmp_path / "out")])) == 128 + signal.SIGTERM
    assert names_in(tmp_path) == ["boxes.txt", "clip.avi"]
