"""Exports of a trained tiny run: the network ranks as evaluation does, without torch, and weights come back."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import eval_main
import processor.export
from datasets.clips.decoding import decode_frame
from model.weights import convert_checkpoint
from processor.evaluation.cache import hash_weights
from processor.evaluation.open_run import open_run
from processor.export import TrackletDescriber, check_export
from processor.exported_network import read_clip
from search.feature_file import read_features, require_comparable
from tools import export, extract_features
from utils.checkpoint import read_checkpoint
from utils.commands import run_command

ROOT = Path(__file__).resolve().parents[2]
# Runs tools.extract_features where torch cannot be imported.
WITHOUT_TORCH = (
    "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('tools.extract_features', run_name='__main__')"
)


@pytest.fixture(scope="module")
def network(trained_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "network.onnx"
    frames = trained_run.root / "train/1/c0n0"
    export.main(["onnx", "--output_dir", str(trained_run.output), "--output", str(path), "--frames", str(frames)])
    return path


def make_clips(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randint(256, (number, 4, 3, 64, 32), dtype=torch.uint8, generator=generator)


def test_batches_of_any_size_equal_torch_and_another_network_is_refused(trained_run, network):
    run = open_run(["OUTPUT_DIR", str(trained_run.output)])
    describer, content = TrackletDescriber(run), network.read_bytes()
    for number in (1, 2, 5):
        assert check_export(describer, content, make_clips(number)) < 1e-5
    torch.nn.init.normal_(run.model.encoder.camera_embedding)  # the cameras of the comparison differ
    with pytest.raises(ValueError, match="differs from torch"):
        check_export(describer, content, make_clips(2))


def test_the_file_names_its_preprocessing_and_its_origin(trained_run, network):
    metadata = {entry.key: entry.value for entry in onnx.load(network).metadata_props}
    assert json.loads(metadata["T, H, W"]) == [4, 64, 32]
    assert json.loads(metadata["cameras"]) == [0, 4]
    checkpoint = (trained_run.output / "checkpoint_last.pth").read_bytes()
    assert metadata["SHA-256 of the checkpoint"] == hashlib.sha256(checkpoint).hexdigest()
    assert "vit_xsmall" in metadata["model"]
    assert "MIT" in metadata["licence"]


def test_an_exported_network_ranks_as_evaluation_does(trained_run, network, tmp_path):
    results, run = tmp_path / "results", ["--output_dir", str(trained_run.output)]
    eval_main.main([*run, "--custom_output_dir", str(results), "TEST.MASK_ATTRIBUTES", "()"])
    expected = load_file(next((results / "features").glob("*query*.safetensors")))["features"].numpy()
    people = trained_run.root / "case1_aerial_to_ground/query"
    words = ["--network", network, "--tracklets", people, "--camera", "4", "--output", tmp_path / "features.npz"]
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *map(str, words)], cwd=ROOT, check=True)
    written = read_features(tmp_path / "features.npz")
    assert written.keys == [str(folder.relative_to(people)) for folder in sorted(people.glob("*/*"))]
    assert {entry["camera"] for entry in written.list_entries()} == {4}
    # The frames are decoded by Pillow, whose pixels differ from ours by less than a grey level on average.
    assert np.abs(written.features - expected).max() < 2e-3
    extract_features.main([*run, "--tracklets", str(people), "--output", str(tmp_path / "of_run.npz")])
    require_comparable(written, "the network's", read_features(tmp_path / "of_run.npz"), "the run's")


def test_features_of_a_network_with_merged_changes_can_be_compared_with_those_of_the_run(
    trained_run, monkeypatch, tmp_path
):
    found = {}
    monkeypatch.setattr(processor.export, "export_onnx", lambda *arguments: found.update(arguments[2]) or b"")
    monkeypatch.setattr(processor.export, "check_export", lambda *arguments: 0.0)
    words = ["--output_dir", str(trained_run.output), "--output", str(tmp_path / "a.onnx"), "MODEL.TUNING", "lora"]
    seed = torch.random.get_rng_state()
    export.main(["onnx", *words])
    torch.random.set_rng_state(seed)  # what the checkpoint lacks is drawn
    run = open_run(["OUTPUT_DIR", str(trained_run.output), "MODEL.TUNING", "lora"])
    assert found["weights"] == hash_weights(run.model)


def test_weights_go_out_and_come_back(trained_run, tmp_path, assert_same):
    log = trained_run.output
    export.main(["weights", "--output_dir", str(log), "--output", str(tmp_path / "export")])
    original = read_checkpoint(log / "checkpoint_last.pth")["model"]
    assert_same(load_file(tmp_path / "export/weights.safetensors"), original)
    assert "DEVICE: auto\n" in read_checkpoint(tmp_path / "export/weights.safetensors")["config"]
    published = torch.load(tmp_path / "export/published_layout.pth", weights_only=True)
    assert "image_encoder.class_embedding" in published
    assert_same(convert_checkpoint(published), original)
    facts = [line.strip("| ").split(" | ") for line in (tmp_path / "export/MODEL_CARD.md").read_text().splitlines()]
    facts = dict(fact for fact in facts if len(fact) == 2)
    network = open_run(["OUTPUT_DIR", str(log)]).model
    for name, expected in {
        "input": "clips, (B, 4, 3, 64, 32): frames of 64 (height) x 32 pixels",
        "mean of R, G, B": "0.485, 0.456, 0.406",
        "deviation of R, G, B": "0.229, 0.224, 0.225",
        "flips": "features of a clip and of its mirror image are averaged",
        "cameras": "by index, 0 is 0, 1 is 4; -1 is any other",
        "precision": "weights float32; computed with SOLVER.PRECISION fp32",
        "SHA-256 of the checkpoint": hashlib.sha256((log / "checkpoint_last.pth").read_bytes()).hexdigest(),
    }.items():
        assert facts[name] == expected
    assert facts["descriptor"].startswith(f"{network.descriptor_width} numbers, scaled to length 1: f_img (")
    assert facts["training data"] == f"agvpreid, {network.classifier_image.out_features} people"
    assert "inside" not in facts  # the ONNX file


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({}, "its metadata lacks 'T, H, W'"),
        ({"T, H, W": "[4, 64"}, "Expecting"),
        ({"T, H, W": "[4, 64]"}, "not enough values"),
        ({"T, H, W": "[4, 64, 32]", "cameras": "7"}, "not iterable"),
    ],
)
def test_odd_metadata_are_one_line(odd, message, network, tmp_path, caplog):
    model = onnx.load(network)
    onnx.helper.set_model_props(model, odd)
    onnx.save(model, tmp_path / "odd.onnx")
    words = ["--network", str(tmp_path / "odd.onnx"), "--tracklets", str(tmp_path), "--output", str(tmp_path / "a.npz")]
    assert run_command(lambda: extract_features.main(words)) == 1
    (record,) = caplog.records
    assert record.exc_info is None
    assert "odd.onnx is damaged, or no ONNX file of tools.export: " in record.message
    assert message in record.message


def test_mistakes_are_named(network, tmp_path):
    output, frames = tmp_path / "a.npz", tmp_path / "people/anna"

    def extract(file, folder, *words):
        extract_features.main(["--network", str(file), "--tracklets", str(folder), "--output", str(output), *words])

    frames.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"none.onnx is not a file"):
        extract(tmp_path / "none.onnx", tmp_path)
    (tmp_path / "damaged.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match="is damaged, or no ONNX file"):
        extract(tmp_path / "damaged.onnx", tmp_path)
    Image.new("RGB", (32, 64)).save(frames / "1.jpg")
    with pytest.raises(ValueError, match="none of the training cameras: \\[0, 4\\]"):
        extract(network, frames, "--camera", "9")
    output.touch()
    with pytest.raises(ValueError, match=r"a\.npz exists already: --force replaces it"):
        extract(network, frames)
    for folder, key in ((frames, "anna"), (frames / "1.jpg", "1.jpg"), (frames.parent, "anna")):
        extract(network, folder, "--force")
        (entry,) = read_features(output).list_entries()
        assert (entry["key"], entry["picture"]) == (key, str(frames / "1.jpg"))


@pytest.mark.parametrize("largest", [200, 4095, 65535])
def test_grey_pictures_of_more_than_8_bits_are_read_as_training_reads_them(largest, tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(np.linspace(0, largest, 64 * 32).astype(np.uint16).reshape(64, 32)).save(path)
    (frame,) = read_clip([path], 1, 16, 8)
    assert (frame == decode_frame(str(path), (16, 8)).numpy()).all()
    assert 0 < frame.min() < frame.max() < 255
