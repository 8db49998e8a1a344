"""The plain peer of the speed benchmark computes the published numbers (tests/parity)."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from benchmarks.plain_model import PlainModel, initial_soft_labels

TOLERANCE = 1e-4


@pytest.mark.slow
def test_it_computes_what_the_published_code_computes(parity_folder):
    folder = parity_folder
    spec = importlib.util.spec_from_file_location("make_checkpoint", folder / "make_checkpoint.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    fixture = json.loads((folder / "xtfclip_288x144_t8.json").read_text())
    expected = np.load(folder / "xtfclip_288x144_t8.npz")
    B, T, _, H, W = fixture["input"]
    K = fixture["num_classes"]
    model = PlainModel(K, fixture["num_cameras"], T, (H, W))
    missing = model.load_state_dict(recipe.checkpoint(fixture), strict=False).missing_keys
    assert not missing
    clips = recipe.clip_for(7, fixture["input"])
    camids = torch.arange(B) % fixture["num_cameras"]
    labels = torch.arange(B) // 2 % K
    memory = 0.3 * recipe.clip_for(11, (K, 512))
    model.eval()  # every dropout at 0
    with torch.inference_mode():
        features = model.describe(clips, camids).numpy()
        loss = model.compute_loss(clips, camids, labels, memory, initial_soft_labels(K)).item()
    error = np.linalg.norm(features - expected["feat_before"]) / np.linalg.norm(expected["feat_before"])
    assert error < TOLERANCE
    assert loss == pytest.approx(float(expected["loss_total"]), rel=TOLERANCE)
