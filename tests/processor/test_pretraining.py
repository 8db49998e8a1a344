"""processor/pretraining.py: the contrast and the captions."""

import math

import pytest
import torch

from processor.pretraining import CaptionEncoder, contrast


def test_contrast_of_two_people_by_hand():
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    keys = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = contrast(queries, keys, torch.tensor([0, 1]), torch.tensor([0, 0, 1]), torch.tensor(1.0))
    first = math.log(2 * math.e + 1) - 1  # both of its positives have similarity 1
    second = math.log(math.e + 2) - 1
    assert loss.item() == pytest.approx((first + second) / 2)


def test_padding_does_not_change_a_caption():
    short, long = "a man in a red shirt", "a man in a red shirt, with a black backpack"
    encoder = CaptionEncoder([short, long], 64)
    tokens = encoder.tokenize([short, long])
    before = encoder(tokens)
    with torch.no_grad():
        encoder.positions[6:] += 5.0  # only the longer caption has words there
    after = encoder(tokens)
    assert torch.allclose(before[0], after[0], atol=1e-6)
    assert not torch.allclose(before[1], after[1], atol=1e-3)
