"""The README's picture: its size, and the file that is committed."""

from PIL import Image

from tools import draw_readme_picture

MAX_BYTES = 300_000


def test_draws_as_many_people_as_asked_at_the_width_asked(tmp_path):
    path = tmp_path / "images/people.png"
    draw_readme_picture.main(["--output", str(path), "--people", "1", "--width", "320"])
    with Image.open(path) as picture:
        assert picture.width == 320
        assert 20 < picture.height < 40  # a sheet of one person is 1280 x 130 pixels
        assert len(picture.getcolors(maxcolors=1 << 16)) > 100


def test_the_committed_picture_is_small():
    with Image.open(draw_readme_picture.PICTURE) as picture:
        assert picture.size[0] == 640
    assert draw_readme_picture.PICTURE.stat().st_size < MAX_BYTES
