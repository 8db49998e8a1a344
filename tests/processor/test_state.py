"""What a checkpoint holds, and which checkpoints a run can go on with."""

import pytest
import torch

from processor.build import make_training_state
from processor.state import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    TrainingState,
    find_checkpoint,
    keep_old_checkpoints,
    prepare_run,
)
from processor.train import train
from utils.checkpoint import read_checkpoint
from utils.runtime import Runtime, make_runtime

RUNTIME = make_runtime("cpu", "fp32")


def test_a_resumed_run_takes_its_rates_from_the_configuration(set_up, tmp_path):
    before = set_up("SOLVER.STAGE2.MAX_EPOCHS", 2)
    train(before.state, before.loader, before.augment, RUNTIME, before.options, tmp_path, lambda model: 0.0)
    parts = set_up("SOLVER.STAGE2.BASE_LR", 2e-5, "SOLVER.STAGE2.WEIGHT_DECAY", 0.5, resume=True)
    fresh = [dict(group) for group in parts.state.optimizer.param_groups]
    factor = parts.state.schedule.lr_lambdas[0](2)
    parts.state.restore(tmp_path / LAST_CHECKPOINT)
    for group, made in zip(parts.state.optimizer.param_groups, fresh, strict=True):
        assert group["lr"] == pytest.approx(made["initial_lr"] * factor)
        assert group["weight_decay"] == made["weight_decay"]
    parts.state.schedule.step()
    expected = fresh[0]["initial_lr"] * parts.state.schedule.lr_lambdas[0](3)
    assert parts.state.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:.*which is a no-op:UserWarning")
def test_fused_adam_finds_its_step_counts_on_its_device(set_up, tmp_path):
    """A checkpoint of the CPU keeps them there, and fused Adam on CUDA fails with them; "meta" stands for CUDA here."""
    before = set_up("SOLVER.STAGE2.MAX_EPOCHS", 1)
    train(before.state, before.loader, before.augment, RUNTIME, before.options, tmp_path, lambda model: 0.0)
    runtime = Runtime(torch.device("meta"), None)
    state = make_training_state(before.cfg, before.dataset, runtime, resume=True)
    for group in state.optimizer.param_groups:
        group["fused"] = True
    state.restore(tmp_path / LAST_CHECKPOINT)
    assert {group["fused"] for group in state.optimizer.param_groups} == {True}
    assert state.optimizer.state
    for values in state.optimizer.state.values():
        assert {value.device.type for value in values.values()} == {"meta"}


def test_weights_alone_cannot_resume(set_up, tmp_path):
    parts = set_up()
    torch.save({"model": parts.state.model.state_dict()}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth holds weights only"):
        parts.state.restore(tmp_path / "weights.pth")


def test_a_checkpoint_of_other_people_cannot_resume(set_up, tmp_path):
    parts = set_up()
    parts.state.save(tmp_path / "a.pth")
    parts.state.pids = [1, 4, 6, 10]
    with pytest.raises(ValueError, match=r"a\.pth was trained on 4 identities and 2 cameras.*DATASETS\.ROOT_DIR"):
        parts.state.restore(tmp_path / "a.pth")


def test_a_checkpoint_of_another_configuration_cannot_resume(set_up, tmp_path):
    parts = set_up()
    parts.state.save(tmp_path / "a.pth")
    other = set_up("MODEL.POOLING", "mean")
    with pytest.raises(ValueError, match=r"a\.pth belongs to another configuration"):
        other.state.restore(tmp_path / "a.pth")


def test_checkpoints_of_an_earlier_run_are_kept_aside(tmp_path, caplog):
    keep_old_checkpoints(tmp_path)
    assert not caplog.records
    (tmp_path / LAST_CHECKPOINT).write_text("old")
    keep_old_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{LAST_CHECKPOINT}.old"]
    assert "earlier run" in caplog.text


@pytest.fixture
def started(monkeypatch, tmp_path):
    """``started(restarts, max_restarts, resume=False)``: what prepare_run decides beside a checkpoint."""

    def decide(restarts, max_restarts, resume=False):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restarts))
        monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", str(max_restarts))
        return prepare_run(tmp_path, resume)

    return decide


def test_a_run_continues_if_that_is_asked_for_or_torchrun_restarted_it(started, tmp_path, caplog):
    (tmp_path / LAST_CHECKPOINT).write_text("mine")
    assert started(0, 0, resume=True)
    assert not caplog.records
    assert started(1, 3)
    assert "torchrun restarted them all" in caplog.text
    assert not started(0, 0)
    assert [path.name for path in tmp_path.iterdir()] == [LAST_CHECKPOINT]


def test_a_run_that_may_be_restarted_never_continues_an_earlier_one(started, tmp_path, caplog):
    (tmp_path / LAST_CHECKPOINT).write_text("of an earlier run")
    assert not started(0, 3)
    assert not started(1, 3)  # killed before its first checkpoint
    assert "training starts from the beginning" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [f"{LAST_CHECKPOINT}.old"]


def test_a_checkpoint_says_what_it_was_trained_on(set_up, tmp_path):
    parts = set_up()
    assert isinstance(parts.state, TrainingState)
    parts.state.save(tmp_path / "a.pth")
    content = read_checkpoint(tmp_path / "a.pth")
    assert (content["pids"], content["camids"]) == ([1, 4, 6, 9], [0, 4])
    assert content["memory"].shape == (4, 64)
    assert content["config"] == parts.cfg.dump()


def test_the_best_checkpoint_is_found_before_the_last(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No checkpoint in .*train_main\.py.*--weight"):
        find_checkpoint(tmp_path)
    for name in (LAST_CHECKPOINT, BEST_CHECKPOINT):
        (tmp_path / name).write_text("")
        assert find_checkpoint(tmp_path) == tmp_path / name
