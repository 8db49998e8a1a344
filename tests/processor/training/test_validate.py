"""Scores during training: of the test people for monitoring, or of validation people."""

from dataclasses import replace

import pytest
from torch import nn

from processor.evaluation.results import VISUAL
from processor.training.validate import make_validation
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
def parts(set_up, caplog):
    caplog.set_level("INFO")
    return set_up(resume=True)


def test_monitoring_returns_the_visual_map_of_all_directions_and_logs_the_table(parts, run_evaluation, caplog):
    model = Colour().train()
    expected = run_evaluation(parts.cfg, Colour(), list(parts.dataset.cases.values()), {0: 0, 4: 1})
    assert make_validation(parts.cfg, parts.dataset, RUNTIME)(model) == expected.overall(VISUAL).mAP
    assert model.training
    assert model.camids == {0, 1}  # the training cameras 0 and 4
    (message,) = [text for text in caplog.messages if text.startswith("monitoring")]
    for words in ("choose no checkpoint", "protocol: cross-camera", "aerial to ground", "ground to aerial", "overall"):
        assert words in message


def test_masked_directions_are_left_out(parts, caplog):
    cases = parts.dataset.cases
    cases["case1"] = replace(cases["case1"], identities_masked=True)
    assert make_validation(parts.cfg, parts.dataset, RUNTIME)(Colour()) > 0
    assert "aerial to ground" not in caplog.text
    cases["case2"] = replace(cases["case2"], identities_masked=True)
    assert make_validation(parts.cfg, parts.dataset, RUNTIME)(Colour()) is None
    assert "nothing is scored" in caplog.text


def test_people_of_a_validation_split_are_scored_instead_unless_they_are_trained_on(set_up, make_tree, caplog):
    caplog.set_level("INFO")
    split = make_tree("split", train=(1,), test=(30, 31))
    parts = set_up("DATASETS.VALIDATION_DIR", split, resume=True)
    assert make_validation(parts.cfg, parts.dataset, RUNTIME)(Colour()) > 0
    assert f"validation on the people of {split}" in caplog.text
    parts = set_up("DATASETS.VALIDATION_DIR", make_tree("other", train=(1,), test=(6, 30)), resume=True)
    with pytest.raises(ValueError, match=r"1 people of DATASETS\.VALIDATION_DIR .* trained on, too \(first: 6\)"):
        make_validation(parts.cfg, parts.dataset, RUNTIME)
    # Words are numbered anew in each table: number 6 is somebody else.
    train = tuple(replace(each, person_word=f"person {each.pid}") for each in parts.dataset.train)
    validation = make_validation(parts.cfg, replace(parts.dataset, train=train), RUNTIME)
    assert validation.people() == [30, 6]
    parts = set_up("DATASETS.VALIDATION_DIR", make_tree("masked", masked=True), resume=True)
    with pytest.raises(ValueError, match=r"All identities in DATASETS\.VALIDATION_DIR .* are masked"):
        make_validation(parts.cfg, parts.dataset, RUNTIME)


def test_people_held_out_are_scored_where_the_test_people_are_masked(set_up, make_tree, caplog):
    caplog.set_level("INFO")
    parts = set_up("DATASETS.VALIDATION_FRACTION", 0.5, root=make_tree(masked=True), resume=True)
    assert make_validation(parts.cfg, parts.dataset, RUNTIME)(Colour()) > 0
    assert "validation on the people held out of training" in caplog.text
