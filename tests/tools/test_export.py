"""The export commands on a trained tiny run."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import eval_main
from datasets.clips.decoding import decode_frame
from model.weights import convert_checkpoint
from processor.exported_network import list_frames, read_clip
from search.feature_file import read_features, require_comparable
from tools import export, extract_features
from utils.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
# Runs tools.extract_features where torch cannot be imported.
WITHOUT_TORCH = (
    "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('tools.extract_features', run_name='__main__')"
)


@pytest.fixture(scope="module")
def network(trained_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "network.onnx"
    export.main(["onnx", "--output_dir", str(trained_run.output), "--output", str(path)])
    return path


def test_an_exported_network_ranks_as_evaluation_does(trained_run, network, tmp_path):
    results = tmp_path / "results"
    places = ["--output_dir", str(trained_run.output), "--custom_output_dir", str(results)]
    eval_main.main([*places, "TEST.MASK_ATTRIBUTES", "()"])
    expected = load_file(next((results / "features").glob("*query*.safetensors")))["features"].numpy()
    people = trained_run.root / "case1_aerial_to_ground/query"
    words = ["--network", network, "--tracklets", people, "--camera", "4", "--output", tmp_path / "features.npz"]
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *map(str, words)], cwd=ROOT, check=True)
    written = read_features(tmp_path / "features.npz")
    assert written.keys == [str(folder.relative_to(people)) for folder in sorted(people.glob("*/*"))]
    assert {entry["camera"] for entry in written.list_entries()} == {4}
    # The frames are decoded by Pillow, whose pixels differ from ours by less than a grey level on average.
    assert np.abs(written.features - expected).max() < 2e-3
    of_run = tmp_path / "of_run.npz"
    extract_features.main(
        ["--output_dir", str(trained_run.output), "--tracklets", str(people), "--output", str(of_run)]
    )
    require_comparable(written, "the network's", read_features(of_run), "the run's")


@pytest.mark.slow
def test_real_crops_give_what_torch_gives(trained_run, shared, tmp_path, caplog):
    caplog.set_level("INFO")
    tracklet = next(path.parent for path in sorted((shared / "data/pets09").rglob("*.jpg")))
    words = ["--output_dir", str(trained_run.output), "--output", str(tmp_path / "b.onnx"), "--frames", str(tracklet)]
    export.main(["onnx", *words])
    assert "differs from torch by at most" in caplog.text
    assert "initializer" not in caplog.text  # of the exporter


def test_weights_go_out_and_come_back(trained_run, tmp_path, assert_same):
    log = trained_run.output
    export.main(["weights", "--output_dir", str(log), "--output", str(tmp_path / "export")])
    original = read_checkpoint(log / "checkpoint_last.pth")["model"]
    assert_same(load_file(tmp_path / "export/weights.safetensors"), original)
    assert "DEVICE: auto\n" in read_checkpoint(tmp_path / "export/weights.safetensors")["config"]
    published = torch.load(tmp_path / "export/published_layout.pth", weights_only=True)
    assert "image_encoder.class_embedding" in published
    assert_same(convert_checkpoint(published), original)
    assert "SHA-256 of the checkpoint" in (tmp_path / "export/MODEL_CARD.md").read_text()


def test_mistakes_are_named(network, tmp_path):
    output = ["--output", str(tmp_path / "a.npz")]

    def extract(file, folder, *words):
        extract_features.main(["--network", str(file), "--tracklets", str(folder), *output, *words])

    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty has no frames"):
        extract(network, tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"none.onnx is not a file"):
        extract(tmp_path / "none.onnx", tmp_path)
    (tmp_path / "damaged.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match="is damaged, or no ONNX file"):
        extract(tmp_path / "damaged.onnx", tmp_path)
    frames = tmp_path / "people/anna"
    frames.mkdir(parents=True)
    Image.new("RGB", (32, 64)).save(frames / "1.jpg")
    with pytest.raises(ValueError, match="none of the training cameras: \\[0, 4\\]"):
        extract(network, frames, "--camera", "9")
    (tmp_path / "a.npz").touch()
    with pytest.raises(ValueError, match=r"a\.npz exists already: --force replaces it"):
        extract(network, frames)
    for folder, key in ((frames, "anna"), (frames / "1.jpg", "1.jpg"), (frames.parent, "anna")):
        extract(network, folder, "--force")
        written = read_features(tmp_path / "a.npz")
        (entry,) = written.list_entries()
        assert (entry["key"], entry["picture"]) == (key, str(frames / "1.jpg"))


def test_frames_are_in_natural_order(tmp_path):
    for number in (10, 9, 1):
        (tmp_path / f"F{number}.jpg").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._F2.jpg").touch()  # of macOS
    (tmp_path / "F²3.jpg").touch()  # a digit to str.isdigit, not to int
    os.mkfifo(tmp_path / "F0.jpg")
    (tmp_path / "F2.jpg").mkdir()
    assert [path.name for path in list_frames(tmp_path)] == ["F1.jpg", "F9.jpg", "F10.jpg", "F²3.jpg"]


def test_pictures_of_16_bits_are_read_as_training_reads_them(tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(np.linspace(0, 65535, 64 * 32).astype(np.uint16).reshape(64, 32)).save(path)
    (frame,) = read_clip([path], 1, 16, 8)
    assert (frame == decode_frame(str(path), (16, 8)).numpy()).all()
    assert 0 < frame.min() < frame.max() < 255


def test_a_frame_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "frame.png"
    Image.effect_noise((32, 64), 50).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:500])
    with pytest.raises(ValueError, match=r"Cannot read frame .*frame\.png: "):
        read_clip([path], 1, 16, 8)
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + content[24:29]
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    with pytest.raises(ValueError, match=r"Cannot read frame .*frame\.png: Image size \(3600000000 pixels\) exceeds"):
        read_clip([path], 1, 16, 8)
