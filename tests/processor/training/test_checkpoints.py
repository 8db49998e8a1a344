"""A run that was stopped anywhere ends where an undisturbed run ends, or says why not."""

import math
from contextlib import nullcontext

import pytest
import torch

from configs.load import BEST_CHECKPOINT, LAST_CHECKPOINT
from processor.evaluation.open_run import choose_config
from processor.training import train as train_module
from processor.training.checkpoints import check_config, prepare_run, read_last, restore
from processor.training.state import PREVIOUS_CHECKPOINT
from processor.training.train import train
from utils.checkpoint import read_checkpoint
from utils.stopping import STOP_REQUESTS, Stopped

OPTS = (
    *("DATASETS.VALIDATION_DIR", "split"),  # validation is given by these tests
    *("SOLVER.STAGE2.MAX_EPOCHS", 3),
    *("SOLVER.STAGE2.EVAL_PERIOD", 1),
    *("SOLVER.STAGE2.EMA_DECAY", 0.9),
    *("SOLVER.STAGE2.CHECKPOINT_MINUTES", 0),
)


def score(model):
    """A validation score that depends on the weights and goes up and down."""
    return 0.5 + 0.5 * math.sin(1e4 * model.temporal_memory.message.weight.double().sum().item())


@pytest.fixture
def run(set_up, monkeypatch):
    """``run(output, stop_at, *overrides)``: train, or resume, as train_main does; a signal comes after some steps."""

    def train_once(output, stop_at=math.inf, opts=()):
        resume = (output / LAST_CHECKPOINT).exists()
        parts = set_up(*OPTS, *opts, resume=resume)
        output.mkdir(exist_ok=True)
        if resume:
            restore(parts.state, read_last(output))
        else:
            parts.state.save(output / LAST_CHECKPOINT)
        steps = iter(range(1, 1000))

        def update(state, update_weights=train_module.update_weights):
            update_weights(state)
            if next(steps) == stop_at:
                STOP_REQUESTS.received = 15

        with monkeypatch.context() as patch:
            patch.setattr("processor.training.train.update_weights", update)
            patch.setattr(STOP_REQUESTS, "received", None)
            train(parts.state, parts.loader, parts.augment, output, score)

    return train_once


def contents(folder):
    """Both checkpoints of a run, but for their configuration, which names the run's folder."""
    files = {name: read_checkpoint(folder / name) for name in (LAST_CHECKPOINT, BEST_CHECKPOINT)}
    return {name: {key: content[key] for key in content.keys() - {"config"}} for name, content in files.items()}


INGREDIENTS = (
    *("INPUT.HUE_JITTER", 0.3, "INPUT.CHANGE_VIEWS", True, "INPUT.LOW_RESOLUTION", 0.5),
    *("DATALOADER.HARD_IDENTITIES", True, "LOSS.ID_SCALE", 16.0, "LOSS.MEMORY", "proxies"),
    *("MODEL.VIEW_PROMPTS", 2, "MODEL.HEADS", "shared"),
)
SIGLIP = ("MODEL.NAME", "vit_base_patch16_siglip_224", "MODEL.VIT.PROJ_DIM", 0, "SOLVER.STAGE2.EMA_DECAY", 0.9)


@pytest.mark.parametrize(
    "opts",
    [
        (),
        ("LOSS.MEMORY", "proxies"),
        pytest.param((*INGREDIENTS, "MODEL.TUNING", "lora"), marks=pytest.mark.slow),
        pytest.param((*INGREDIENTS, "MODEL.TUNING", "adapter"), marks=pytest.mark.slow),
        pytest.param(SIGLIP, marks=pytest.mark.slow),
        pytest.param(("SOLVER.STAGE2.IMS_PER_BATCH", 8, "SOLVER.STAGE2.ACCUMULATION_STEPS", 2), marks=pytest.mark.slow),
    ],
)
def test_a_run_stopped_by_signals_within_epochs_ends_as_an_undisturbed_one(opts, run, tmp_path, assert_same):
    run(tmp_path / "undisturbed", opts=opts)
    output = tmp_path / "stopped"
    steps = []
    for stop_at in (1, 1, 1, 2):
        with pytest.raises(Stopped):
            run(output, stop_at=stop_at, opts=opts)
        steps.append(read_checkpoint(output / LAST_CHECKPOINT)["step"])
    assert max(steps) > 0
    run(output, opts=opts)
    assert_same(contents(output), contents(tmp_path / "undisturbed"))


@pytest.fixture
def saved_twice(set_up, tmp_path):
    """A folder with the checkpoints after the epochs 0 and 1, and a state to restore."""
    parts = set_up()
    parts.state.save(tmp_path / LAST_CHECKPOINT)
    parts.state.epoch = 1
    parts.state.save(tmp_path / LAST_CHECKPOINT, previous=tmp_path / PREVIOUS_CHECKPOINT)
    return set_up(resume=True).state


@pytest.mark.parametrize("content", [b"damaged", None])
def test_the_checkpoint_before_takes_the_place_of_a_damaged_or_missing_one(content, saved_twice, tmp_path, caplog):
    last = tmp_path / LAST_CHECKPOINT
    last.write_bytes(content) if content else last.unlink()
    assert prepare_run(tmp_path, resume=True)
    restore(saved_twice, read_last(tmp_path))
    assert saved_twice.epoch == 0
    reason = "is damaged" if content else f"{last} is gone. "
    assert reason in caplog.text
    assert f"The checkpoint before it is used: {tmp_path / PREVIOUS_CHECKPOINT}" in caplog.text
    assert (tmp_path / f"{LAST_CHECKPOINT}.damaged").is_file() == (content is not None)


@pytest.mark.parametrize("damaged", [(), (LAST_CHECKPOINT,)])
def test_the_config_of_the_checkpoint_resumes_a_run_not_an_edited_one(damaged, saved_twice, tmp_path, tiny_cfg):
    for name in damaged:
        (tmp_path / name).write_bytes(b"damaged")
    path, content = read_last(tmp_path)
    solver = choose_config(tiny_cfg("SOLVER.MARGIN", 0.5), content, path, ["SOLVER.STAGE2.MAX_EPOCHS", "9"]).SOLVER
    assert (solver.MARGIN, solver.STAGE2.MAX_EPOCHS) == (0.3, 9)


def test_two_damaged_checkpoints_are_an_error(saved_twice, tmp_path):
    for name in (LAST_CHECKPOINT, PREVIOUS_CHECKPOINT):
        (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"checkpoint_previous\.pth"):
        read_last(tmp_path)


def test_weights_that_are_not_finite_are_not_saved(saved_twice, tmp_path):
    restore(saved_twice, read_last(tmp_path))
    before = (tmp_path / LAST_CHECKPOINT).read_bytes()
    with torch.no_grad():
        saved_twice.model.temporal_memory.message.weight[0, 0] = math.inf
    with pytest.raises(ValueError, match=r"temporal_memory\.message\.weight is not finite .*BASE_LR"):
        saved_twice.save(tmp_path / LAST_CHECKPOINT)
    assert (tmp_path / LAST_CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "within_epoch", "error", "warning"),
    [
        (("MODEL.VIT.NUM_HEADS", 2), False, r"a\.pth cannot be resumed with MODEL\.VIT\.NUM_HEADS .*INIT_WEIGHT", ""),
        (("INPUT.PIXEL_MEAN", "(0.5, 0.5, 0.5)"), False, r"a\.pth cannot be resumed with INPUT\.PIXEL_MEAN ", ""),
        (("MODEL.FREEZE_BLOCKS", 1), False, r"a\.pth cannot be resumed with MODEL\.FREEZE_BLOCKS 1 \(was 0\)", ""),
        (("SOLVER.STAGE2.IMS_PER_BATCH", 8), True, r"a\.pth is from within an epoch, .*PER_BATCH 8 \(was 4\)", ""),
        (("SOLVER.STAGE2.IMS_PER_BATCH", 8), False, "", "SOLVER.STAGE2.IMS_PER_BATCH 8 (was 4)"),
        (("SOLVER.MARGIN", 0.5), True, "", "SOLVER.MARGIN 0.5 (was 0.3)"),
        (("DATASETS.ROOT_DIR", "elsewhere", "TEST.FLIP", False), True, "", ""),
        ((), True, "", ""),
    ],
)
def test_a_run_goes_on_with_other_keys_unless_they_change_the_network_or_the_epoch(
    change, within_epoch, error, warning, tiny_cfg, caplog
):
    with pytest.raises(ValueError, match=error) if error else nullcontext():
        check_config(tiny_cfg().dump(), tiny_cfg(*change), "a.pth", within_epoch)
    assert (warning in caplog.text) if warning else not caplog.records


@pytest.mark.parametrize(
    ("restarts", "max_restarts", "resume", "goes_on", "message"),
    [
        (0, 0, True, True, ""),
        (1, 3, False, True, "torchrun restarted them all"),
        (0, 0, False, False, ""),
        (0, 3, False, False, "earlier run"),  # a restart would take it for its own
    ],
)
def test_a_run_continues_its_own_checkpoint_if_asked_or_restarted(
    restarts, max_restarts, resume, goes_on, message, tmp_path, monkeypatch, caplog
):
    (tmp_path / LAST_CHECKPOINT).touch()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restarts))
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", str(max_restarts))
    assert prepare_run(tmp_path, resume) == goes_on
    assert (message in caplog.text) if message else not caplog.records
    ending = ".old" if message == "earlier run" else ""
    assert [path.name for path in tmp_path.iterdir()] == [LAST_CHECKPOINT + ending]
    if ending:  # killed before its first checkpoint
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
        assert not prepare_run(tmp_path, resume)
        assert "training starts from the beginning" in caplog.text
