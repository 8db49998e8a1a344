"""What a checkpoint holds, and which checkpoints a run can go on with."""

import pytest
import torch

from configs import dump_config
from processor.build import make_training_state
from processor.training.state import LAST_CHECKPOINT
from processor.training.train import train
from utils.checkpoint import read_checkpoint
from utils.mistake import Mistake
from utils.runtime import Runtime


def test_a_resumed_run_takes_its_rates_from_the_configuration(set_up, tmp_path):
    before = set_up("SOLVER.STAGE2.MAX_EPOCHS", 2)
    train(before.state, before.loader, before.augment, before.options, tmp_path, lambda model: 0.0)
    parts = set_up("SOLVER.STAGE2.BASE_LR", 2e-5, "SOLVER.STAGE2.WEIGHT_DECAY", 0.5, resume=True)
    fresh = [dict(group) for group in parts.state.optimizer.param_groups]
    factor = parts.state.schedule.lr_lambdas[0](2)
    parts.state.restore(read_checkpoint(tmp_path / LAST_CHECKPOINT), tmp_path / LAST_CHECKPOINT)
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
    train(before.state, before.loader, before.augment, before.options, tmp_path, lambda model: 0.0)
    runtime = Runtime(torch.device("meta"), None)
    state = make_training_state(before.cfg, before.dataset, runtime, resume=True)
    for group in state.optimizer.param_groups:
        group["fused"] = True
    state.restore(read_checkpoint(tmp_path / LAST_CHECKPOINT), tmp_path / LAST_CHECKPOINT)
    assert {group["fused"] for group in state.optimizer.param_groups} == {True}
    assert state.optimizer.state
    for values in state.optimizer.state.values():
        assert {value.device.type for value in values.values()} == {"meta"}


def drop_entry(name):
    return lambda content: content.pop(name)


def set_entry(name, value):
    return lambda content: content.update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_entry("optimizer"), "holds weights only"),
        (set_entry("pids", [1, 4, 6, 10]), r"was trained on 4 identities and 2 cameras.*DATASETS\.ROOT_DIR"),
        (drop_entry("random_states"), r"does not fit this run: it has no entry 'random_states'"),
        (set_entry("memory", None), "does not fit this run: 'NoneType'"),
        (lambda content: content["optimizer"]["param_groups"].pop(), r"does not fit this run: zip\(\)"),
        (
            lambda content: content["model"].pop("memory_weight"),
            r"does not fit this run: it has no entry 'memory_weight'",
        ),
        (
            lambda content: content["model"].update(memory_weight=torch.zeros(3)),
            "does not fit this run: memory_weight is no dense tensor",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_line(change, message, set_up, tmp_path):
    parts = set_up()
    parts.state.save(tmp_path / "a.pth")
    content = read_checkpoint(tmp_path / "a.pth")
    change(content)
    with pytest.raises(Mistake, match=rf"^a\.pth {message}") as error:
        parts.state.restore(content, "a.pth")
    assert "\n" not in str(error.value)


def test_a_checkpoint_says_what_it_was_trained_on(set_up, tmp_path):
    parts = set_up()
    parts.state.save(tmp_path / "a.pth")
    content = read_checkpoint(tmp_path / "a.pth")
    assert (content["pids"], content["camids"]) == ([1, 4, 6, 9], [0, 4])
    assert content["memory"].shape == (4, 64)
    assert content["config"] == dump_config(parts.cfg)


def test_other_tracklets_of_the_same_people_are_a_warning(set_up, tmp_path, caplog):
    parts = set_up()
    parts.state.save(tmp_path / "a.pth")
    content = read_checkpoint(tmp_path / "a.pth")
    parts.state.restore(content, "a.pth")
    assert "other tracklets" not in caplog.text
    folder = next((tmp_path / "data/train/4").iterdir())
    next(folder.iterdir()).unlink()
    set_up().state.restore(content, "a.pth")
    assert "a.pth was trained on other tracklets of the same people" in caplog.text
