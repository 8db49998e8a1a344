"""The colour-histogram baseline: its descriptor, and a run on a tiny data set."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.color_histogram import evaluate_case, main
from datasets.tracklet import Case, Tracklet
from demo.dataset import Preset, render_dataset


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
    render_dataset(tmp_path, Preset(train_people=1, test_people=3, tracklets_per_view=1, frames=1), num_workers=1)
    main(["--root", str(tmp_path)])
    assert capsys.readouterr().out.count("mAP") == 2
