"""processor/attributes/zero_shot.py: prompts, calibration, and views, on hand-made spaces."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from datasets.attributes import AGVPREID_SCHEME, AttributeScheme
from model.text_space import TextSpace
from processor.attributes.heads import AttributeHead, predict_columns
from processor.attributes.zero_shot import (
    CALIBRATION_FILE,
    PROMPTS,
    TEMPLATES,
    calibrate,
    choose_prompt,
    encode_words,
    find_zero_shot_heads,
    make_zero_shot_heads,
    write_zero_shot_heads,
)
from processor.evaluation.features import Averages, FeatureExtractor
from utils.checkpoint import write_weights


class Words(nn.Module):
    """A text tower that counts letters; it knows some words, or all."""

    width = 27

    def __init__(self, known=None):
        super().__init__()
        self.known = known

    def unknown_words(self, text):
        return [] if self.known is None else [word for word in text.split() if word not in self.known]

    def tokenize(self, texts):
        return torch.tensor([[float(text.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz,"] for text in texts])

    def forward(self, tokens):
        return tokens


def make_space(known=None, sha256="a"):
    return TextSpace(nn.Identity(), Words(known), (2, 2), (0.0,) * 3, (1.0,) * 3, 10.0, "letters", sha256)


def test_prompts_are_worded_by_view_as_far_as_the_words_are_known():
    every, few = make_space(), make_space({"a", "person", "with", "no", "hair", "short"})
    phrases = PROMPTS["hairstyle"]["bald"]
    assert choose_prompt(every, phrases, "aerial") == "a photo of a bald person, seen from above"
    assert choose_prompt(every, phrases, "ground") == "a photo of a bald person"
    assert choose_prompt(few, phrases, "aerial") == "a person with no hair"
    assert choose_prompt(few, PROMPTS["hairstyle"]["long"], "ground") is None
    heads = make_zero_shot_heads(few, AGVPREID_SCHEME)
    assert list(heads) == ["aerial.height", "aerial.hairstyle", "ground.height", "ground.hairstyle"]
    assert heads["ground.hairstyle"].codes == (0, 1)
    assert heads["ground.height"].temperature == pytest.approx(0.1)
    with pytest.raises(ValueError, match="AG-VPReID's columns only; this data set has others: vest"):
        make_zero_shot_heads(every, AttributeScheme(("vest",), (2,)))


def test_probabilities_by_view(make_tracklet):
    even = AttributeHead((0, 1), torch.eye(2), torch.zeros(2))
    swapped = AttributeHead((0, 1), torch.eye(2).flip(0), torch.zeros(2))
    tracklets = [make_tracklet(1, camid) for camid in (0, 4)]
    likely, unlikely = torch.tensor([1.0, 0.0]).softmax(0).tolist()
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    got = predict_columns({"aerial.hat": swapped, "ground.hat": even, "coat": even}, vectors, tracklets)
    assert got["hat"].tolist() == [pytest.approx([likely, unlikely]), pytest.approx([unlikely, likely])]
    assert torch.equal(got["coat"], even.probabilities(vectors))


def test_calibration_learns_how_often_values_occur_and_how_sure_to_be():
    """Similarities that always lean to class 0, though half of the tracklets are of class 1."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(2, (400,), generator=generator)
    lean = 0.5 + 0.2 * (codes == 0) + 0.05 * torch.randn(400, generator=generator)
    words = torch.stack([lean, torch.zeros(400)], dim=1)
    head = AttributeHead((0, 4), torch.eye(2), torch.zeros(2), 0.1)
    annotated = torch.where(codes == 1, 4, 0)
    assert (head.probabilities(words).argmax(dim=1) == 0).all()
    fitted = calibrate(head, words, torch.cat([annotated[:-1], torch.tensor([3])]))  # a code without a prompt
    assert (fitted.probabilities(words).argmax(dim=1) == codes).float().mean() > 0.95
    assert F.nll_loss(fitted.probabilities(words).log(), codes) < 0.2
    assert calibrate(head, words, torch.full((400,), 2)) is head


def test_calibrated_classifiers_are_found_again_by_their_tower(tmp_path, caplog):
    plain = find_zero_shot_heads(make_space(), tmp_path)
    assert plain["ground.beard"].temperature == pytest.approx(0.1)
    assert "zero-shot attributes are not calibrated" in caplog.text
    fitted = {name: replace(head, bias=head.bias + 1, temperature=2.0) for name, head in plain.items()}
    write_zero_shot_heads(fitted, make_space(), tmp_path)
    found, vectors = find_zero_shot_heads(make_space(), tmp_path), torch.rand(3, 27)
    assert list(found) == [f"{view}.{column}" for view in TEMPLATES for column in PROMPTS]
    for name, head in fitted.items():
        assert torch.equal(found[name].probabilities(vectors), head.probabilities(vectors))
    with pytest.raises(ValueError, match=r"zero_shot\.safetensors was calibrated with another text tower than letters"):
        find_zero_shot_heads(make_space(sha256="b"), tmp_path)


@pytest.mark.parametrize("codes", [[0, 1, 2], "ab"])
def test_a_damaged_calibration_is_refused(codes, tmp_path):
    weights = {"ground.hat.weight": torch.zeros(2, 27), "ground.hat.bias": torch.zeros(2)}
    columns = {"ground.hat": {"codes": codes, "temperature": 1.0}}
    write_weights(weights, {"text_tower": "a", "columns": columns}, tmp_path / CALIBRATION_FILE)
    with pytest.raises(ValueError, match=r"zero_shot\.safetensors does not fit this run: "):
        find_zero_shot_heads(make_space(), tmp_path)


def test_a_tracklet_whose_frames_are_gone_is_named(make_tracklet, monkeypatch):
    """Its features were kept, so evaluation does not notice."""
    averages = Averages(torch.ones(2, 3), torch.tensor([[1.0], [0.0]]), 4)
    monkeypatch.setattr(FeatureExtractor, "average_over_tracklets", lambda *_: averages)
    extractor = FeatureExtractor(nn.Identity(), None, None)
    with pytest.raises(ValueError, match="No frame of 2/a can be read any more"):
        encode_words([make_tracklet(1), make_tracklet(2)], make_space(), extractor, lambda tracklets: None)
