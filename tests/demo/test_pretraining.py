"""demo/pretraining.py: the contrast."""

import math

import pytest
import torch

from demo.pretraining import contrast


def test_contrast_of_two_people_by_hand():
    left = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    right = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = contrast(left, right, torch.tensor([0, 1]), torch.tensor([0, 0, 1]), torch.tensor(1.0))
    first = math.log(2 * math.e + 1) - 1  # both of its positives have similarity 1
    second = math.log(math.e + 2) - 1
    back = math.log(math.e + 1) - 1
    assert loss.item() == pytest.approx((first + second) / 2 + back)
