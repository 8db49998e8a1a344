"""The memory of proxies against a slow loop over people, and what it leaves alone."""

import math

import pytest
import torch
import torch.nn.functional as F

from loss import make_loss
from loss.proxies import ProxyMemory
from model import make_model

K, P = 5, 8
LABELS = torch.tensor([3, 1, 3, 3, 1, 0])


@pytest.fixture
def proxies():
    memory = ProxyMemory(K, P)
    memory.rebuild(torch.randn(K, P))
    memory(torch.randn(6, P), LABELS)  # now the two of a person differ
    return memory


def slowly(proxies, features, labels):
    """The loss, and the proxies after it, person by person."""
    mean, hardest = proxies
    unit = features / features.norm(dim=1, keepdim=True)
    losses = [-(row @ of.T / 0.05).log_softmax(0)[y] for of in proxies for row, y in zip(unit, labels, strict=True)]
    moved = proxies.clone()
    for person in set(labels.tolist()):
        own = unit[labels == person]
        worst = min(own, key=lambda row: (row @ mean[person]).item())
        for kind, (old, new) in enumerate(((mean[person], own.mean(dim=0)), (hardest[person], worst))):
            to = 0.1 * old + 0.9 * new
            moved[kind, person] = to / to.norm()
    return sum(losses) / len(losses), moved


def test_loss_gradient_and_moves_are_those_of_a_slow_reference(proxies):
    assert not torch.equal(*proxies.proxies[:, 3])
    features = torch.randn(6, P, requires_grad=True)
    other = features.detach().clone().requires_grad_()
    expected, moved = slowly(proxies.proxies.clone(), other, LABELS)
    before = proxies.proxies.clone()
    loss = proxies(features, LABELS)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(features.grad, other.grad)
    assert features.grad.abs().sum() > 0
    torch.testing.assert_close(proxies.proxies, moved.detach())
    assert torch.equal(proxies.proxies[:, [2, 4]], before[:, [2, 4]])  # nobody in the batch


def test_they_begin_as_directions_and_stay_in_evaluation(proxies):
    memory = torch.randn(K, P)
    buffer = proxies.proxies
    proxies.rebuild(memory)
    assert proxies.proxies is buffer  # a recorded step reads it
    torch.testing.assert_close(buffer, F.normalize(memory, dim=1).expand(2, -1, -1))
    before = buffer.clone()
    proxies.eval()(torch.randn(6, P), LABELS)
    assert torch.equal(buffer, before)


def test_cosines_are_computed_in_float32_under_autocast(proxies):
    features = torch.randn(6, P).bfloat16()
    exact = proxies.eval()(features.float(), LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(proxies(features, LABELS), exact)


def test_label_smoothing_learns_nothing_from_them(tiny_cfg):
    """Each clip counts once in each of the three heads, and the memory term is a plain cross entropy."""
    cfg = tiny_cfg("LOSS.MEMORY", "proxies")
    model = make_model(cfg, K, 2)
    criterion = make_loss(cfg, K, model.feature_widths)
    clips, labels = torch.randn(4, 4, 3, 64, 32), torch.tensor([0, 0, 2, 2])
    output = model.train()(clips, None, memory=torch.randn(K, 64))
    for logits in output.id_logits:
        logits.data = 9 * F.one_hot(labels, K).float()
    terms = criterion(output, labels)
    assert criterion.clip_classification.counts.tolist() == [6, 0, 6, 0, 0]
    assert terms["memory"].item() == pytest.approx(math.log(K))  # of proxies that are zero before the first epoch
    assert list(criterion.hard_terms(output, labels)) == ["id_hard", "frame_hard"]
    terms["memory"].backward()


def test_the_network_has_no_prompt_and_the_same_descriptors(tiny_cfg):
    plain, model = make_model(tiny_cfg(), K, 2).eval(), make_model(tiny_cfg("LOSS.MEMORY", "proxies"), K, 2).eval()
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert missing == []
    assert {name.split(".")[0] for name in unexpected} == {"memory_prompt", "memory_weight", "pool_video"}
    clips = torch.randn(2, 4, 3, 64, 32)
    assert torch.equal(model(clips), plain(clips))
    model.set_gradient_checkpointing(True)
    output = model.train()(clips, torch.tensor([0, 1]), memory=torch.randn(K, 64))
    assert output.memory_logits.shape == (2, 0)
    sum(x.square().sum() for x in (*output.id_logits, output.frame_logits, *output.features)).backward()
    assert [name for name, each in model.named_parameters() if each.grad is None] == []  # several processes need that
