"""Text towers and text spaces: words of captions, CLIP files and the demo's captions read back; what is refused."""

import shutil
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from model.text_space import open_text_space, write_captions
from model.text_towers import CaptionEncoder, split_words
from utils.checkpoint import hash_file, read_checkpoint

TEXTS = ["a man in a red shirt", "a woman with a black backpack, seen from above"]
DEMO = Path("demo/demo_captions.safetensors")
SHORT, LONG = "a man in a red T-shirt", "a man in a red T-shirt, with a black backpack"


@pytest.fixture
def captions():
    torch.manual_seed(0)
    vocabulary = sorted({*split_words(SHORT), *split_words(LONG)})
    return CaptionEncoder(vocabulary, len(split_words(LONG)), 64).eval()


def test_padding_does_not_change_a_text(captions):
    tokens = captions.tokenize([SHORT, LONG])
    before = captions(tokens)
    torch.testing.assert_close(captions(captions.tokenize([SHORT]))[0], before[0])
    with torch.no_grad():
        captions.positions[6:] += 5.0  # only the longer text has words there
    after = captions(tokens)
    assert torch.allclose(before[0], after[0], atol=1e-6)
    assert not torch.allclose(before[1], after[1], atol=1e-3)


def test_case_and_punctuation_do_not_count(captions):
    assert captions.tokenize(["Red t-shirt!"]).tolist() == captions.tokenize(["red, 'T-SHIRT'"]).tolist()
    assert captions.tokenize(["red backpack"]).tolist() != captions.tokenize(["backpack red"]).tolist()


def test_texts_that_are_refused(captions):
    with pytest.raises(ValueError, match="does not know 'rad', 'dress'"):
        captions.tokenize(["red backpack", "rad dress"])
    with pytest.raises(ValueError, match="at least one word, got ' ,'"):
        captions.tokenize([" ,"])
    with pytest.raises(ValueError, match="at most 10 words for this text tower, got 40"):
        captions.tokenize(["red " * 40])
    assert captions.unknown_words("A rad man, rad!") == ["rad"]


def make_clip(quick_gelu=False):
    """A small CLIP with random weights."""
    torch.manual_seed(0)
    vision = open_clip.CLIPVisionCfg(layers=2, width=64, patch_size=8, image_size=16)
    texts = open_clip.CLIPTextCfg(width=64, heads=1, layers=3)
    return open_clip.CLIP(32, vision, texts, quick_gelu).eval()


@pytest.mark.parametrize(
    ("name", "quick_gelu", "extra", "half"),
    [
        ("clip.pt", False, {}, False),
        ("ViT-quickgelu.pt", True, {}, False),
        ("clip.pt", True, {"input_resolution": 16, "context_length": 77, "vocab_size": 49408}, True),
    ],
)
def test_a_clip_gives_what_open_clip_computes(tmp_path, name, quick_gelu, extra, half):
    clip = make_clip(quick_gelu)
    if half:
        clip.load_state_dict({key: value.half() for key, value in clip.state_dict().items()})
    state = {key: value.half() if half else value for key, value in clip.state_dict().items()}
    torch.save({**state, **{key: torch.tensor(value) for key, value in extra.items()}}, tmp_path / name)
    space = open_text_space(tmp_path / name)
    assert (space.name, space.sha256) == (name, hash_file(tmp_path / name))
    assert space.image_size == (16, 16)
    frames = torch.randint(256, (2, 3, 3, 16, 16), dtype=torch.uint8)
    mean, std = (
        torch.tensor(value)[:, None, None] for value in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    with torch.no_grad():
        images = clip.encode_image((frames.flatten(0, 1) / 255 - mean) / std, normalize=True).unflatten(0, (2, 3))
        texts = clip.encode_text(open_clip.tokenize(TEXTS), normalize=True)
    torch.testing.assert_close(space.encode_frames(frames), F.normalize(images.mean(dim=1), dim=1), atol=1e-5, rtol=0)
    torch.testing.assert_close(space.encode_texts(TEXTS), texts, atol=1e-5, rtol=0)
    assert space.scale == pytest.approx(1 / 0.07, rel=1e-3)


def test_frames_of_another_size_are_resized_and_texts_refused(tmp_path):
    torch.save(make_clip().state_dict(), tmp_path / "clip.pt")
    space = open_text_space(tmp_path / "clip.pt")
    even = torch.full((1, 1, 3, 16, 16), 90, dtype=torch.uint8)
    torch.testing.assert_close(space.encode_frames(even), space.encode_frames(even[..., :8, :5].repeat(1, 1, 1, 4, 1)))
    with pytest.raises(ValueError, match="at least one word"):
        space.encode_texts(["fine", " \n"])
    with pytest.raises(ValueError, match="'red red .* has 2500 tokens; this text tower reads at most 75"):
        space.encode_texts(["red " * 2500])
    assert space.encode_texts(["red " * 75]).shape == (1, 32)


def test_foreign_files_are_refused(tmp_path):
    foreign = tmp_path / "weights.safetensors"
    save_file({"layer.weight": torch.zeros(2, 2)}, foreign)
    with pytest.raises(ValueError, match=r"weights.safetensors is no text tower: expected .* got layer.weight, ...$"):
        open_text_space(foreign)
    state = make_clip().state_dict()
    del state["transformer.resblocks.1.ln_1.bias"]
    torch.save(state, tmp_path / "clip.pt")
    with pytest.raises(ValueError, match=r"clip.pt does not fit this run: .*transformer.resblocks.1.ln_1."):
        open_text_space(tmp_path / "clip.pt")


def test_captions_are_read_back_beside_their_own_image_tower_only(tmp_path):
    space, tower = open_text_space(DEMO), read_checkpoint(DEMO)["tower"]
    path, image_file = tmp_path / "captions.safetensors", tmp_path / tower["file"]
    shutil.copy(DEMO.with_name(tower["file"]), image_file)
    write_captions(space, tower, {}, path)
    opened = open_text_space(path)
    frames = torch.randint(256, (2, 2, 3, 64, 32), dtype=torch.uint8)
    torch.testing.assert_close(opened.encode_frames(frames), space.encode_frames(frames))
    torch.testing.assert_close(opened.encode_texts(["red shirt"]), space.encode_texts(["red shirt"]))
    assert (opened.scale, opened.name, opened.sha256) == (space.scale, path.name, hash_file(path))
    weights = load_file(image_file)
    save_file({**weights, "cls_token": weights["cls_token"] + 1}, image_file)
    command = f"run `python -m demo.pretrain --text_only --output {tmp_path}`"
    with pytest.raises(ValueError, match=f"trained beside another .*encoder.safetensors than this one: {command}"):
        open_text_space(path)
    image_file.unlink()
    with pytest.raises(FileNotFoundError, match=r"needs its image tower beside it: there is no .*encoder.safetensors"):
        open_text_space(path)
