"""The encoder: position resize, overlapping patches, camera and frame embeddings, and every ViT that it takes."""

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import QuickGELU

from model import XTFCLIP
from model.encoder import TIMM_NAMES, ClipVideoEncoder, build_vit, resize_position_embedding

TINY = "vit_xsmall_patch16_clip_224"


def make_encoder(image_size=(64, 32), stride=(16, 16), **options):
    vit = build_vit(TINY, embed_dim=32, depth=2, num_heads=2, proj_dim=24)
    return ClipVideoEncoder(vit, image_size=image_size, stride=stride, **options).eval()


def record_tokens(encoder):
    """A list that receives the tokens before the first norm, (n, N, D), at every call."""
    seen = []
    encoder.norm_pre.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    return seen


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_resize_interpolates_patches_and_keeps_the_class_token(mode):
    embedding = torch.randn(1, 17, 8)
    resized = resize_position_embedding(embedding, (6, 3), mode)
    assert resized.shape == (1, 19, 8)
    assert torch.equal(resized[:, 0], embedding[:, 0])
    image = embedding[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    expected = F.interpolate(image, size=(6, 3), mode=mode, align_corners=False)
    torch.testing.assert_close(resized[:, 1:].transpose(1, 2).unflatten(2, (6, 3)), expected)
    not_square = torch.randn(1, 9, 8)  # 4 x 2 patches
    assert torch.equal(resize_position_embedding(not_square, (4, 2), mode), not_square)
    with pytest.raises(ValueError, match=r"8 patches .* 6x3 patches of INPUT\.SIZE_TRAIN"):
        resize_position_embedding(not_square, (6, 3), mode)


def test_another_test_size_interpolates_positions():
    encoder = make_encoder()
    with torch.no_grad():
        encoder.position_embedding.normal_()
    seen = record_tokens(encoder)
    tokens = encoder.encode_frames(torch.zeros(1, 3, 96, 48))
    assert tokens.shape == (1, 1 + 6 * 3, 32)
    patches = encoder.position_embedding[:, 1:].reshape(1, 4, 2, 32).permute(0, 3, 1, 2)
    expected = F.interpolate(patches, size=(6, 3), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    torch.testing.assert_close(seen[0][:, 1:], expected)  # zero pixels: patches are their positions
    torch.testing.assert_close(seen[0][:, 0], encoder.class_token[:, 0] + encoder.position_embedding[:, 0])


def test_camera_and_frame_embeddings_are_added_to_the_class_token_only():
    encoder = make_encoder(num_cameras=2, num_frames=3, camera_coefficient=3.0)
    seen = record_tokens(encoder)
    clips = torch.randn(2, 3, 3, 64, 32)
    encoder(clips)
    encoder(clips, torch.tensor([-1, -1]))
    encoder(clips, torch.tensor([-1, 1]))
    with torch.no_grad():
        encoder.frame_embedding.normal_()
    encoder(clips)
    plain, unknown, mixed, framed = (tokens.unflatten(0, (2, 3)) for tokens in seen)  # (B, T, N, D)
    assert torch.equal(unknown, plain)
    torch.testing.assert_close(mixed[0], plain[0])
    torch.testing.assert_close((mixed - plain)[1, :, 0], 3 * encoder.camera_embedding[1].expand(3, -1))
    torch.testing.assert_close((framed - plain)[:, :, 0], encoder.frame_embedding.expand(2, -1, -1))
    assert not (mixed - plain)[:, :, 1:].any()
    assert not (framed - plain)[:, :, 1:].any()


# One image size of each architecture.
TIMM_CLIP = {name.rpartition("_")[0]: name for name in timm.list_models("vit_*clip*") if "quickgelu" not in name}
CLIP_STYLE = sorted({*TIMM_CLIP.values(), *TIMM_NAMES, "eva02_large_patch14_clip_224.merged2b"})
# timm has these architectures only with an ImageNet classifier fine-tuned on top.
CLASSIFIERS_ONLY = {"vit_base_patch16_clip_384", "vit_base_patch32_clip_448"}


OTHERS = ("ViT-B-17", "resnet50_clip_nothing", "vit_tiny_patch16_224", "vit_base_patch16_clip_224.laion2b_ft_in1k")
OTHERS += (
    "vit_base_patch16_dinov3_qkvb",
    "vit_pe_spatial_base_patch16_512",
    "vit_so400m_patch14_siglip_378.webli_ft_in1k",
)


@pytest.mark.parametrize("name", [*OTHERS, *sorted(CLASSIFIERS_ONLY)])
def test_a_network_that_is_not_clips_is_refused(name):
    with torch.device("meta"), pytest.raises(ValueError, match=rf"MODEL\.NAME must .*{name}"):
        build_vit(name)


def test_weights_that_timm_does_not_have_are_refused_with_those_that_it_has():
    with pytest.raises(ValueError, match=r"MODEL\.NAME 'vit_pe_core_base_patch16_224\.facebook': .* has .*_224\.fb\."):
        build_vit("vit_pe_core_base_patch16_224.facebook")


@pytest.mark.parametrize(
    ("name", "quick_gelu"),
    [
        ("vit_large_patch14_clip_224.openai", True),
        ("vit_base_patch16_clip_224.dfn2b", True),  # timm has no variant for these weights
        ("vit_huge_patch14_clip_224.metaclip2_worldwide", True),
        ("vit_large_patch14_clip_224.dfn2b_s39b", False),
        ("vit_base_patch16_clip_224.laion2b", False),
        ("ViT-B-16", True),
    ],
)
def test_the_activation_is_that_of_the_named_weights(name, quick_gelu):
    with torch.device("meta"):
        vit = build_vit(name)
    assert isinstance(vit.blocks[0].mlp.act, QuickGELU) == quick_gelu
    assert name.partition(".")[2] in vit.pretrained_cfg["tag"] or name == "ViT-B-16"


@pytest.mark.parametrize("name", [name for name in CLIP_STYLE if name not in CLASSIFIERS_ONLY])
def test_every_clip_style_vit_builds(name):
    with torch.device("meta"):
        vit = build_vit(name)
        patch = vit.patch_embed.patch_size[0]
        encoder = ClipVideoEncoder(vit, image_size=(16 * patch, 8 * patch), stride=(patch, patch), num_cameras=6)
        tokens = encoder(torch.empty(1, 2, 3, 16 * patch, 8 * patch), torch.zeros(1, dtype=torch.long))
        assert tokens.shape == (2, 129, vit.embed_dim)
        assert encoder.project(tokens).shape == (2, 129, vit.num_classes)
        model = XTFCLIP(encoder, num_classes=4)
        clips = torch.empty(2, 2, 3, 16 * patch, 8 * patch)
        output = model(clips, torch.zeros(2, dtype=torch.long), memory=torch.empty(4, vit.num_classes))
        assert output.memory_logits.shape == (2, 4)
    assert vit.num_classes <= 1280  # CLIP's joint space, not an ImageNet classifier's logits
