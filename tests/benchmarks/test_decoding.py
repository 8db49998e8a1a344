"""benchmarks/decoding.py runs, and the pixels that it compares are right (tests measure no time)."""

import torch
from PIL import Image

from benchmarks.decoding import CROPS, main


def test_reports_every_size_and_the_frames_of_a_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # no other test may inherit it
    for number in range(3):
        Image.new("RGB", (30, 60), (number, 0, 0)).save(tmp_path / f"{number}.jpg")
    figures = main(["--frames", "2", "--rounds", "1", "--root", str(tmp_path)])
    assert list(figures) == [*(f"{width}x{height}" for width, height in CROPS), str(tmp_path)]
    for plain, ours, speedup, difference in figures.values():
        assert min(plain, ours, speedup) > 0
        assert 0 <= difference < 1
