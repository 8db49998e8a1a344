"""Exported networks against torch, and what their files say about themselves."""

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model import make_model
from processor import export
from processor.export import TrackletDescriber, check_export, describe_export, export_onnx


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_opts):
    """The configuration, the describer and the file of a tiny network with two cameras."""
    from configs import get_cfg

    cfg = get_cfg(None, tiny_opts)
    torch.manual_seed(0)
    model = make_model(cfg, 4, 2).eval()
    torch.nn.init.normal_(model.encoder.camera_embedding)
    describer = TrackletDescriber(cfg, model)
    checkpoint = tmp_path_factory.mktemp("weights") / "a.pth"
    checkpoint.write_bytes(b"weights")
    metadata = describe_export(cfg, (0, 4), checkpoint, {"model": "tiny"})
    return cfg, describer, export_onnx(describer, clips_of(cfg, 2), metadata, opset=18)


def clips_of(cfg, number):
    generator = torch.Generator().manual_seed(number)
    shape = (number, cfg.INPUT.SEQ_LEN, 3, *cfg.INPUT.SIZE_TEST)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_batches_of_any_size_equal_torch(exported, number):
    cfg, describer, content = exported
    assert check_export(describer, content, clips_of(cfg, number))[0] < 1e-5


def test_cameras_matter_and_unknown_ones_differ_from_known(exported):
    cfg, _, content = exported
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    frames = clips_of(cfg, 1).repeat(3, 1, 1, 1, 1).numpy()
    (features,) = session.run(None, {"frames": frames, "cameras": np.array([-1, 0, 1])})
    assert np.abs(features[0] - features[1]).max() > 1e-3
    assert np.abs(features[1] - features[2]).max() > 1e-3
    assert np.square(features).sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_the_file_names_its_preprocessing_and_its_origin(exported):
    cfg, _, content = exported
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    assert json.loads(metadata["T, H, W"]) == [cfg.INPUT.SEQ_LEN, *cfg.INPUT.SIZE_TEST]
    assert json.loads(metadata["cameras"]) == [0, 4]
    assert metadata["SHA-256 of the checkpoint"] == hashlib.sha256(b"weights").hexdigest()
    assert metadata["model"] == "tiny"
    assert "MIT" in metadata["licence"]


def test_a_network_that_differs_is_refused(exported, monkeypatch):
    cfg, describer, content = exported
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    clips = clips_of(cfg, 3)
    other = TrackletDescriber(cfg, make_model(cfg, 4, 2).eval())
    with pytest.raises(ValueError, match="differs from torch"):
        check_export(other, content, clips)
