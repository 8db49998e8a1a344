"""Tracklets without labels are found as evaluation describes them, part by part."""

import dataclasses
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.build import make_test_loader
from datasets.readers.names import sort_frames
from processor.build import make_extractor
from processor.evaluation.features import FeatureExtractor
from processor.evaluation.open_run import open_run
from processor.extract import describe_frames, extract_folder
from search.feature_file import make_table, write_features
from tools import export
from utils.pictures import UnreadableFrameError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def trained(trained_run):
    return open_run(["OUTPUT_DIR", str(trained_run.output)])


@pytest.fixture
def queries(trained_run, tmp_path):
    """A folder of six tracklets of camera 4."""
    return shutil.copytree(trained_run.root / "case1_aerial_to_ground/query", tmp_path / "query")


@pytest.fixture
def computed(monkeypatch):
    """The descriptions of the parts that were computed; before a fourth is, Ctrl-C is pressed."""
    parts = []
    extract = FeatureExtractor.extract

    def record(self, loader, tracklets, description):
        if len(parts) == 3:
            raise KeyboardInterrupt
        parts.append(description)
        return extract(self, loader, tracklets, description)

    monkeypatch.setattr(FeatureExtractor, "extract", record)
    return parts


def break_frames(folder):
    for frame in folder.iterdir():
        frame.write_bytes(b"no image")


def test_rows_are_those_of_evaluation(trained, queries):
    cfg, dataset = trained.cfg, trained.read_dataset()
    query = dataset.cases["case1"].query
    loader = make_test_loader(cfg, query, trained.cameras_for(dataset))
    expected = make_extractor(cfg, trained.model, trained.runtime).extract(loader, query, "query").features.numpy()
    found, _ = extract_folder(trained, queries, camera=4)
    assert found.keys() == {"key", "feature", "picture"}
    assert found["key"] == [f"{pid}/c4n{number}" for pid in (20, 21, 22) for number in (0, 1)]
    assert np.array_equal(found["feature"], expected)
    assert found["picture"][0].startswith(f"{queries}/20/c4n0/P20T")


def test_an_unknown_camera_is_said_once_and_changes_the_rows(trained, queries, caplog):
    caplog.set_level(logging.INFO)
    known, _ = extract_folder(trained, queries, camera=4)
    assert "The camera is unknown" not in caplog.text
    found, _ = extract_folder(trained, queries, part_size=2)
    assert caplog.text.count("The camera is unknown: all tracklets get the neutral camera embedding") == 1
    assert np.abs(found["feature"] - known["feature"]).max() > 1e-4
    with pytest.raises(ValueError, match=r"--camera must be a training camera \(0, 4\), got 3"):
        extract_folder(trained, queries, camera=3)
    named, _ = extract_folder(dataclasses.replace(trained, camera_words=("East", "West")), queries, camera="West")
    assert np.array_equal(named["feature"], known["feature"])


def test_a_stopped_command_goes_on_and_ends_with_the_same_bits(trained, queries, tmp_path, computed):
    parts = tmp_path / "parts"
    computed.append("of somebody else")
    with pytest.raises(KeyboardInterrupt):
        extract_folder(trained, queries, parts=parts, part_size=2)
    assert computed[1:] == ["tracklets 1 to 2 of 6", "tracklets 3 to 4 of 6"]
    computed.clear()
    resumed, _ = extract_folder(trained, queries, parts=parts, part_size=2)
    assert computed == ["tracklets 5 to 6 of 6"]
    computed.clear()
    expected, _ = extract_folder(trained, queries, part_size=2)
    assert len(computed) == 3
    assert np.array_equal(resumed.pop("feature"), expected.pop("feature"))
    assert resumed == expected


def test_unreadable_tracklets_are_named_and_left_out(trained, queries, tmp_path, caplog):
    """One shares a part with a readable one, two others have a part of their own."""
    for name in ("20/c4n1", "21/c4n0", "21/c4n1"):
        break_frames(queries / name)
    for _ in range(2):
        caplog.clear()
        found, origin = extract_folder(trained, queries, parts=tmp_path / "parts", part_size=2)
        assert origin["unread"].startswith(f"{queries}: 3 tracklets are left out, because none")
        assert found["key"] == ["20/c4n0", "22/c4n0", "22/c4n1"]
        assert len(found["feature"]) == len(found["picture"]) == 3
        assert "They are left out: 21/c4n0, 21/c4n1" in caplog.text
        assert "none of their frames can be read: 20/c4n1\n" in caplog.text  # by its key in the file
    for name in ("20/c4n0", "22/c4n0", "22/c4n1"):
        break_frames(queries / name)
    with pytest.raises(UnreadableFrameError, match="No frame of any of the 6 tracklets can be read"):
        extract_folder(trained, queries, part_size=2)


def test_frames_in_memory_get_the_rows_of_their_files(trained, queries, tmp_path):
    """Of PNG files; those of JPEG are decoded at a fraction of their size."""
    for folder in queries.glob("*/*"):
        for path in list(folder.glob("*.jpg")):
            Image.open(path).save(path.with_suffix(".png"))
            path.unlink()
    found, _ = extract_folder(trained, queries, camera=4)
    folders = (queries / key for key in found["key"])
    tracklets = [
        [np.asarray(Image.open(path)) for path in sort_frames(folder, os.listdir(folder))] for folder in folders
    ]
    assert np.abs(describe_frames(trained, tracklets, camera=4) - found["feature"]).max() < 1e-3
    assert np.abs(describe_frames(trained, tracklets) - found["feature"]).max() > 1e-4
    for odd in ([], [np.zeros((8, 4), np.uint8)], [np.zeros((8, 4, 3))]):
        with pytest.raises(ValueError, match=r"each frame must be \(H, W, 3\), uint8, RGB"):
            describe_frames(trained, [odd])


def test_the_examples_of_the_document_run(trained, queries, tmp_path, monkeypatch):
    """The last one in a folder of its own, where no module of ours is found."""
    monkeypatch.chdir(tmp_path)
    found, origin = extract_folder(trained, queries)
    write_features(make_table(origin, **found), tmp_path / "people.npz")
    for name in ("walk1.npy", "walk2.npy"):
        np.save(name, np.full((9, 120, 60, 3), 100, np.uint8))
    log = trained.checkpoint.parent
    export.main(["onnx", "--output_dir", str(log), "--output", "xtfclip.onnx"])
    text = (ROOT / "docs/own_program.md").read_text(encoding="utf-8")
    for written, ours in (
        ("logs/all", log),
        ("/data/query", queries / "21"),
        ("/data/people/anna/1", queries / "21/c4n0"),
    ):
        assert written in text
        text = text.replace(written, str(ours))
    folders, in_memory, without_us = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(folders, names)
    assert names["nearest"] == ["21/c4n0", "21/c4n1"]
    assert np.diag(names["similarities"][:, 2:]) == pytest.approx(1, abs=1e-5)
    exec(in_memory, names)
    assert names["similarity"] == pytest.approx(1, abs=1e-5)
    alone = f"{without_us}\nassert 'model' not in __import__('sys').modules\nnp.save('row.npy', descriptors)\n"
    subprocess.run([sys.executable, "-c", alone], cwd=tmp_path, check=True)
    assert np.load("row.npy")[0] @ found["feature"][2] == pytest.approx(1, abs=1e-3)
