"""The picture of a run's curves."""

import numpy as np
from PIL import Image

from processor.training.curves import draw_curves

ROW = {"id": 3.0, "id_hard": 2.0, "total": 5.0, "accuracy": 0.5, "lr": 1e-4}
SECONDS = {f"seconds_{name}": 0.1 for name in ("data", "forward", "backward", "update")}


def draw(rows, path):
    draw_curves(rows, path)
    return np.asarray(Image.open(path))


def test_each_kind_of_curve_appears_in_its_own_quarter(tmp_path):
    rows = [{"epoch": epoch, **ROW} for epoch in (1, 2)]
    plain = draw(rows, tmp_path / "a.png")
    assert plain.shape == (640, 960, 4)
    changed = draw([{**row, "validation_mAP": 0.9, **SECONDS} for row in rows], tmp_path / "b.png") != plain
    quarters = {
        (top, left): changed[320 * top : 320 * (top + 1), 480 * left : 480 * (left + 1)].any()
        for top in (0, 1)
        for left in (0, 1)
    }
    assert quarters == {(0, 0): False, (0, 1): True, (1, 0): False, (1, 1): True}


def test_a_history_without_times_or_validation_is_drawn(tmp_path):
    draw([{"epoch": 1, "total": 1.0}], tmp_path / "a.png")
