"""tools/render_synthetic.py writes a data set, or a picture of people."""

import pytest
from PIL import Image

from datasets.build import open_dataset
from tools.render_synthetic import main


def test_writes_a_data_set(tmp_path):
    counts = [f"--{name}=1" for name in ("train_people", "test_people", "tracklets_per_view", "frames", "workers")]
    main(["--output", str(tmp_path / "data"), *counts])
    assert len(open_dataset("agvpreid", tmp_path / "data").train) == 2


@pytest.mark.parametrize(("words", "size"), [([], (8 * 2 * 80, 130 + 26)), (["--width=64"], (64, 6))])
def test_writes_a_picture_of_people(tmp_path, words, size):
    main(["--contact_sheet", str(tmp_path / "new/people.png"), "--rows=1", *words])
    with Image.open(tmp_path / "new/people.png") as image:
        assert image.size == size
