"""Keys that a command does not read are named."""

import logging

import pytest

from configs import get_cfg, unread_keys, warn_of_unread_keys
from configs.keys import DEFAULTS, SECTIONS
from configs.unread import READ_BY_ONE


def test_the_table_names_keys_that_exist():
    for keys in READ_BY_ONE.values():
        assert not [key for key in keys if key not in DEFAULTS and key.rstrip(".") not in SECTIONS]


@pytest.mark.parametrize(
    ("command", "named"),
    [("training", ["TEST.WEIGHT"]), ("evaluation", ["LOSS.SMOOTHING", "SOLVER.STAGE2.MAX_EPOCHS"])],
)
def test_only_changed_keys_of_the_other_command_are_named(command, named):
    opts = ["TEST.WEIGHT", "run.pth", "LOSS.SMOOTHING", "0.2", "SOLVER.STAGE2.MAX_EPOCHS", "3", "TEST.FLIP", "False"]
    assert sorted(unread_keys(get_cfg(opts=opts), command)) == named


def test_evaluation_counts_only_what_was_typed():
    cfg = get_cfg(opts=["LOSS.SMOOTHING", "0.2", "SOLVER.STAGE2.MAX_EPOCHS", "3"])
    assert unread_keys(cfg, "evaluation", ["SOLVER.STAGE2.MAX_EPOCHS", "3"]) == ["SOLVER.STAGE2.MAX_EPOCHS"]
    assert unread_keys(cfg, "evaluation", []) == []


def test_a_checkpoint_given_to_training_points_to_the_right_key(caplog):
    with caplog.at_level(logging.WARNING):
        warn_of_unread_keys(get_cfg(opts=["TEST.WEIGHT", "run.pth"]), "training")
        warn_of_unread_keys(get_cfg(), "training")
    (record,) = caplog.records
    assert record.getMessage() == (
        "Keys without effect in training: TEST.WEIGHT. To train from a checkpoint, set MODEL.INIT_WEIGHT."
    )
