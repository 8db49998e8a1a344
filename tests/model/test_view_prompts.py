"""Prompts by view, altitude and angle: keys and values of the lowest blocks, chosen by facts, for every encoder."""

import pytest
import torch
import torch.nn.functional as F

from model import make_model
from model.encoder import ClipVideoEncoder, build_vit
from model.relevance import trace_relevance
from model.view_prompts import NUM_BLOCKS, ViewPrompts, find_bin

EVA = ("MODEL.NAME", "eva02_base_patch16_clip_224")
AERIAL, GROUND, UNSEEN = (0, 1, 80, 60), (0, 0, -1, -1), (0, -1, -1, -1)  # camera, view, altitude, angle


@pytest.fixture
def clips():
    return torch.randn(2, 4, 3, 64, 32)


def make_prompted(tiny_cfg, *opts):
    return make_model(tiny_cfg("MODEL.VIEW_PROMPTS", 3, *opts), 3, 2)


def test_bins_hold_the_altitudes_and_angles_of_the_data_sets_apart():
    metres = find_bin(torch.tensor([-1, 0, 15, 30, 80, 120, 500]), 120, 18)
    assert metres.tolist() == [-1, 0, 2, 4, 11, 17, 17]
    assert find_bin(torch.tensor([-1, 0, 30, 60, 90]), 90, 3).tolist() == [-1, 0, 0, 1, 2]


def test_every_fact_has_rows_of_its_own_and_every_block_too():
    prompts = ViewPrompts(2, 12, 8)
    low, high = prompts(torch.tensor([[1, 20, 30], [1, 60, -1]]), 1)[0]
    assert torch.equal(low, high)  # before training, only the view is known
    assert low.std() > 0
    assert prompts.rows.shape == (3 + 19 + 4, NUM_BLOCKS, 2, 8)
    with torch.no_grad():
        prompts.rows.copy_(torch.arange(26.0).view(-1, 1, 1, 1).expand_as(prompts.rows))
    facts = torch.tensor([[-1, -1, -1], [0, -1, -1], [1, 0, 0], [1, 120, 90]])
    found = prompts(facts, 3)
    assert len(found) == NUM_BLOCKS
    assert found[0].shape == (12, 2, 8)
    assert found[0][::3, 0, 0].tolist() == [0 + 3 + 22, 1 + 3 + 22, 2 + 4 + 23, 2 + 21 + 25]


def test_they_are_keys_and_values_but_no_queries():
    """One block by hand: tokens attend to tokens and prompts."""
    vit = build_vit("vit_xsmall_patch16_clip_224", embed_dim=32, depth=1, num_heads=2, proj_dim=16)
    encoder = ClipVideoEncoder(vit, (64, 32), (16, 16), num_prompts=3).eval()
    frames, prompts = torch.randn(2, 3, 64, 32), torch.randn(2, 3, 32)
    seen = []
    encoder.norm_pre.register_forward_hook(lambda module, inputs, output: seen.append(output))
    actual = encoder.encode_frames(frames, prompts=[prompts])
    block, x = encoder.blocks[0], seen[0]
    of_tokens, of_prompts = (
        block.attn.qkv(block.norm1(each)).unflatten(2, (3, 2, 16)).permute(2, 0, 3, 1, 4) for each in (x, prompts)
    )
    keys, values = (torch.cat([of_tokens[part], of_prompts[part]], dim=2) for part in (1, 2))
    attended = F.scaled_dot_product_attention(of_tokens[0], keys, values).transpose(1, 2).flatten(2)
    x = x + block.attn.proj(attended)
    torch.testing.assert_close(actual, encoder.norm(x + block.mlp(block.norm2(x))))


@pytest.mark.parametrize("opts", [(), EVA, ("MODEL.TUNING", "lora")])
def test_facts_change_descriptors_and_only_their_rows_learn(opts, tiny_cfg, clips):
    model = make_prompted(tiny_cfg, *opts)
    assert model.parameter_roles()["encoder.view_prompts.rows"].module == "new"
    output = model(clips, torch.tensor([AERIAL, GROUND]), memory=torch.randn(3, 64))
    sum(feature.square().sum() for feature in output.features).backward()
    gradient = model.encoder.view_prompts.rows.grad
    assert gradient.shape[1] == 2  # blocks of the tiny encoder
    learned = gradient.flatten(1).abs().sum(dim=1).nonzero().flatten()
    assert learned.tolist() == [1, 2, 3, 4 + 11, 22, 23 + 1]
    model.eval()
    known, other, unseen, plain = (
        model(clips, torch.tensor(camids)) for camids in ([AERIAL, GROUND], [AERIAL, AERIAL], [UNSEEN, UNSEEN], [0, 0])
    )
    assert torch.equal(known[0], other[0])
    assert not torch.equal(known[1], other[1])
    assert torch.equal(unseen, plain)  # a camera alone says nothing of the view
    larger = model(torch.randn(2, 4, 3, 96, 48), torch.tensor([AERIAL, GROUND]))  # of another INPUT.SIZE_TEST
    assert larger.isfinite().all()


def test_memory_has_no_prompts_and_relevance_shows_patches(tiny_cfg, clips):
    model = make_prompted(tiny_cfg).eval()
    before, camids = model.encode_memory(clips), torch.tensor([AERIAL, GROUND])
    score, maps, _ = trace_relevance(model, clips, camids, lambda x: F.cosine_similarity(*x, dim=0), 2)
    assert maps.shape == (2, 4, 4, 2)
    torch.testing.assert_close(score, F.cosine_similarity(*model(clips, camids), dim=0).detach())
    torch.nn.init.normal_(model.encoder.view_prompts.rows)
    assert torch.equal(model.encode_memory(clips), before)


def test_checkpointing_changes_no_gradient(tiny_cfg, clips):
    model, gradients = make_prompted(tiny_cfg, "MODEL.PROMPT_DROPOUT", 0.0), []
    for enabled in (False, True):
        model.set_gradient_checkpointing(enabled)
        model.zero_grad()
        output = model(clips, torch.tensor([AERIAL, GROUND]), memory=torch.ones(3, 64))
        output.features[0].square().sum().backward()
        gradients.append(model.encoder.view_prompts.rows.grad.clone())
    torch.testing.assert_close(*gradients)
