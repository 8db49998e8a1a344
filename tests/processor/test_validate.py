"""Validation during training."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from processor.results import VISUAL
from processor.validate import validate
from utils.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")


class Colour(nn.Module):
    """Describe a clip by its mean colour, and note the cameras that it is asked about."""

    def __init__(self):
        super().__init__()
        self.camids = set()

    def forward(self, clips, camids):
        self.camids |= set(camids.tolist())
        return clips.mean(dim=(1, 3, 4))


@pytest.fixture
def parts(set_up):
    return set_up()


def test_validation_returns_the_visual_map_of_all_directions_and_logs_the_table(parts, run_evaluation, caplog):
    caplog.set_level("INFO")
    torch.manual_seed(0)
    model = Colour().train()
    expected = run_evaluation(parts.cfg, Colour(), list(parts.dataset.cases.values()), {0: 0, 4: 1})
    assert validate(parts.cfg, parts.dataset, RUNTIME, model) == expected.overall(VISUAL).mAP
    assert model.training
    assert model.camids == {0, 1}  # the training cameras 0 and 4
    (message,) = [text for text in caplog.messages if text.startswith("validation")]
    for words in ("protocol: cross-camera", "aerial to ground", "ground to aerial", "overall"):
        assert words in message


def test_masked_directions_are_left_out_of_validation(parts, caplog):
    caplog.set_level("INFO")
    cases = parts.dataset.cases
    cases["case1"] = replace(cases["case1"], identities_masked=True)
    assert validate(parts.cfg, parts.dataset, RUNTIME, Colour()) > 0
    assert "aerial to ground" not in caplog.text
    cases["case2"] = replace(cases["case2"], identities_masked=True)
    assert validate(parts.cfg, parts.dataset, RUNTIME, Colour()) == 0
    assert "nothing to validate on" in caplog.text
