"""Families of ViTs beside CLIP: each computes what timm computes, trains, loads its files and is explained."""

import logging

import pytest
import torch
from safetensors.torch import save_file

from model import make_model
from model.encoder import ClipVideoEncoder, build_vit
from model.relevance import trace_relevance
from model.weights import load_clip_weights

# The name, and the projected width of tiny weights: 0 where the family has no projection.
FAMILIES = {
    "eva02_base_patch16_clip_224": 16,
    "eva02_enormous_patch14_clip_224": 16,  # with a joint matrix that is not called
    "vit_pe_core_base_patch16_224": 16,
    "vit_pe_core_gigantic_patch14_448": 16,  # without class token
    "vit_base_patch16_dinov3": 0,
    "vit_base_patch16_siglip_224": 0,
    "vit_base_patch16_siglip_gap_224": 0,  # without attention pool
}


def build(name):
    """A tiny ViT of a family, none of whose parameters is trivial."""
    vit = build_vit(name, embed_dim=32, depth=2, num_heads=2, patch_size=16, proj_dim=FAMILIES[name])
    vit.set_input_size((64, 64))
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return vit.eval()


@pytest.mark.parametrize("size", [(64, 64), (96, 48)])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_computes_what_timm_computes_also_from_a_file(name, size, tmp_path):
    """At another grid timm interpolates the learned positions otherwise, so that they are 0 there."""
    vit = build(name)
    if size != (64, 64) and vit.pos_embed is not None:
        torch.nn.init.zeros_(vit.pos_embed)
    if FAMILIES[name]:
        torch.nn.init.zeros_(vit.head.bias)
    vit.patch_embed.strict_img_size = False
    frames = torch.randn(2, 3, *size)
    with torch.no_grad():
        tokens = vit.forward_features(frames)
        vector = tokens[:, 0] if "dinov3" in name else vit(frames)
        patches = tokens[:, vit.num_prefix_tokens :]
    state = vit.state_dict()
    if size != (64, 64):  # as open_clip stores towers of timm
        state = {f"visual.trunk.{key}": value for key, value in state.items()} | {"logit_scale": torch.ones(1)}
    save_file(state, tmp_path / "weights.safetensors")
    encoder = ClipVideoEncoder(vit, image_size=size, stride=(16, 16)).eval()
    loaded = ClipVideoEncoder(build(name), image_size=size, stride=(16, 16), num_cameras=2).eval()
    report = load_clip_weights(loaded, tmp_path / "weights.safetensors")
    assert set(report.ignored) == ({"head.bias"} if FAMILIES[name] else set())
    for each in (encoder, loaded):
        ours = each.encode_frames(frames)
        torch.testing.assert_close(ours[:, 1:], patches, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(each.project(ours[:, 0]), vector, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tuning", ["full", "lora", "adapter"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_trains_at_the_size_of_people_and_shows_where_it_looked(name, tuning, tiny_cfg):
    size = ("INPUT.SIZE_TRAIN", "(288, 144)", "INPUT.SIZE_TEST", "(288, 144)", "INPUT.SEQ_LEN", 2)
    dimensions = ("MODEL.VIT.PROJ_DIM", 2 * FAMILIES[name], "MODEL.VIT.PATCH_SIZE", 16)
    prompts = ("MODEL.VIEW_PROMPTS", 2 if tuning == "full" else 0)
    cfg = tiny_cfg("MODEL.NAME", name, "MODEL.TUNING", tuning, *dimensions, *size, *prompts)
    if tuning == "lora" and name.startswith("eva02"):
        with pytest.raises(ValueError, match=r"MODEL\.TUNING lora needs one joint matrix"):
            make_model(cfg, 3, 2)
        return
    model = make_model(cfg, 3, 2).train()
    clips, cameras = torch.randn(2, 2, 3, 288, 144), torch.tensor([(0, 1, 80, 60), (1, 0, -1, -1)])
    with torch.no_grad():  # gradients reach what comes before the ends of adapters
        for key, parameter in model.named_parameters():
            if "tuned_up" in key:
                parameter.normal_()
    output = model(clips, cameras, memory=torch.randn(3, model.encoder.projected_width))
    (sum(f.square().sum() for f in output.features) + output.memory_logits.square().sum()).backward()
    trained = {key: parameter for key, parameter in model.encoder.named_parameters() if parameter.requires_grad}
    still = {key for key, parameter in trained.items() if parameter.grad is None or not parameter.grad.any()}
    assert still == set()
    assert ("projection" in trained) == (tuning == "full" or not FAMILIES[name])
    assert model.encoder.parameter_roles()["projection"].module == ("encoder" if FAMILIES[name] else "new")
    model.eval()
    assert model(clips, cameras).shape == (2, model.descriptor_width)
    assert not torch.equal(model(clips, cameras), model(clips))
    _, maps, _ = trace_relevance(model, clips, None, lambda x: torch.cosine_similarity(*x, dim=0), 2)
    assert maps.shape == (2, 2, 18, 9)
    assert maps.min() >= 0
    assert maps.max() > 0


@pytest.mark.parametrize(("name", "mean"), [("vit_base_patch16_siglip_224", 0.5), ("vit_base_patch16_dinov3", 0)])
def test_other_pixel_values_than_the_weights_were_trained_with_are_named(name, mean, tiny_cfg, tmp_path, caplog):
    tiny = ("MODEL.NAME", name, "MODEL.VIT.PROJ_DIM", 0)
    vit = build_vit(name, embed_dim=64, depth=2, num_heads=1)
    save_file(vit.state_dict(), tmp_path / "a.safetensors")
    pretrained = ("MODEL.PRETRAINED", True, "MODEL.PRETRAIN_PATH", tmp_path / "a.safetensors")
    with caplog.at_level(logging.WARNING):
        make_model(tiny_cfg(*tiny, *pretrained), 3, 2)
        right = ("INPUT.PIXEL_MEAN", "(0.5, 0.5, 0.5)", "INPUT.PIXEL_STD", "(0.5, 0.5, 0.5)")
        make_model(tiny_cfg(*tiny, *pretrained, *(right if mean else ())), 3, 2)
    warnings = [record.message for record in caplog.records if "other pixel values" in record.message]
    advice = 'set INPUT.PIXEL_MEAN "(0.5, 0.5, 0.5)" INPUT.PIXEL_STD "(0.5, 0.5, 0.5)"'
    assert [advice in warning for warning in warnings] == ([True] if mean else [])
