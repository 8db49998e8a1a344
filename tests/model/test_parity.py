"""The network and the losses against the published code's outputs on deterministic weights (tests/parity)."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.plain_model import PlainModel
from configs import get_cfg
from loss import make_loss
from model import make_model
from model.encoder import resize_position_embedding
from model.weights import PUBLISHED_UNUSED, convert_checkpoint, load_weights

CASES = {
    "xtfclip_288x144_t8": "configs/xtfclip_vit_b16_288x144.yml",
    "tfclip_256x128_t8": "configs/tfclip_vit_b16_256x128.yml",
}
OUTPUT_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3
# Below this norm a published gradient is zero in exact arithmetic.
ZERO_GRADIENT = 1e-4


def relative_error(actual: torch.Tensor, expected: np.ndarray) -> float:
    actual = actual.detach().cpu().numpy()
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


NO_GPU = not torch.cuda.is_available()
ON_CUDA = [pytest.mark.gpu, pytest.mark.skipif(NO_GPU, reason="needs a CUDA device")]


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=ON_CUDA)])
def device(request):
    with torch.backends.cudnn.flags(allow_tf32=False):  # the patch embedding is a convolution
        yield request.param


@pytest.fixture(scope="module", params=CASES)
def parity(request, device, parity_folder, recipe, read_fixture, disable_dropout, tmp_path_factory):
    """One forward and backward of the full-size model, in training and test mode, beside the fixture's values."""
    folder = parity_folder
    fixture = read_fixture(request.param)
    checkpoint = tmp_path_factory.mktemp("parity") / "published.pth"
    torch.save(recipe.checkpoint(fixture), checkpoint)

    cfg = get_cfg(CASES[request.param], ["MODEL.PRETRAINED", "False"])
    model = make_model(cfg, fixture["num_classes"], fixture["num_cameras"])
    report = load_weights(model, checkpoint)
    B = fixture["input"][0]
    model.to(device)
    clips = recipe.clip_for(7, fixture["input"]).to(device)
    camids = (torch.arange(B) % fixture["num_cameras"]).to(device)
    labels = (torch.arange(B) // 2 % fixture["num_classes"]).to(device)
    memory = 0.3 * recipe.clip_for(11, (fixture["num_classes"], 512)).to(device)

    model.eval()
    with torch.inference_mode():
        before = model(clips, camids)
        model.descriptor = "after"
        after = model(clips, camids)
        memory_feature = model.encode_memory(clips)
    model.train()
    disable_dropout(model)
    output = model(clips, camids, memory=memory)
    criterion = make_loss(cfg, fixture["num_classes"]).to(device)
    terms = criterion(output, labels)
    terms["total"].backward()
    criterion.next_epoch()
    return SimpleNamespace(
        name=request.param,
        cfg=cfg,
        recipe=recipe,
        fixture=fixture,
        expected=dict(np.load(folder / f"{request.param}.npz")),
        model=model,
        report=report,
        num_frames=fixture["input"][1],
        batch=(clips, camids, labels, memory),
        before=before,
        after=after,
        memory_feature=memory_feature,
        output=output,
        terms=terms,
        second_epoch=criterion(output, labels),
    )


@pytest.mark.slow
@pytest.mark.parametrize("parity", ["xtfclip_288x144_t8"], indirect=True)
def test_the_plain_network_computes_the_published_numbers_and_our_gradients(parity):
    plain = PlainModel(parity.model)
    with torch.inference_mode():
        features = plain.describe(*parity.batch[:2])
    assert relative_error(features, parity.expected["feat_before"]) < OUTPUT_TOLERANCE
    loss = plain.compute_loss(*parity.batch)
    assert loss.item() == pytest.approx(float(parity.expected["loss_total"]), rel=OUTPUT_TOLERANCE)
    gradients = torch.autograd.grad(loss, list(plain.weights.values()))
    for (name, parameter), gradient in zip(plain.weights.items(), gradients, strict=True):
        if gradient.norm() > ZERO_GRADIENT:
            assert relative_error(parameter.grad, gradient.cpu().numpy()) < GRADIENT_TOLERANCE, name


def test_descriptors_and_memory_feature(parity):
    assert relative_error(parity.before, parity.expected["feat_before"]) < OUTPUT_TOLERANCE
    assert relative_error(parity.after, parity.expected["feat_after"]) < OUTPUT_TOLERANCE
    assert relative_error(parity.memory_feature, parity.expected["memory_clip_feature"]) < OUTPUT_TOLERANCE


def test_training_outputs(parity):
    for i in range(3):
        assert relative_error(parity.output.id_logits[i], parity.expected[f"score{i}"]) < OUTPUT_TOLERANCE
        assert relative_error(parity.output.features[i], parity.expected[f"feat{i}"]) < OUTPUT_TOLERANCE
    assert relative_error(parity.output.frame_logits, parity.expected["score3"]) < OUTPUT_TOLERANCE
    assert relative_error(parity.output.memory_logits, parity.expected["memory_logits"]) < OUTPUT_TOLERANCE


def check_losses(parity, terms, prefix):
    main = terms["total"] - terms["frame"] / parity.num_frames
    assert main.item() == pytest.approx(float(parity.expected[f"{prefix}_main"]), rel=OUTPUT_TOLERANCE)
    assert terms["frame"].item() == pytest.approx(float(parity.expected[f"{prefix}_frame"]), rel=OUTPUT_TOLERANCE)


def test_losses(parity):
    check_losses(parity, parity.terms, "loss")
    total = float(parity.expected["loss_total"])
    assert parity.terms["total"].item() == pytest.approx(total, rel=OUTPUT_TOLERANCE)


def test_losses_after_an_epoch_of_online_label_smoothing(parity):
    if "ols_epoch2_main" in parity.expected:
        check_losses(parity, parity.second_epoch, "ols_epoch2")
    else:  # TF-CLIP smooths uniformly: an epoch boundary changes nothing
        check_losses(parity, parity.second_epoch, "loss")


def test_gradient_norm_of_every_parameter(parity):
    norms = parity.fixture["grad_norms"]
    published = {
        name: torch.full(shape, float("nan") if norms[name] is None else norms[name], dtype=torch.float64)
        for name, shape in parity.fixture["keys"].items()
        if name in norms
    }
    expected = {name: value.flatten()[0].item() for name, value in convert_checkpoint(published).items()}
    checked = 0
    for name, parameter in parity.model.named_parameters():
        if np.isnan(expected[name]):
            assert parameter.grad is None, name
            continue
        actual = parameter.grad.norm().item()
        if expected[name] < ZERO_GRADIENT:
            assert actual < ZERO_GRADIENT, name
        else:
            assert actual == pytest.approx(expected[name], rel=GRADIENT_TOLERANCE), name
        checked += 1
    assert checked > 200


def test_resized_position_embedding(parity):
    source = parity.recipe.tensor_for(
        "clip.visual.positional_embedding", parity.fixture["clip_keys"]["visual.positional_embedding"]
    )
    H, W = parity.fixture["input"][-2:]
    resized = resize_position_embedding(source.unsqueeze(0), (H // 16, W // 16), parity.cfg.MODEL.POSITION_RESIZE)
    assert relative_error(resized[0, ::7, ::13], parity.expected["resized_pos_embed"]) < OUTPUT_TOLERANCE


def test_published_layout_is_reported(parity):
    expected = {name for name in PUBLISHED_UNUSED if name in parity.fixture["keys"]}
    assert set(parity.report.ignored) == expected
    assert not parity.report.skipped
    assert set(parity.report.loaded) == set(parity.model.state_dict())
