"""tools/pretrain_encoder.py: the contrast, the captions, and a file that MODEL.PRETRAIN_PATH accepts."""

import math
import sys

import pytest
import torch

from configs import get_cfg
from model import make_model
from tools import pretrain_encoder
from tools.pretrain_encoder import CaptionEncoder, contrast, main, render_crowd


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


def test_rendering_does_not_depend_on_the_number_of_workers():
    one, two = (render_crowd(2, 0, (32, 16), num_workers=workers) for workers in (1, 2))
    assert torch.equal(one.frames, two.frames)
    assert one.captions == two.captions


def test_trains_and_writes_a_clip_file(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain_encoder, "VALIDATION_PEOPLE", 3)
    path = tmp_path / "encoder.safetensors"
    words = ["pretrain_encoder.py", "--output", str(path), "--people", "4", "--batch", "2", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", words)
    main()
    cfg = get_cfg("configs/demo.yml", ["MODEL.PRETRAIN_PATH", str(path)])
    loaded = make_model(cfg, num_classes=3, num_cameras=2)
    fresh = make_model(cfg, num_classes=3, num_cameras=2, pretrained=False)
    assert not torch.equal(loaded.encoder.class_token, fresh.encoder.class_token)
    assert path.stat().st_size < 4e6
