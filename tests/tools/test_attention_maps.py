"""tools/attention_maps.py draws chosen tracklets of a trained run."""

import pytest
from PIL import Image

from datasets.build import make_dataset
from processor.build import make_training_state
from processor.training.state import LAST_CHECKPOINT
from tools.attention_maps import main
from utils.runtime import make_runtime


@pytest.fixture
def run(make_tree, tiny_cfg, tmp_path):
    """Folder of a run that was saved before its first step."""
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(), "OUTPUT_DIR", tmp_path)
    make_training_state(cfg, make_dataset(cfg), make_runtime("cpu", "fp32")).save(tmp_path / LAST_CHECKPOINT)
    return tmp_path


def test_draws_a_picture_for_each_gallery_tracklet(run):
    gallery = ["--gallery", "20/c0n0", "--gallery", "21/c0n1"]
    main(["--output_dir", str(run), "--query", "20/c4n0", *gallery, "--layers", "2"])
    pictures = sorted(path.name for path in (run / "attention_maps").iterdir())
    assert pictures == ["20-c4n0_and_20-c0n0.png", "20-c4n0_and_21-c0n1.png"]
    with Image.open(run / "attention_maps" / pictures[0]) as picture:
        assert len(picture.convert("RGB").resize((64, 64)).getcolors(4096)) > 20


def test_an_unknown_key_is_refused(run):
    with pytest.raises(ValueError, match="--gallery 20/c0n9: there is no such tracklet. The nearest keys: 20/c0n"):
        main(["--output_dir", str(run), "--query", "20/c4n0", "--gallery", "20/c0n9"])
