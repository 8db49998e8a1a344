"""The benchmarks run and report their figures, on small data and models (tests measure no time)."""

import pytest
import torch
from PIL import Image

from benchmarks import color_histogram, decoding, evaluation, search
from datasets.tracklet import Case, Tracklet
from demo.dataset import Preset, render_dataset


def test_equal_colours_match(tmp_path):
    def tracklet(pid, camid):
        path = tmp_path / f"{pid}-{camid}.png"
        Image.new("RGB", (10, 20), ((250, 10, 10), (10, 250, 10), (10, 10, 250))[pid]).save(path)
        return Tracklet(path.stem, (str(path),), pid, camid, "aerial" if camid > 3 else "ground", None)

    query, gallery = (tuple(tracklet(pid, camid) for pid in range(3)) for camid in (4, 0))
    case = Case("case", "aerial to ground", query, gallery)
    assert color_histogram.evaluate_case(case) == pytest.approx(dict.fromkeys(("R1", "R5", "R10", "mAP"), 100.0))


def test_the_colour_histogram_reports_both_directions(tmp_path, capsys):
    render_dataset(tmp_path, Preset(train_people=1, test_people=3, tracklets_per_view=1, frames=1), num_workers=1)
    color_histogram.main(["--root", str(tmp_path)])
    assert capsys.readouterr().out.count("mAP") == 2


def test_decoding_reports_every_size_and_the_frames_of_a_data_set(tmp_path, monkeypatch):
    """The pixels that it compares are right."""
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # no other test may inherit it
    for number in range(3):
        Image.new("RGB", (30, 60), (number, 0, 0)).save(tmp_path / f"{number}.jpg")
    figures = decoding.main(["--frames", "2", "--rounds", "1", "--root", str(tmp_path)])
    assert list(figures) == [*(f"{width}x{height}" for width, height in decoding.CROPS), str(tmp_path)]
    for plain, ours, speedup, difference in figures.values():
        assert min(plain, ours, speedup) > 0
        assert 0 <= difference < 1


def test_evaluation_reports_the_network_and_the_whole(tiny_opts, capsys):
    figures = evaluation.main(["--tracklets", "4", "--repeats", "1", *tiny_opts])
    assert min(figures.values()) > 0
    assert "The whole evaluation reaches" in capsys.readouterr().out


def test_every_step_of_the_search_is_measured():
    pytest.importorskip("search.lance_table")
    figures = search.main(["--tracklets", "400", "--width", "16", "--queries", "5"])
    assert figures["recall"] == 1  # a table so small has no index
    assert all(figures[name] > 0 for name in ("exact", "approximate", "load", "index"))
