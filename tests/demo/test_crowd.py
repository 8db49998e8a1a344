import torch

from demo.crowd import render_crowd


def test_rendering_does_not_depend_on_the_number_of_workers():
    one, two = (render_crowd(2, 0, (32, 16), num_workers=workers) for workers in (1, 2))
    assert torch.equal(one.frames, two.frames)
    assert one.captions == two.captions
