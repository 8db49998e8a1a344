"""The demo's pre-training: the contrast, the scores of searches, training on a few people, and both files."""

import math
from math import comb

import pytest
import torch
from torch import nn

from configs import get_cfg
from demo import pretrain
from demo.pretraining import (
    contrast,
    describe_search,
    encode_crowd,
    render_crowd,
    score_search,
    start_text_space,
    train_captions,
)
from model import make_model
from model.text_space import TextSpace, open_text_space
from utils.checkpoint import read_checkpoint

SIZE = (64, 32)


@pytest.fixture(scope="module")
def crowd():
    """A few people of a seed that nothing was trained on."""
    return render_crowd(12, 99, SIZE, num_workers=1)


class Table(nn.Module):
    """Texts as rows of a table, in place of a text tower."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def tokenize(self, texts):
        return torch.tensor([self.rows[text] for text in texts])

    def forward(self, tokens):
        return tokens


def test_scores_by_hand():
    """Two people share a text: it is asked once, and the tracklets of both are right."""
    texts = Table({"red": [1.0, 0.0], "blue": [0.0, 1.0]})
    space = TextSpace(nn.Identity(), texts, (2, 2), (0.0,) * 3, (1.0,) * 3, 1.0)
    # Tracklets of: red, red, blue. The nearest to "red" belongs to the second, the nearest to "blue" to the first.
    tracklets = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]], [[0.6, 0.8]]])
    scores = score_search(space, ["red", "red", "blue"], tracklets, ranks=(1, 2))
    assert {k: hit for k, (hit, _) in scores.items()} == {1: 0.5, 2: 1.0}
    chance = {k: chance for k, (_, chance) in scores.items()}
    assert chance == pytest.approx({1: (2 / 3 + 1 / 3) / 2, 2: (1 + (1 - comb(2, 2) / comb(3, 2))) / 2})


def test_the_demo_finds_unseen_people(crowd):
    """Whole captions by far more often than chance (1 in 12), and clothes in the words that people type."""
    space = open_text_space("demo/demo_captions.safetensors")
    images = encode_crowd(space, crowd)
    for view in (0, 1):
        hit, chance = score_search(space, [person.caption() for person in crowd.people], images[:, view])[1]
        assert hit >= 0.5
        assert chance == pytest.approx(1 / 12)
    assert len(describe_search(space, crowd)) == 4
    assert space.encode_texts(["Red shirt!", "person with a black backpack"]).shape == (2, images.shape[-1])
    with pytest.raises(ValueError, match="does not know 'jumper'"):
        space.encode_texts(["red jumper"])


def test_training_fits_a_few_people(crowd):
    torch.manual_seed(0)
    trained = open_text_space("demo/demo_captions.safetensors")
    space = start_text_space(trained.images.vit, SIZE, (0.5,) * 3, (0.5,) * 3)
    train_captions(space, crowd, steps=40, seed=0)
    captions = [person.caption() for person in crowd.people]
    hit, _ = score_search(space, captions, encode_crowd(space, crowd).flatten(1, 2))[1]
    assert hit > 0.6
    assert space.texts.projection.weight.requires_grad is False


def test_contrast_of_two_people_by_hand():
    left = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    right = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = contrast(left, right, torch.tensor([0, 1]), torch.tensor([0, 0, 1]), torch.tensor(1.0))
    first = math.log(2 * math.e + 1) - 1  # both of its positives have similarity 1
    second = math.log(math.e + 2) - 1
    back = math.log(math.e + 1) - 1
    assert loss.item() == pytest.approx((first + second) / 2 + back)


@pytest.mark.slow
def test_trains_and_writes_both_towers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrain, "VALIDATION_PEOPLE", 3)
    path, captions = tmp_path / "new/demo_encoder.safetensors", tmp_path / "new/demo_captions.safetensors"
    words = ["--output", str(path.parent), "--people", "4", "--caption_steps", "2"]
    pretrain.main(["--steps", "2", *words])
    cfg = get_cfg("configs/demo.yml", ["MODEL.PRETRAIN_PATH", str(path)])
    loaded = make_model(cfg, num_classes=3, num_cameras=2)
    fresh = make_model(cfg, num_classes=3, num_cameras=2, pretrained=False)
    assert not torch.equal(loaded.encoder.class_token, fresh.encoder.class_token)
    assert path.stat().st_size + captions.stat().st_size < 4e6
    assert torch.equal(open_text_space(captions).images.vit.class_token, loaded.encoder.class_token)

    captions.unlink()
    pretrain.main(["--text_only", *words])
    assert open_text_space(captions).encode_texts(["a person"]).shape == (1, 128)
    assert read_checkpoint(captions)["unseen people"]["people"] == 3
    pretrain.main(["--score", *words])
    assert capsys.readouterr().out.count("4 people, ") == 4
