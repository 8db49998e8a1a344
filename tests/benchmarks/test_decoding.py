"""benchmarks/decoding.py runs, and the pixels that it compares are right (tests measure no time)."""

from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from benchmarks.decoding import CROPS, OURS, PLAIN, run


@pytest.fixture(autouse=True)
def _num_threads() -> Iterator[None]:
    """The benchmark times one thread; no other test may inherit that."""
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


def test_reports_every_size_and_the_frames_of_a_data_set(tmp_path):
    for number in range(3):
        Image.new("RGB", (30, 60), (number, 0, 0)).save(tmp_path / f"{number}.jpg")
    figures = run(["--frames", "2", "--rounds", "1", "--root", str(tmp_path)])
    assert list(figures) == [*(f"{width}x{height}" for width, height in CROPS), str(tmp_path)]
    for ways in figures.values():
        assert all(way["frames_per_second"] > 0 for way in ways.values())
        assert ways[PLAIN]["difference"] == 0
        assert ways[OURS]["difference"] < 1
