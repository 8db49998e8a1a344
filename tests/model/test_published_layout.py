"""Our weights in the published names and shapes, and back."""

import json

import pytest
import torch

from configs import get_cfg
from model import make_model
from model.published_layout import to_published
from model.weights import convert_checkpoint

FIXTURES = {
    "xtfclip_288x144_t8": "configs/xtfclip_vit_b16_288x144.yml",
    "tfclip_256x128_t8": "configs/tfclip_vit_b16_256x128.yml",
}


@pytest.mark.parametrize("name", FIXTURES)
def test_names_and_shapes_are_those_of_the_published_checkpoint(parity_folder, name):
    fixture = json.loads((parity_folder / f"{name}.json").read_text())
    cfg = get_cfg(FIXTURES[name], ["MODEL.PRETRAINED", "False"])
    with torch.device("meta"):
        model = make_model(cfg, fixture["num_classes"], fixture["num_cameras"], pretrained=False)
        published = to_published(model.state_dict())
    assert {name: list(value.shape) for name, value in published.items()} == fixture["keys"]


@pytest.mark.parametrize("config_file", FIXTURES.values())
def test_a_round_trip_changes_no_bit(config_file, tiny_cfg, assert_same):
    state = make_model(tiny_cfg(config_file=config_file), 5, 3, pretrained=False).state_dict()
    assert_same(convert_checkpoint(to_published(state)), state)
