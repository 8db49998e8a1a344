"""model/text_towers.py: words, padding, and texts that are refused."""

import pytest
import torch

from model.text_towers import CaptionEncoder, split_words

SHORT, LONG = "a man in a red T-shirt", "a man in a red T-shirt, with a black backpack"


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    vocabulary = sorted({*split_words(SHORT), *split_words(LONG)})
    return CaptionEncoder(vocabulary, len(split_words(LONG)), 64).eval()


def test_padding_does_not_change_a_text(encoder):
    tokens = encoder.tokenize([SHORT, LONG])
    before = encoder(tokens)
    torch.testing.assert_close(encoder(encoder.tokenize([SHORT]))[0], before[0])
    with torch.no_grad():
        encoder.positions[6:] += 5.0  # only the longer text has words there
    after = encoder(tokens)
    assert torch.allclose(before[0], after[0], atol=1e-6)
    assert not torch.allclose(before[1], after[1], atol=1e-3)


def test_case_and_punctuation_do_not_count(encoder):
    assert encoder.tokenize(["Red t-shirt!"]).tolist() == encoder.tokenize(["red, 'T-SHIRT'"]).tolist()
    assert encoder.tokenize(["red backpack"]).tolist() != encoder.tokenize(["backpack red"]).tolist()


def test_texts_that_are_refused(encoder):
    with pytest.raises(ValueError, match=r"does not know 'rad' \(red\?\), 'dress'"):
        encoder.tokenize(["red backpack", "rad dress"])
    with pytest.raises(ValueError, match="at least one word, got ' ,'"):
        encoder.tokenize([" ,"])
    with pytest.raises(ValueError, match="at most 10 words for this text tower, got 40"):
        encoder.tokenize(["red " * 40])
    assert encoder.unknown_words("A rad man, rad!") == ["rad"]
