"""The export commands on a trained tiny run."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import eval_main
import train_main
from model.weights import convert_checkpoint
from processor.exported_network import list_frames
from tools import describe_features, export_onnx, export_weights
from utils.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
# Runs tools.describe_features where torch cannot be imported.
WITHOUT_TORCH = (
    "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('tools.describe_features', run_name='__main__')"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory, write_tree, tiny_opts):
    """Folder of a trained run, and its data."""
    folder = tmp_path_factory.mktemp("run")
    root = write_tree(folder / "data")
    opts = [*tiny_opts, "DATASETS.ROOT_DIR", str(root), "SOLVER.STAGE2.MAX_EPOCHS", "1"]
    train_main.main(["--output_dir", str(folder / "log"), *opts])
    return folder / "log", root


@pytest.fixture(scope="module")
def network(run):
    log, _ = run
    export_onnx.main(["--output_dir", str(log), "--output", str(log / "network.onnx")])
    return log / "network.onnx"


def test_an_exported_network_ranks_as_evaluation_does(run, network, tmp_path):
    log, root = run
    results = tmp_path / "results"
    eval_main.main(["--output_dir", str(log), "--custom_output_dir", str(results), "TEST.MASK_ATTRIBUTES", "()"])
    expected = load_file(next((results / "features").glob("*query*.safetensors")))["features"].numpy()
    folders = sorted((root / "case1_aerial_to_ground/query").glob("*/*"))
    words = [str(network), *map(str, folders), "--camera", "4", "--output", str(tmp_path / "features.npz")]
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], cwd=ROOT, check=True)
    written = np.load(tmp_path / "features.npz")
    assert written["keys"].tolist() == [str(folder) for folder in folders]
    # The frames are decoded by Pillow, whose pixels differ from ours by less than a grey level on average.
    assert np.abs(written["features"] - expected).max() < 2e-3
    assert written["distances"] == pytest.approx(written["distances"].T)


def test_real_crops_give_what_torch_gives(run, shared, caplog):
    caplog.set_level("INFO")
    log, _ = run
    tracklet = next(path.parent for path in sorted((shared / "data/pets09").rglob("*.jpg")))
    export_onnx.main(["--output_dir", str(log), "--output", str(log / "b.onnx"), "--frames", str(tracklet)])
    assert "differs from torch by at most" in caplog.text
    assert "initializer" not in caplog.text  # of the exporter


def test_weights_go_out_and_come_back(run, tmp_path, assert_same):
    log, _ = run
    export_weights.main(["--output_dir", str(log), "--output", str(tmp_path / "export")])
    original = read_checkpoint(log / "checkpoint_last.pth")["model"]
    assert_same(load_file(tmp_path / "export/weights.safetensors"), original)
    assert "DEVICE: auto\n" in read_checkpoint(tmp_path / "export/weights.safetensors")["config"]
    published = torch.load(tmp_path / "export/published_layout.pth", weights_only=True)
    assert "image_encoder.class_embedding" in published
    assert_same(convert_checkpoint(published), original)
    assert "SHA-256 of the checkpoint" in (tmp_path / "export/MODEL_CARD.md").read_text()


def test_mistakes_are_named(network, tmp_path):
    output = ["--output", str(tmp_path / "a.npz")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty is not a folder with frames"):
        describe_features.main([str(network), str(tmp_path / "empty"), *output])
    with pytest.raises(FileNotFoundError, match=r"export_onnx.py makes one"):
        describe_features.main([str(tmp_path / "none.onnx"), str(tmp_path), *output])
    (tmp_path / "damaged.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match="is damaged, or no ONNX file"):
        describe_features.main([str(tmp_path / "damaged.onnx"), str(tmp_path), *output])
    with pytest.raises(ValueError, match="none of the training cameras: \\[0, 4\\]"):
        describe_features.main([str(network), str(tmp_path), "--camera", "9", *output])


def test_frames_are_in_natural_order(tmp_path):
    for number in (10, 9, 1):
        (tmp_path / f"F{number}.jpg").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._F2.jpg").touch()  # of macOS
    assert [path.name for path in list_frames(tmp_path)] == ["F1.jpg", "F9.jpg", "F10.jpg"]
