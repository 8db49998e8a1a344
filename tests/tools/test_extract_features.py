"""tools/extract_features.py writes a file of descriptors for any folder of tracklets."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.build import make_dataset
from processor.build import make_training_state
from processor.training.state import LAST_CHECKPOINT
from search.feature_file import read_features
from tools.extract_features import main
from utils.runtime import make_runtime

ROOT = Path(__file__).resolve().parents[2]
HOLD_LOCK = """
import pathlib, sys, time
from utils.files import lock_folder
with lock_folder(pathlib.Path(sys.argv[1])):
    sys.stdout.write("locked\\n")
    sys.stdout.flush()
    time.sleep(600)
"""


@pytest.fixture
def run(make_tree, tiny_cfg, tmp_path):
    """Folder with a data set in data/, and in logs/ a run that was saved before its first step."""
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(num_frames=2), "OUTPUT_DIR", tmp_path / "logs")
    make_training_state(cfg, make_dataset(cfg), make_runtime("cpu", "fp32")).save(tmp_path / "logs" / LAST_CHECKPOINT)
    return tmp_path


@pytest.fixture
def extract(run):
    """``extract(folder, output, *words)``: run the command; returns what it wrote."""

    def call(folder, output, *words):
        options = ["--output_dir", run / "logs", "--tracklets", run / folder, "--output", run / output, *words]
        main([str(word) for word in options])
        return read_features(run / output)

    return call


def test_both_formats_hold_the_same_and_nothing_else_stays(run, extract):
    folder, facts = (
        "data/case1_aerial_to_ground/query",
        ("--camera", 4, "--view", "aerial", "--time", "2023-10-17T10:00"),
    )
    npz, parquet = extract(folder, "a/people.npz", *facts), extract(folder, "a/people.parquet", *facts)
    assert len(npz.keys) == 6
    assert (npz.keys, npz.pictures, npz.origin) == (parquet.keys, parquet.pictures, parquet.origin)
    assert np.array_equal(npz.features, parquet.features)
    for people in (npz, parquet):
        assert people.cameras.tolist() == [4] * 6
        assert people.views == ["aerial"] * 6
        assert set(people.times.tolist()) == {datetime(2023, 10, 17, 10)}
    names = ["people.npz", "people.npz.log", "people.parquet", "people.parquet.log"]
    assert sorted(path.name for path in (run / "a").iterdir()) == names


def test_one_tracklet_and_one_image_have_a_row(run, extract):
    folder = "data/case1_aerial_to_ground/query"
    people = extract(folder, "people.npz")
    tracklet = extract(f"{folder}/21/c4n0", "tracklet.npz")
    assert tracklet.keys == ["c4n0"]
    np.testing.assert_allclose(tracklet.features[0], people.features[people.keys.index("21/c4n0")], atol=1e-5)
    Image.new("RGB", (20, 40), "red").save(run / "photo.png")
    image = extract("photo.png", "photo.npz")
    assert (image.keys, image.pictures) == (["photo.png"], [str(run / "photo.png")])
    assert np.linalg.norm(image.features, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_file_is_replaced_with_force_only(run, extract):
    folder = "data/case1_aerial_to_ground/query"
    extract(f"{folder}/20", "people.npz")
    with pytest.raises(ValueError, match=r"people.npz exists already: --force replaces it, --output names"):
        extract(f"{folder}/21", "people.npz")
    assert extract(f"{folder}/21", "people.npz", "--force", "TEST.FLIP", "False").keys == ["c4n0", "c4n1"]


def test_what_cannot_work_is_refused_before_anything_is_written(run, extract):
    with pytest.raises(ValueError, match=r"people.csv: a feature file must end in .npz or .parquet"):
        extract("data", "a/people.csv")
    with pytest.raises(FileNotFoundError, match="Weight file not found"):
        extract("data", "a/people.npz", "--weight", "nowhere.pth")
    assert not (run / "a").exists()
    (run / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty has no frames: expected a folder with frames"):
        extract("empty", "a/people.npz")
    assert sorted(path.name for path in (run / "a").iterdir()) == ["people.npz.log", "people.npz.parts"]


def test_a_command_that_fails_keeps_its_parts(run, extract, monkeypatch):
    """The disk is full when the file is written; the next command computes nothing."""
    folder, fails = "data/case1_aerial_to_ground/query", []

    def fail(table, path):
        fails.append(table)
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tools.extract_features.write_features", fail)
        with pytest.raises(OSError, match="No space left"):
            extract(folder, "people.npz")
    assert [path.name for path in (run / "people.npz.parts").glob("[!.]*")] == ["part_00000.safetensors"]
    monkeypatch.setattr(
        "processor.evaluation.features.FeatureExtractor.extract", lambda *_: pytest.fail("computed again")
    )
    assert np.array_equal(extract(folder, "people.npz").features, fails[0].features)
    assert not (run / "people.npz.parts").exists()


def test_a_second_command_with_the_same_output_is_refused(run, extract):
    (run / "people.npz.parts").mkdir()
    words = [sys.executable, "-c", HOLD_LOCK, str(run / "people.npz.parts")]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as other:
        other.stdout.readline()  # it holds the lock
        with pytest.raises(ValueError, match=rf"parts is in use by process {other.pid} on .* \(--output\)"):
            extract("data/case1_aerial_to_ground/query", "people.npz")
        other.kill()
    assert sorted(path.name for path in run.glob("people*")) == ["people.npz.parts"]
    assert len(extract("data/case1_aerial_to_ground/query", "people.npz").keys) == 6
