"""benchmarks/decoding.py runs, and the pixels that it compares are right (tests measure no time)."""

from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from benchmarks.decoding import CROPS, main


@pytest.fixture(autouse=True)
def _num_threads() -> Iterator[None]:
    """The benchmark times one thread; no other test may inherit that."""
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


def test_reports_every_size_and_the_frames_of_a_data_set(tmp_path):
    for number in range(3):
        Image.new("RGB", (30, 60), (number, 0, 0)).save(tmp_path / f"{number}.jpg")
    figures = main(["--frames", "2", "--rounds", "1", "--root", str(tmp_path)])
    assert list(figures) == [*(f"{width}x{height}" for width, height in CROPS), str(tmp_path)]
    for plain, ours, speedup, difference in figures.values():
        assert min(plain, ours, speedup) > 0
        assert 0 <= difference < 1
