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
    path = tmp_path / "encoder.safetensors"
    captions = tmp_path / "captions.safetensors"
    words = ["--captions", str(captions), "--people", "4", "--caption_steps", "2"]
    main(["--output", str(path), "--steps", "2", *words])
    cfg = get_cfg("configs/demo.yml", ["MODEL.PRETRAIN_PATH", str(path)])
    loaded = make_model(cfg, num_classes=3, num_cameras=2)
    fresh = make_model(cfg, num_classes=3, num_cameras=2, pretrained=False)
    assert not torch.equal(loaded.encoder.class_token, fresh.encoder.class_token)
    assert path.stat().st_size + captions.stat().st_size < 4e6
    assert torch.equal(open_text_space(captions).images.vit.class_token, loaded.encoder.class_token)

    captions.unlink()
    main(["--image_tower", str(path), *words])  # the text tower alone
    assert open_text_space(captions).encode_texts(["a person"]).shape == (1, 128)
    assert read_checkpoint(captions)["unseen people"]["people"] == 3
    main(["--score", "--captions", str(captions), "--image_tower", str(path), "--people", "3"])
    assert capsys.readouterr().out.count("3 people, ") == 4


def test_the_text_tower_must_be_beside_the_image_tower(capsys):
    with pytest.raises(SystemExit):
        main(["--image_tower", "elsewhere/tower.safetensors"])
    assert "--captions must be in the folder of the image tower" in capsys.readouterr().err
