"""tools/attention_maps.py draws chosen tracklets of a trained run."""

import pytest
from PIL import Image

from tools.attention_maps import main


def test_draws_a_picture_for_each_gallery_tracklet(copy_run):
    run = copy_run()
    words = ["--output_dir", str(run), "--query", "20/c4n0"]
    main([*words, "--gallery", "20/c0n0", "--gallery", "21/c0n1"])
    pictures = sorted((run / "attention_maps").iterdir())
    assert [path.name for path in pictures] == ["20-c4n0_and_20-c0n0.png", "20-c4n0_and_21-c0n1.png"]
    with Image.open(pictures[0]) as picture:
        assert len(picture.convert("RGB").resize((64, 64)).getcolors(4096)) > 20
    with pytest.raises(ValueError, match="--gallery 20/c0n9: there is no such tracklet. The nearest keys: 20/c0n"):
        main([*words, "--gallery", "20/c0n9"])
