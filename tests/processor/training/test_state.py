"""What a checkpoint holds, and which checkpoints a run can go on with."""

import pytest
import torch

from configs.load import LAST_CHECKPOINT
from processor.build import make_training_state
from utils.checkpoint import read_checkpoint
from utils.mistake import Mistake
from utils.runtime import Runtime


@pytest.fixture
def last(trained_run):
    """What the last checkpoint of a run of two epochs holds."""
    return read_checkpoint(trained_run.output / LAST_CHECKPOINT)


def test_a_resumed_run_takes_its_rates_from_the_configuration(set_up, last):
    parts = set_up("SOLVER.STAGE2.BASE_LR", 2e-5, "SOLVER.STAGE2.WEIGHT_DECAY", 0.5, resume=True)
    fresh = [dict(group) for group in parts.state.optimizer.param_groups]
    factor = parts.state.schedule.lr_lambdas[0](2)
    parts.state.restore(last, "a.pth")
    for group, made in zip(parts.state.optimizer.param_groups, fresh, strict=True):
        assert group["lr"] == pytest.approx(made["initial_lr"] * factor)
        assert group["weight_decay"] == made["weight_decay"]
    parts.state.schedule.step()
    expected = fresh[0]["initial_lr"] * parts.state.schedule.lr_lambdas[0](3)
    assert parts.state.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:.*which is a no-op:UserWarning")
def test_fused_adam_finds_its_step_counts_on_its_device(set_up, last):
    """A checkpoint of the CPU keeps them there, and fused Adam on CUDA fails with them; "meta" stands for CUDA here."""
    parts = set_up(resume=True)
    state = make_training_state(parts.cfg, parts.dataset, Runtime(torch.device("meta"), None), resume=True)
    for group in state.optimizer.param_groups:
        group["fused"] = True
    state.restore(last, "a.pth")
    assert {group["fused"] for group in state.optimizer.param_groups} == {True}
    assert state.optimizer.state
    for values in state.optimizer.state.values():
        assert {value.device.type for value in values.values()} == {"meta"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("optimizer"), "holds weights only"),
        (lambda content: content["pids"].append(10), r"was trained on 5 identities and 2 cameras.*DATASETS\.ROOT_DIR"),
        (lambda content: content.pop("random_states"), "does not fit this run: it has no entry 'random_states'"),
        (lambda content: content.update(memory=None), "does not fit this run: 'NoneType'"),
        (lambda content: content["optimizer"]["param_groups"].pop(), r"does not fit this run: zip\(\)"),
        (lambda content: content["model"].pop("memory_weight"), "does not fit this run: .*Missing key.*memory_weight"),
        (lambda content: content["model"].update(memory_weight=torch.zeros(3)), "does not fit this run.*size mismatch"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_line(change, message, set_up, last):
    change(last)
    with pytest.raises(Mistake, match=rf"^a\.pth {message}") as error:
        set_up(resume=True).state.restore(last, "a.pth")
    assert "\n" not in str(error.value)


def test_other_tracklets_of_the_same_people_are_a_warning(set_up, make_tree, last, caplog):
    set_up(resume=True).state.restore(last, "a.pth")
    assert "other tracklets" not in caplog.text
    set_up(resume=True, root=make_tree(num_frames=5)).state.restore(last, "a.pth")
    assert "a.pth was trained on other tracklets of the same people" in caplog.text
