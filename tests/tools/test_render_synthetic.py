"""tools/render_synthetic.py writes a data set, or a picture of people."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from datasets.build import open_dataset
from demo import contact_sheet
from demo.people import Person
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


def test_every_row_of_the_contact_sheet_ends_with_the_persons_description(monkeypatch):
    described = []
    monkeypatch.setattr(
        contact_sheet,
        "_draw_caption",
        lambda caption, width: described.append(caption) or np.full((26, width, 3), len(described), dtype=np.uint8),
    )
    sheet = contact_sheet.draw_contact_sheet(seed=3, num_people=2)
    people = [Person.sample(np.random.default_rng([3, row])) for row in range(2)]
    assert described == [person.caption() for person in people]
    assert [np.unique(sheet[bottom - 26 : bottom]).tolist() for bottom in (156, 312)] == [[1], [2]]


def test_the_longest_descriptions_fit_below_their_row():
    font = ImageFont.load_default(contact_sheet.FONT_SIZE)
    captions = [Person.sample(np.random.default_rng([0, row])).caption() for row in range(300)]
    assert max(font.getlength(caption) for caption in captions) < 8 * 2 * 80 - 4
