"""From a real video and a tracker's boxes to a person's later pass: cut, extract, search."""

import csv
import json

import pytest
import torch

from configs import get_cfg
from configs.load import LAST_CHECKPOINT
from model import make_model
from tools import cut_tracklets, extract_features, search

pytestmark = pytest.mark.slow

# Tracks of one person, by eye: an early pass, and all later ones.
LATER_PASSES = {
    "pets_track_0002": {"pets_track_0113"},
    "pets_track_0050": {"pets_track_0131", "pets_track_0112", "pets_track_0142"},
    "pets_track_0057": {"pets_track_0128", "pets_track_0093", "pets_track_0134"},
    "pets_track_0084": {"pets_track_0119", "pets_track_0090", "pets_track_0127", "pets_track_0143"},
    "pets_track_0091": {"pets_track_0122"},
}


@pytest.fixture
def run(tmp_path):
    """A run of the demo before its first step: the pre-trained encoder does the work."""
    cfg = get_cfg("configs/demo.yml", ["OUTPUT_DIR", str(tmp_path / "run")])
    torch.manual_seed(0)
    model = make_model(cfg, num_classes=2, num_cameras=2)
    (tmp_path / "run").mkdir()
    content = {"model": model.state_dict(), "config": cfg.dump(), "camids": [0, 1], "epoch": 0, "step": 0}
    torch.save(content, tmp_path / "run" / LAST_CHECKPOINT)
    return tmp_path / "run"


def test_a_later_pass_is_found_from_an_earlier_one(shared, run, tmp_path):
    clip = shared / "data/video/pets09_s2l1_view1"
    tracks, features = tmp_path / "tracks", str(tmp_path / "tracks.npz")
    cut_tracklets.main([f"{clip}.avi", f"{clip}_boxes.txt", "--output", str(tracks), "--name", "pets"])
    weight = str(run / LAST_CHECKPOINT)
    extract_features.main(
        ["--output_dir", str(run), "--weight", weight, "--tracklets", str(tracks), "--output", features]
        + ["--text_tower", "demo/demo_captions.safetensors"]
    )
    search.main(["find", features, "--key", *LATER_PASSES, "--top", "50", "--output", str(tmp_path / "found")])
    with (tracks / "cut.csv").open() as file:
        passes = {row["folder"]: (int(row["first_frame"]), int(row["last_frame"])) for row in csv.DictReader(file)}
    answers = json.loads((tmp_path / "found/search.json").read_text())["queries"]
    assert [answer["key"] for answer in answers] == list(LATER_PASSES)
    for answer in answers:
        end = passes[answer["key"]][1]
        later = [hit["key"] for hit in answer["found"] if passes[hit["key"]][0] > end]
        assert later[0] in LATER_PASSES[answer["key"]], answer["key"]

    words = ["--text", "red shirt", "--text_tower", "demo/demo_captions.safetensors", "--output"]
    search.main(["find", features, *words, str(tmp_path / "words")])
    (answer,) = json.loads((tmp_path / "words/search.json").read_text())["queries"]
    red_jacket = {"pets_track_0084", *LATER_PASSES["pets_track_0084"]}
    assert red_jacket <= {hit["key"] for hit in answer["found"][:5]}  # of 50 tracklets
