"""Gradient checkpointing, compiling, other starting weights, and float32 where autocast would round too much."""

import shutil

import pytest
import torch

from model import load_weights, make_model
from model.weights import to_published

K, P = 3, 64


def training_gradients(model, clips, camids):
    torch.manual_seed(0)
    output = model.train()(clips, camids, memory=torch.randn(K, P))
    loss = output.memory_logits.sum() + sum(x.square().sum() for x in (*output.id_logits, output.frame_logits))
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def batch():
    return torch.randn(4, 4, 3, 64, 32), torch.tensor([0, 1, 0, 1])


def make_twins(tiny_cfg, key, *opts):
    """A model, and one with the same weights and a switch on."""
    model, twin = make_model(tiny_cfg(*opts), K, 2), make_model(tiny_cfg(key, True, *opts), K, 2)
    twin.load_state_dict(model.state_dict())
    return model, twin


def test_checkpointing_computes_blocks_twice_and_the_same_gradients(batch, tiny_cfg):
    model, twin = make_twins(tiny_cfg, "MODEL.GRADIENT_CHECKPOINTING")
    calls = []
    for block in (*twin.encoder.blocks, twin.temporal_memory.block, *twin.memory_prompt.layers):
        block.register_forward_pre_hook(lambda *_: calls.append(1))
    loss, gradients = training_gradients(model, *batch)
    other_loss, others = training_gradients(twin, *batch)
    assert other_loss == loss
    assert others.keys() == gradients.keys()
    assert all(torch.equal(others[name], gradients[name]) for name in gradients)
    assert len(calls) == 2 * 5  # five blocks, computed once for the loss and once for the gradient
    calls.clear()
    with torch.no_grad():
        twin.eval()(*batch)
    assert len(calls) == 3  # the prompt has no part in descriptors


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_network_computes_the_same_under_the_same_names(batch, tiny_cfg):
    # Compiled dropout draws other masks.
    model, twin = make_twins(tiny_cfg, "MODEL.COMPILE", "MODEL.PROMPT_DROPOUT", 0.0, "MODEL.VIT.DEPTH", 1)
    assert list(twin.state_dict()) == list(model.state_dict())
    assert twin._compiled_call_impl is not None
    loss, gradients = training_gradients(model, *batch)
    other_loss, others = training_gradients(twin, *batch)
    assert other_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, atol=1e-3 * gradient.abs().max().item() + 1e-6, rtol=0)


def test_a_machine_that_cannot_compile_is_told_so(tiny_cfg, monkeypatch):
    def fail(function):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nlong trace")

    monkeypatch.setattr(torch, "compile", fail)
    message = r"MODEL\.COMPILE is True, but torch\.compile fails on cpu: .* compiler found\. It"
    with pytest.raises(ValueError, match=message):
        make_model(tiny_cfg("MODEL.COMPILE", True), K, 2)


def test_memory_logits_are_computed_in_float32_under_autocast(tiny_cfg):
    """Logits near 100 that differ by 0.03 stay apart; bf16 has steps of 0.5 there."""
    model = make_model(tiny_cfg("MODEL.MEMORY_WEIGHTING", False), K, 2).eval()
    for parameter in model.memory_prompt.out[1].parameters():
        torch.nn.init.zeros_(parameter)  # the refined memory is the memory
    f_proj = torch.ones(1, P)
    memory = torch.full((K, P), 100 / P)
    memory[:, 0] += torch.tensor([0.0, 0.03, 0.06])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = model.compare_with_memory(f_proj, torch.randn(1, 4, 9, P), memory)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, torch.tensor([[100.0, 100.03, 100.06]]), atol=1e-4, rtol=0)


def test_cosine_classifiers_see_directions_only(tiny_cfg, batch):
    model = make_model(tiny_cfg("LOSS.ID_SCALE", 16.0), K, 2)
    classifier = model.classifier_image
    features = torch.randn(5, classifier.in_features)
    logits = classifier(features)
    expected = 16 * torch.nn.functional.cosine_similarity(features[:, None], classifier.weight, dim=2)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(classifier(3 * features), logits)
    assert list(model.state_dict()) == list(make_model(tiny_cfg(), K, 2).state_dict())
    _, gradients = training_gradients(model, *batch)
    assert all(gradients[f"classifier_{kind}.weight"].abs().sum() > 0 for kind in ("image", "projected", "temporal"))


def test_shared_heads_are_one_matrix_with_one_role_and_load_what_they_have(tiny_cfg, batch, tmp_path):
    model, other = (make_model(tiny_cfg("MODEL.HEADS", heads), K, 2) for heads in ("shared", "separate"))
    assert "classifier_temporal.weight" not in model.state_dict()
    assert model.parameter_roles()["classifier_image.weight"].module == "head"
    clips, camids = batch
    weight = model.classifier_image.weight
    output = model.train()(clips, camids, memory=torch.randn(K, P))
    for logits in (output.id_logits[0], output.id_logits[2], output.frame_logits):
        assert torch.autograd.grad(logits.square().sum(), weight, retain_graph=True)[0].any()

    torch.save(to_published(other.state_dict()), tmp_path / "separate.pth")
    assert "classifier_temporal.weight" in load_weights(model, tmp_path / "separate.pth").ignored
    assert torch.equal(weight, other.classifier_image.weight)
    torch.save(to_published(model.state_dict()), tmp_path / "shared.pth")
    assert not load_weights(other, tmp_path / "shared.pth").skipped
    assert torch.equal(other.classifier_temporal.weight, weight)
    torch.save(model.state_dict(), tmp_path / "own.pth")
    assert list(load_weights(other, tmp_path / "own.pth").skipped) == ["classifier_temporal.weight"]
    assert load_weights(model, tmp_path / "own.pth").skipped == {}
