"""The colour-histogram baseline: its descriptor, and a run on a tiny data set."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.color_histogram import BINS, NUM_STRIPES, evaluate_case, frame_histogram, main
from datasets.tracklet import Case, Tracklet
from demo.dataset import render_dataset


def test_each_stripe_sums_to_one() -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 19, 3), dtype=np.uint8)
    histogram = frame_histogram(image)
    assert histogram.shape == (NUM_STRIPES * int(np.prod(BINS)),)
    assert histogram.reshape(NUM_STRIPES, -1).sum(axis=1) == pytest.approx(np.ones(NUM_STRIPES))


def test_stripes_keep_top_and_bottom_apart() -> None:
    image = np.zeros((12, 8, 3), dtype=np.uint8)
    image[:6] = 255
    top, *_, bottom = frame_histogram(image).reshape(NUM_STRIPES, -1)
    assert top[-1] == pytest.approx(1.0)
    assert bottom[0] == pytest.approx(1.0)


def _tracklet(folder: Path, pid: int, camid: int, color: tuple[int, int, int]) -> Tracklet:
    path = folder / f"{pid}-{camid}.png"
    Image.new("RGB", (10, 20), color).save(path)
    return Tracklet(str(path.stem), (str(path),), pid, camid, "aerial" if camid > 3 else "ground", None)


def test_equal_colours_match(tmp_path: Path) -> None:
    colors = ((250, 10, 10), (10, 250, 10), (10, 10, 250))
    case = Case(
        "case",
        "aerial to ground",
        tuple(_tracklet(tmp_path, pid, 4, color) for pid, color in enumerate(colors)),
        tuple(_tracklet(tmp_path, pid, 0, color) for pid, color in enumerate(colors)),
    )
    assert evaluate_case(case) == pytest.approx({"R1": 100.0, "R5": 100.0, "R10": 100.0, "mAP": 100.0})


def test_command_reports_both_directions(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    render_dataset(tmp_path, num_train=1, num_test=3, tracklets_per_view=1, frames_per_tracklet=1, num_workers=1)
    main(["--root", str(tmp_path)])
    assert capsys.readouterr().out.count("mAP") == 2
