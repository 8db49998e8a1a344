"""The losses against hand-worked cases and slow, obvious references."""

import math
from types import SimpleNamespace

import pytest
import torch

from loss import BatchHardTriplet, OnlineLabelSmoothing, ReidLoss, UniformLabelSmoothing, make_loss


def logits_of(*rows):
    """Logits whose softmax is these rows."""
    return torch.tensor(rows).log()


def cross_entropy(target, probabilities):
    return -sum(t * math.log(p) for t, p in zip(target, probabilities, strict=True))


def test_online_smoothing_is_half_hard_and_half_soft():
    rows = (0.7, 0.2, 0.1), (0.3, 0.3, 0.4)
    loss = OnlineLabelSmoothing(3)(logits_of(*rows), torch.tensor([0, 1]))
    soft = (0.9, 0.05, 0.05), (0.05, 0.9, 0.05)
    expected = 0.5 * -(math.log(0.7) + math.log(0.3)) / 2
    expected += 0.5 * sum(cross_entropy(s, r) for s, r in zip(soft, rows, strict=True)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_an_epoch_of_correct_samples_becomes_the_soft_labels():
    loss = OnlineLabelSmoothing(3)
    loss(logits_of((0.7, 0.2, 0.1), (0.1, 0.8, 0.1)), torch.tensor([0, 1]))
    # A second correct sample of class 0; class 1 predicted as 0 does not count; class 2 is never right.
    loss(logits_of((0.5, 0.3, 0.2), (0.6, 0.3, 0.1), (0.6, 0.2, 0.2)), torch.tensor([0, 1, 2]))
    loss.next_epoch()
    expected = torch.tensor([[0.6, 0.25, 0.15], [0.1, 0.8, 0.1], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(loss.soft_labels, expected)
    assert not loss.accumulated.any()
    assert not loss.counts.any()
    second = loss(logits_of((0.2, 0.2, 0.6)), torch.tensor([2]))  # the soft half of a zero row is zero
    assert second.item() == pytest.approx(0.5 * -math.log(0.6), rel=1e-6)


def test_accumulation_takes_no_part_in_the_gradient():
    logits = logits_of((0.6, 0.4)).requires_grad_()
    loss = OnlineLabelSmoothing(2)
    loss(logits, torch.tensor([0])).backward()
    assert not loss.accumulated.requires_grad
    target = torch.tensor([[0.5 * 1 + 0.5 * 0.9, 0.5 * 0.1]])
    torch.testing.assert_close(logits.grad, torch.tensor([[0.6, 0.4]]) - target)


def slow_triplet(features, labels, margin):
    total = 0
    for i in range(len(labels)):
        distances = [(features[i] - features[j]).pow(2).sum().add(1e-20).sqrt() for j in range(len(labels))]
        positive = max(d for j, d in enumerate(distances) if labels[j] == labels[i])
        negative = min(d for j, d in enumerate(distances) if labels[j] != labels[i])
        total = total + max(positive - negative + margin, torch.zeros(()))
    return total / len(labels)


def test_triplet_and_its_gradient_equal_a_slow_reference():
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [0.0, 6.0]])
    # positives: 5, 5, 5, 5; nearest negatives: 1, sqrt(13), 1, sqrt(13)
    hinges = [5 - 1 + 0.3, 5 - math.sqrt(13) + 0.3] * 2
    by_hand = BatchHardTriplet(0.3)(features, torch.tensor([0, 0, 1, 1])).item()
    assert by_hand == pytest.approx(sum(hinges) / 4, rel=1e-6)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    fast = torch.randn(8, 5, requires_grad=True)
    slow = fast.detach().clone().requires_grad_()
    first, second = BatchHardTriplet(0.3)(fast, labels), slow_triplet(slow, labels, 0.3)
    first.backward()
    second.backward()
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(fast.grad, slow.grad)
    assert fast.grad.any()


def test_triplet_gradient_is_finite_when_features_coincide():
    features = torch.ones(4, 3, requires_grad=True)
    BatchHardTriplet(0.3)(features, torch.tensor([0, 0, 1, 1])).backward()
    assert features.grad.isfinite().all()


class Fixed(torch.nn.Module):
    """A loss that records what it is called with and returns a fixed value."""

    def __init__(self, value):
        super().__init__()
        self.value, self.labels, self.epochs = value, [], 0

    def forward(self, _, labels):
        self.labels.append(labels.tolist())
        return torch.tensor(self.value)

    def next_epoch(self):
        self.epochs += 1


def test_the_sum_weighs_its_terms_and_repeats_labels_by_frame():
    B, T = 2, 3
    clip, frame, triplet = Fixed(2.0), Fixed(6.0), Fixed(5.0)
    criterion = ReidLoss(clip, frame, triplet, {"id": 0.25, "triplet": 3.0, "memory": 7.0, "frame": 11.0})
    output = SimpleNamespace(
        id_logits=[torch.zeros(B, 4)] * 3,
        features=[torch.zeros(B, 5)] * 3,
        memory_logits=torch.zeros(B, 4),
        frame_logits=torch.zeros(B * T, 4),
    )
    terms = criterion(output, torch.tensor([3, 1]))
    total = 0.25 * 6.0 + 3 * 15.0 + 7 * 2.0 + 11 / 3 * 6.0
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(
        {"id": 6.0, "triplet": 15.0, "memory": 2.0, "frame": 6.0, "total": total}
    )
    assert frame.labels == [[3, 3, 3, 1, 1, 1]]  # frames of a clip lie in a row
    assert clip.labels == [[3, 1]] * 4
    assert criterion.formula() == "total = 0.25 id + 3 triplet + 7 memory + 11 frame / T"
    criterion.next_epoch()
    assert (clip.epochs, frame.epochs) == (1, 1)


def test_the_factory_follows_the_config(tiny_cfg):
    cfg = tiny_cfg("MODEL.ID_LOSS_WEIGHT", 0.5, "SOLVER.MARGIN", 0.7, "LOSS.HARD_WEIGHT", 0.2, "LOSS.SMOOTHING", 0.4)
    criterion = make_loss(cfg, 3)
    assert (criterion.weights["id"], criterion.triplet.margin) == (0.5, 0.7)
    assert criterion.clip_classification.hard_weight == 0.2
    torch.testing.assert_close(criterion.clip_classification.soft_labels[0], torch.tensor([0.6, 0.2, 0.2]))
    assert criterion.clip_classification is not criterion.frame_classification
    uniform = make_loss(tiny_cfg("LOSS.LABEL_SMOOTHING", "uniform", "LOSS.SMOOTHING", 0.4), 3)
    assert uniform.frame_classification.smoothing == 0.4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", [OnlineLabelSmoothing(5), UniformLabelSmoothing(), BatchHardTriplet(0.3)])
def test_half_precision_gives_finite_float32(loss, dtype):
    x = (200 * torch.randn(6, 5)).to(dtype).requires_grad_()  # squares of these overflow fp16
    value = loss(x, torch.tensor([0, 1, 2, 0, 1, 2]))
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert x.grad.isfinite().all()


def test_hard_terms_are_plain_cross_entropies_and_leave_no_trace(tiny_cfg):
    criterion = make_loss(tiny_cfg(), 3)
    clip, frame = logits_of((0.5, 0.3, 0.2)).requires_grad_(), logits_of((0.1, 0.8, 0.1), (0.6, 0.2, 0.2))
    output = SimpleNamespace(id_logits=[clip] * 3, frame_logits=frame, memory_logits=clip)
    terms = criterion.hard_terms(output, torch.tensor([1]))
    assert not criterion.clip_classification.counts.any()
    assert not any(term.requires_grad for term in terms.values())
    expected = {"id_hard": -3 * math.log(0.3), "memory_hard": -math.log(0.3), "frame_hard": -math.log(0.8 * 0.2) / 2}
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected)
