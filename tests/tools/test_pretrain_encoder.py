"""tools/pretrain_encoder.py writes a file that MODEL.PRETRAIN_PATH accepts."""

import pytest
import torch

from configs import get_cfg
from model import make_model
from tools import pretrain_encoder
from tools.pretrain_encoder import main


def test_trains_and_writes_a_clip_file(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain_encoder, "VALIDATION_PEOPLE", 3)
    path = tmp_path / "encoder.safetensors"
    main(["--output", str(path), "--people", "4", "--batch", "2", "--steps", "2"])
    cfg = get_cfg("configs/demo.yml", ["MODEL.PRETRAIN_PATH", str(path)])
    loaded = make_model(cfg, num_classes=3, num_cameras=2)
    fresh = make_model(cfg, num_classes=3, num_cameras=2, pretrained=False)
    assert not torch.equal(loaded.encoder.class_token, fresh.encoder.class_token)
    assert path.stat().st_size < 4e6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--people", "0"], "argument --people: must be at least 2, got 0"),
        (["--workers", "-1"], "argument --workers: must be at least 1, got -1"),
        (["--people", "4", "--batch", "5"], "--batch must be at most --people (4), got 5"),
    ],
)
def test_counts_out_of_range_name_the_option(words, message, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err
