"""Training on people generated for the test: it learns them, resumes exactly, and survives interruptions."""

import math
from types import SimpleNamespace

import pytest
import torch

import train_main
from datasets import make_dataset, make_train_loader, train_cameras
from datasets.clips.transforms import Augmenter
from processor.evaluate import VISUAL, evaluate
from processor.train import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    EpochRecord,
    Training,
    keep_old_checkpoints,
    train,
    train_one_epoch,
)
from utils.checkpoint import read_checkpoint, write_checkpoint
from utils.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
TRAIN_PIDS = (1, 4, 6, 9)


@pytest.fixture
def set_up(make_tree, tiny_cfg, tmp_path):
    """``set_up(*overrides, resume=False, **tree options)``: what ``train`` needs, as train_main builds it."""

    def build(*opts, resume=False, **tree):
        root = tmp_path / "data"
        if not root.is_dir():
            make_tree(**{"train": TRAIN_PIDS, "test": TRAIN_PIDS, **tree})
        cfg = tiny_cfg("DATASETS.ROOT_DIR", root, *opts)
        torch.manual_seed(cfg.SOLVER.SEED)
        dataset = make_dataset(cfg)
        return SimpleNamespace(
            cfg=cfg,
            dataset=dataset,
            training=train_main.build_training(cfg, dataset, RUNTIME, resume=resume),
            loader=make_train_loader(cfg, dataset),
            augment=Augmenter(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD, cfg.INPUT.PROB, cfg.INPUT.RE_PROB),
            output=tmp_path,
        )

    return build


def run(parts, validate=lambda model: 0.0, output=None):
    output = output or parts.output
    train(parts.cfg, parts.training, parts.loader, parts.augment, RUNTIME, output, validate)


def rank1(parts):
    cameras = train_cameras(parts.dataset.train)
    evaluation = evaluate(parts.cfg, parts.training.model, list(parts.dataset.cases.values()), cameras, RUNTIME)
    return evaluation.overall(VISUAL).cmc[0]


def test_the_model_overfits_the_generated_people(set_up):
    parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", 12)
    first = train_one_epoch(parts.training, parts.loader, parts.augment, RUNTIME, log_period=50)
    run(parts)
    last = train_one_epoch(parts.training, parts.loader, parts.augment, RUNTIME, log_period=50)
    assert first["accuracy"] < 0.7
    assert last["accuracy"] == 1
    assert last["total"] < 0.5 * first["total"]
    assert rank1(parts) == 1


@pytest.mark.parametrize(("smoothing", "workers"), [("online", 0), ("uniform", 0), ("online", 1)])
def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_one(smoothing, workers, set_up, tmp_path):
    common = ("LOSS.LABEL_SMOOTHING", smoothing, "SOLVER.STAGE2.STEPS", "(3,)", "SOLVER.STAGE2.EVAL_PERIOD", 2)
    common += ("DATALOADER.NUM_WORKERS", workers)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder, epochs, resume in ((whole, 4, False), (halves, 2, False), (halves, 4, True)):
        parts = set_up(*common, "SOLVER.STAGE2.MAX_EPOCHS", epochs, resume=resume)
        if resume:
            torch.manual_seed(99)  # whatever happened before, the checkpoint's state counts
            parts.training.restore(folder / LAST_CHECKPOINT)
            assert parts.training.epoch == 2
        run(parts, validate=lambda model, parts=parts: float(rank1(parts)), output=folder)
    expected, actual = (read_checkpoint(folder / LAST_CHECKPOINT) for folder in (whole, halves))
    assert actual.keys() == expected.keys()
    for key in expected.keys() - {"config"}:
        assert_equal(actual[key], expected[key], key)
    assert bool(expected["criterion"]) == (smoothing == "online")


def test_a_resumed_run_takes_its_rates_from_the_configuration(set_up, tmp_path):
    run(set_up("SOLVER.STAGE2.MAX_EPOCHS", 2), output=tmp_path)
    parts = set_up("SOLVER.STAGE2.BASE_LR", 2e-5, "SOLVER.STAGE2.WEIGHT_DECAY", 0.5, resume=True)
    fresh = [dict(group) for group in parts.training.optimizer.param_groups]
    factor = parts.training.schedule.lr_lambdas[0](2)
    parts.training.restore(tmp_path / LAST_CHECKPOINT)
    for group, made in zip(parts.training.optimizer.param_groups, fresh, strict=True):
        assert group["lr"] == pytest.approx(made["initial_lr"] * factor)
        assert group["weight_decay"] == made["weight_decay"]
    parts.training.schedule.step()
    expected = fresh[0]["initial_lr"] * parts.training.schedule.lr_lambdas[0](3)
    assert parts.training.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def assert_equal(actual, expected, where):
    """Compare nested dicts, lists and tensors bit by bit."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(actual, expected), where
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys(), where
        for key in expected:
            assert_equal(actual[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected), where
        for index, value in enumerate(expected):
            assert_equal(actual[index], value, f"{where}[{index}]")
    else:
        assert actual == expected, where


def test_online_smoothing_learns_between_epochs(set_up):
    parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", 6)
    smoothing = parts.training.criterion.clip_classification
    before = smoothing.soft_labels.clone()
    run(parts)
    assert not torch.equal(smoothing.soft_labels, before)
    assert not smoothing.counts.any()  # the epoch's accumulators were emptied


def test_the_best_checkpoint_is_the_one_with_the_best_score(set_up, tmp_path):
    parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", 3, "SOLVER.STAGE2.EVAL_PERIOD", 1)
    scores = iter((0.2, 0.5, 0.4))
    run(parts, validate=lambda model: next(scores))
    best, last = (read_checkpoint(tmp_path / name) for name in (BEST_CHECKPOINT, LAST_CHECKPOINT))
    assert (best["epoch"], best["best"]) == (2, 0.5)
    assert (last["epoch"], last["best"]) == (3, 0.5)


@pytest.mark.parametrize(("period", "epochs"), [(0, []), (2, [2, 4, 5])])
def test_validation_comes_every_period_and_at_the_end(period, epochs, set_up):
    parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", 5, "SOLVER.STAGE2.EVAL_PERIOD", period)
    seen = []
    run(parts, validate=lambda model: seen.append(parts.training.epoch) or 0.0)
    assert seen == epochs


def test_a_loss_that_is_not_finite_names_the_terms_and_leaves_the_last_checkpoint(set_up, tmp_path):
    run(set_up("SOLVER.STAGE2.MAX_EPOCHS", 1))
    before = (tmp_path / LAST_CHECKPOINT).read_bytes()
    parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", 2, resume=True)
    parts.training.restore(tmp_path / LAST_CHECKPOINT)
    weights = [parameter.detach().clone() for parameter in parts.training.model.parameters()]
    parts.training.memory.fill_(math.inf)
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 1: id .* triplet .* memory nan frame .* total nan"):
        run(parts)
    assert (tmp_path / LAST_CHECKPOINT).read_bytes() == before
    after = parts.training.model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(after, weights, strict=True))  # no step was taken


def test_gradients_are_centralised_only_when_asked(set_up):
    for centralize in (True, False):
        parts = set_up("SOLVER.STAGE2.GRADIENT_CENTRALIZATION", centralize)
        train_one_epoch(parts.training, parts.loader, parts.augment, RUNTIME, log_period=50)
        gradient = parts.training.model.temporal_memory.message.weight.grad
        share = gradient.mean(dim=1).abs().max() / gradient.abs().max()
        assert (share < 1e-5) == centralize


def test_an_epoch_reports_every_term_and_means_over_its_steps(caplog):
    caplog.set_level("INFO")
    record = EpochRecord(epoch=3, num_steps=2, log_period=50)
    record.add({"total": torch.tensor(1.0), "id": torch.tensor(4.0)}, num_clips=4, rate=0.5)
    record.add({"total": torch.tensor(3.0), "id": torch.tensor(8.0)}, num_clips=4, rate=0.5)
    means = record.finish()
    assert (means["total"], means["id"], means["lr"]) == (2.0, 6.0, 0.5)
    assert means["clips_per_second"] > 0
    (line,) = caplog.messages  # the last step is always logged
    for word in ("epoch 3", "step 2/2", "total 2.000", "id 6.000", "lr 0.5", "clips_per_second"):
        assert word in line


def test_an_epoch_without_a_batch_is_an_error():
    with pytest.raises(ValueError, match="gave no batch"):
        EpochRecord(1, 0, 50).finish()


def test_weights_alone_cannot_resume(set_up, tmp_path):
    parts = set_up()
    torch.save({"model": parts.training.model.state_dict()}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth holds weights only"):
        parts.training.restore(tmp_path / "weights.pth")


def test_a_checkpoint_of_other_people_cannot_resume(set_up, tmp_path):
    parts = set_up()
    parts.training.save(tmp_path / "a.pth", parts.cfg)
    parts.training.pids = [1, 4, 6, 10]
    with pytest.raises(ValueError, match=r"a\.pth was trained on 4 identities and 2 cameras.*DATASETS\.ROOT_DIR"):
        parts.training.restore(tmp_path / "a.pth")


def test_a_checkpoint_of_another_configuration_cannot_resume(set_up, tmp_path):
    parts = set_up()
    parts.training.save(tmp_path / "a.pth", parts.cfg)
    other = set_up("MODEL.POOLING", "mean")
    with pytest.raises(ValueError, match=r"a\.pth belongs to another configuration"):
        other.training.restore(tmp_path / "a.pth")


def test_checkpoints_of_an_earlier_run_are_kept_aside(tmp_path, caplog):
    keep_old_checkpoints(tmp_path)
    assert not caplog.records
    (tmp_path / LAST_CHECKPOINT).write_text("old")
    keep_old_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{LAST_CHECKPOINT}.old"]
    assert "earlier run" in caplog.text


def test_a_checkpoint_says_what_it_was_trained_on(set_up, tmp_path):
    parts = set_up()
    assert isinstance(parts.training, Training)
    parts.training.save(tmp_path / "a.pth", parts.cfg)
    content = read_checkpoint(tmp_path / "a.pth")
    assert (content["pids"], content["camids"]) == (list(TRAIN_PIDS), [0, 4])
    assert content["memory"].shape == (4, 64)
    assert content["config"] == parts.cfg.dump()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space"), RuntimeError("unexpected pos 64 vs 0")])
def test_an_interrupted_write_leaves_the_old_checkpoint(error, tmp_path, monkeypatch):
    path = tmp_path / LAST_CHECKPOINT
    write_checkpoint({"epoch": 1, "x": torch.ones(1000)}, path)

    def save_half(content, file):
        with open(file, "wb") as handle:
            handle.write(b"half a checkpoint")
        raise error

    monkeypatch.setattr(torch, "save", save_half)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError):
        write_checkpoint({"epoch": 2}, path)
    monkeypatch.undo()
    assert read_checkpoint(path)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [LAST_CHECKPOINT]  # no temporary left behind


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def fail(content, file):
        raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"Could not write .*a\.pth"):
        write_checkpoint({}, tmp_path / "a.pth")
