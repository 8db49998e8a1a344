"""demo/pretrain.py writes a file that MODEL.PRETRAIN_PATH accepts, and a text tower beside it."""

import pytest
import torch

from configs import get_cfg
from demo import pretrain
from demo.pretrain import main
from model import make_model
from model.text_space import open_text_space
from utils.checkpoint import read_checkpoint


@pytest.mark.slow
def test_trains_and_writes_both_towers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrain, "VALIDATION_PEOPLE", 3)
    path, captions = tmp_path / "new/demo_encoder.safetensors", tmp_path / "new/demo_captions.safetensors"
    words = ["--output", str(path.parent), "--people", "4", "--caption_steps", "2"]
    main(["--steps", "2", *words])
    cfg = get_cfg("configs/demo.yml", ["MODEL.PRETRAIN_PATH", str(path)])
    loaded = make_model(cfg, num_classes=3, num_cameras=2)
    fresh = make_model(cfg, num_classes=3, num_cameras=2, pretrained=False)
    assert not torch.equal(loaded.encoder.class_token, fresh.encoder.class_token)
    assert path.stat().st_size + captions.stat().st_size < 4e6
    assert torch.equal(open_text_space(captions).images.vit.class_token, loaded.encoder.class_token)

    captions.unlink()
    main(["--text_only", *words])
    assert open_text_space(captions).encode_texts(["a person"]).shape == (1, 128)
    assert read_checkpoint(captions)["unseen people"]["people"] == 3
    main(["--score", *words])
    assert capsys.readouterr().out.count("4 people, ") == 4
