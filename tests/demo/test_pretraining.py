"""demo/pretraining.py: the contrast, and the people it is computed on."""

import math

import pytest
import torch

from demo.pretraining import contrast, render_crowd


def test_contrast_of_two_people_by_hand():
    left = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    right = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = contrast(left, right, torch.tensor([0, 1]), torch.tensor([0, 0, 1]), torch.tensor(1.0))
    first = math.log(2 * math.e + 1) - 1  # both of its positives have similarity 1
    second = math.log(math.e + 2) - 1
    back = math.log(math.e + 1) - 1
    assert loss.item() == pytest.approx((first + second) / 2 + back)


def test_rendering_does_not_depend_on_the_number_of_workers():
    one, two = (render_crowd(2, 0, (32, 16), num_workers=workers) for workers in (1, 2))
    assert torch.equal(one.frames, two.frames)
    assert [person.caption() for person in one.people] == [person.caption() for person in two.people]
