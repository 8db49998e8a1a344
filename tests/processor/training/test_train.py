"""Training on people generated for the test: it learns them, resumes exactly, and survives interruptions."""

import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from configs.load import BEST_CHECKPOINT, LAST_CHECKPOINT
from datasets.build import train_cameras
from loss import make_loss
from processor import build
from processor.evaluation.results import VISUAL
from processor.training.monitor import HISTORY, read_history
from processor.training.train import compute_losses, train, train_one_epoch
from utils.checkpoint import read_checkpoint

TRAIN_PIDS = (1, 4, 6, 9)
BEST_IS_CHOSEN = ("DATASETS.VALIDATION_DIR", "split")  # these tests bring a validation of their own


def run(parts, validate=lambda model: 0.0, output=None):
    train(parts.state, parts.loader, parts.augment, output or parts.output, validate)


@pytest.fixture
def rank1(run_evaluation):
    def measure(parts):
        cameras = train_cameras(parts.dataset.train)
        evaluation = run_evaluation(parts.cfg, parts.state.model, list(parts.dataset.cases.values()), cameras)
        return evaluation.overall(VISUAL).cmc[0]

    return measure


def test_the_model_overfits_the_generated_people(set_up, make_tree, rank1):
    """Online smoothing learns between the epochs, too, whose accumulators are emptied."""
    root = make_tree(train=TRAIN_PIDS, test=TRAIN_PIDS)
    parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", 12, "INPUT.ERASING", "mean", root=root)
    smoothing = parts.state.criterion.clip_classification
    before = smoothing.soft_labels.clone()
    first = train_one_epoch(parts.state, parts.loader, parts.augment)
    run(parts)
    assert not torch.equal(smoothing.soft_labels, before)
    assert not smoothing.counts.any()
    last = train_one_epoch(parts.state, parts.loader, parts.augment)
    assert first["accuracy"] < 0.7
    assert last["accuracy"] == 1
    assert last["total"] < 0.5 * first["total"]
    assert rank1(parts) == 1


@pytest.mark.parametrize(
    ("smoothing", "workers"),
    [
        ("online", 0),
        pytest.param("uniform", 0, marks=pytest.mark.slow),
        pytest.param("online", 1, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_one(
    smoothing, workers, set_up, rank1, tmp_path, assert_same
):
    common = ("LOSS.LABEL_SMOOTHING", smoothing, "SOLVER.STAGE2.STEPS", "(3,)", "SOLVER.STAGE2.EVAL_PERIOD", 2)
    common += ("DATALOADER.NUM_WORKERS", workers)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder, epochs, resume in ((whole, 4, False), (halves, 2, False), (halves, 4, True)):
        parts = set_up(*common, "SOLVER.STAGE2.MAX_EPOCHS", epochs, resume=resume)
        if resume:
            torch.manual_seed(99)  # whatever happened before, the checkpoint's state counts
            parts.state.restore(read_checkpoint(folder / LAST_CHECKPOINT), folder / LAST_CHECKPOINT)
            assert parts.state.epoch == 2
        run(parts, validate=lambda model, parts=parts: float(rank1(parts)), output=folder)
    expected, actual = (read_checkpoint(folder / LAST_CHECKPOINT) for folder in (whole, halves))
    assert actual.keys() == expected.keys()
    for key in expected.keys() - {"config"}:
        assert_same(actual[key], expected[key], key)
    assert bool(expected["criterion"]) == (smoothing == "online")


def test_steps_run_on_over_epochs_of_different_lengths_and_after_a_resume(set_up, tmp_path, monkeypatch):
    for epochs, resume in ((2, False), (3, True)):
        parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", epochs, resume=resume)
        draw, sizes = parts.loader.batch_sampler._draw_items, iter((2,) if resume else (2, 1))
        monkeypatch.setattr(
            parts.loader.batch_sampler, "_draw_items", lambda rng, d=draw, s=sizes: d(rng)[: 4 * next(s)]
        )
        if resume:
            parts.state.restore(read_checkpoint(tmp_path / LAST_CHECKPOINT), tmp_path / LAST_CHECKPOINT)
        run(parts)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("step/total")] == [1, 2, 3, 4, 5]


class Centres(nn.Module):
    """A loss that learns a point of each person, in place of the triplet loss."""

    def __init__(self, num_classes, width):
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(num_classes, width))

    def forward(self, features, labels):
        return (features.float() - self.centres[labels]).square().sum(dim=1).mean()


def test_what_a_loss_learns_is_trained_kept_and_resumed(set_up, tmp_path, monkeypatch):
    def with_centres(cfg, num_classes, feature_widths):
        criterion = make_loss(cfg, num_classes, feature_widths)
        criterion.triplet = Centres(num_classes, feature_widths[0])  # the tiny model has one width
        return criterion

    monkeypatch.setattr(build, "make_loss", with_centres)
    kept = []
    for epochs, resume in ((1, False), (2, True)):
        parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", epochs, resume=resume)
        if resume:
            parts.state.restore(read_checkpoint(tmp_path / LAST_CHECKPOINT), tmp_path / LAST_CHECKPOINT)
            assert torch.equal(parts.state.criterion.triplet.centres, kept[0])
        run(parts)
        kept.append(read_checkpoint(tmp_path / LAST_CHECKPOINT)["criterion"]["triplet.centres"])
    assert kept[0].any()
    assert not torch.equal(*kept)


def test_validation_comes_every_period_and_at_the_end_and_chooses_the_best(set_up, tmp_path):
    parts = set_up(*BEST_IS_CHOSEN, "SOLVER.STAGE2.MAX_EPOCHS", 5, "SOLVER.STAGE2.EVAL_PERIOD", 2)
    scores = {2: 0.2, 4: 0.5, 5: 0.4}
    run(parts, validate=lambda model: scores.pop(parts.state.epoch))
    assert not scores
    best, last = (read_checkpoint(tmp_path / name) for name in (BEST_CHECKPOINT, LAST_CHECKPOINT))
    assert [(saved["epoch"], saved["best"]) for saved in (best, last)] == [(4, 0.5), (5, 0.5)]


def test_a_loss_that_is_not_finite_names_the_terms_and_leaves_the_last_checkpoint(set_up, tmp_path):
    parts = set_up("SOLVER.STAGE2.MAX_EPOCHS", 2)
    parts.state.save(tmp_path / LAST_CHECKPOINT)
    before = (tmp_path / LAST_CHECKPOINT).read_bytes()
    weights = [parameter.detach().clone() for parameter in parts.state.model.parameters()]
    parts.state.memory.fill_(math.inf)
    message = r"epoch 1, step 1: id .* triplet .* memory nan frame .* total nan.* Clips of \d/c\dn\d, "
    with pytest.raises(ValueError, match=message):
        run(parts)
    assert (tmp_path / LAST_CHECKPOINT).read_bytes() == before
    after = parts.state.model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(after, weights, strict=True))  # no step was taken


def gradients_of_epoch(set_up, *opts):
    """The gradients that the optimiser takes its steps with, by parameter, and the number of batches or parts."""
    parts, gradients = set_up(*opts), []
    weights = list(parts.state.model.named_parameters())
    parts.state.optimizer.register_step_pre_hook(
        lambda *_: gradients.append({name: weight.grad.clone() for name, weight in weights})
    )
    train_one_epoch(parts.state, parts.loader, parts.augment)
    return gradients, len(parts.loader)


@pytest.mark.parametrize(("centralize", "limit"), [(True, 0), (False, 0.01)])
def test_gradients_are_centralised_and_clipped_only_when_asked(centralize, limit, set_up):
    opts = ("SOLVER.STAGE2.GRADIENT_CENTRALIZATION", centralize, "SOLVER.STAGE2.CLIP_GRADIENT_NORM", limit)
    gradients, _ = gradients_of_epoch(set_up, *opts)
    rows = gradients[-1]["temporal_memory.message.weight"]
    assert (rows.mean(dim=1).abs().max() / rows.abs().max() < 1e-5) == centralize
    for gradient in gradients:
        norm = torch.nn.utils.get_total_norm(gradient.values()).item()
        assert norm == pytest.approx(limit, rel=1e-4) if limit else norm > 0.1


def test_the_weights_change_once_a_batch(set_up):
    opts = ("SOLVER.STAGE2.IMS_PER_BATCH", 8, "SOLVER.STAGE2.ACCUMULATION_STEPS")
    (whole, num_batches), (accumulated, num_parts) = (gradients_of_epoch(set_up, *opts, parts) for parts in (1, 2))
    assert (num_parts, len(accumulated)) == (2 * num_batches, len(whole))


def test_accumulated_gradients_are_those_of_the_whole_batch(set_up):
    """Where nothing depends on the other clips of a part: no triplets, norms in evaluation mode, no dropout."""
    whole = set_up("MODEL.TRIPLET_LOSS_WEIGHT", 0, "MODEL.PROMPT_DROPOUT", 0, "SOLVER.STAGE2.IMS_PER_BATCH", 8)
    state = whole.state
    for norm in state.model.modules():
        if isinstance(norm, torch.nn.modules.batchnorm._NormBase):
            norm.eval()
    clips, labels = torch.randn(8, 4, 3, 64, 32), torch.arange(8) // 2
    camids = labels % 2

    def gradients(num_parts):
        state.optimizer.zero_grad()
        for part in range(num_parts):
            rows = slice(part * 8 // num_parts, (part + 1) * 8 // num_parts)
            terms = compute_losses(state, clips[rows], camids[rows], labels[rows])
            (terms["total"] / num_parts).backward()
        return [weight.grad.clone() for weight in state.model.parameters()]

    expected = gradients(1)
    largest = max(gradient.abs().max().item() for gradient in expected)
    for accumulated, gradient in zip(gradients(2), expected, strict=True):
        torch.testing.assert_close(accumulated, gradient, rtol=1e-5, atol=1e-6 * largest)


def test_averaged_weights_follow_the_weights_and_are_validated_beside_them(set_up, tmp_path):
    decay = 0.9
    common = (*BEST_IS_CHOSEN, "SOLVER.STAGE2.EVAL_PERIOD", 1, "SOLVER.STAGE2.MAX_EPOCHS", 1)
    parts = set_up("SOLVER.STAGE2.EMA_DECAY", decay, *common)
    weight = parts.state.model.temporal_memory.message.weight
    expected = weight.detach().clone()

    def follow(*_):
        expected.mul_(decay).add_(weight.detach(), alpha=1 - decay)

    parts.state.optimizer.register_step_post_hook(follow)
    scores = {id(parts.state.model): 0.5, id(parts.state.averaged.module): 0.25}
    run(parts, validate=lambda model: scores[id(model)])
    averaged = parts.state.averaged.module.temporal_memory.message.weight
    torch.testing.assert_close(averaged, expected)
    assert not torch.allclose(averaged, weight)
    last = read_checkpoint(tmp_path / LAST_CHECKPOINT)
    assert torch.equal(last["averaged"]["temporal_memory.message.weight"], averaged)
    assert last["best"] == 0.25
    assert read_history(tmp_path / HISTORY, 1)[0]["validation_mAP_averaged"] == 0.25


@pytest.mark.parametrize("content", [b"epoch;total\n1;2,5\n", b"epoch\n1,2\n", b"epoch\none\n", b"epoch\n\xff\n"])
def test_a_damaged_history_is_set_aside(content, tmp_path, caplog):
    (tmp_path / HISTORY).write_bytes(content)
    assert read_history(tmp_path / HISTORY, 1) == []
    assert (tmp_path / "history.csv.damaged").read_bytes() == content
    assert len(caplog.messages) == 1
