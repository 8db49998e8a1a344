"""Copies with small frames: what is made smaller, what is kept, and that the readers see the same tracklets."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.clips.decoding import decode_frame
from datasets.resize import resize_copy
from utils.files import lock_folder

SIZE = (20, 10)


def write(path, size, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path, **options)


def test_one_process_at_a_time_writes_a_copy(tmp_path):
    write(tmp_path / "data/a/1.jpg", (40, 80))
    with lock_folder(tmp_path, "copy"), pytest.raises(ValueError, match="copy is in use by process"):
        resize_copy(tmp_path / "data", tmp_path / "copy", SIZE)
    assert resize_copy(tmp_path / "data", tmp_path / "copy", SIZE) == {"resized": 1}
    assert sorted(os.listdir(tmp_path)) == ["copy", "data"]
    with pytest.raises(ValueError, match="1.jpg is a file, not a folder"):
        resize_copy(tmp_path / "data", tmp_path / "copy/a/1.jpg", SIZE)


def test_frames_are_made_smaller_and_all_else_is_copied(tmp_path, caplog):
    root, output = tmp_path / "data", tmp_path / "copy"
    write(root / "a/wide.png", (40, 16))
    write(root / "a/large.jpg", (40, 80))
    write(root / "a/small.jpg", (10, 20))
    (root / "a/broken.jpg").write_bytes(b"broken")
    (root / "info").mkdir()
    (root / "info/list.txt").write_text("names")
    (root / "b").symlink_to("a")
    (root / "gone.txt").symlink_to("nowhere")
    done = resize_copy(root, output, SIZE)
    assert done == {"resized": 4, "copied": 5}  # the link is followed
    assert Image.open(output / "a/wide.png").size == (10, 16)  # never larger
    assert torch.equal(decode_frame(str(output / "a/wide.png"), SIZE), decode_frame(str(root / "b/wide.png"), SIZE))
    assert Image.open(output / "a/large.jpg").size == (10, 20)
    pixels = [decode_frame(str(folder / "a/large.jpg"), SIZE).float() for folder in (root, output)]
    assert (pixels[0] - pixels[1]).abs().mean() < 5  # noise is the worst of pictures for JPEG
    for name in ("a/small.jpg", "a/broken.jpg", "info/list.txt"):
        assert (output / name).read_bytes() == (root / name).read_bytes()
    assert "broken.jpg" in caplog.text
    assert "this link leads nowhere (1): gone.txt" in caplog.text


def test_a_stopped_copy_goes_on(tmp_path):
    root, output = tmp_path / "data", tmp_path / "copy"
    for name in ("1.png", "2.png"):
        write(root / name, (40, 80))
    resize_copy(root, output, SIZE)
    (output / "1.png").unlink()
    (output / "2.png").write_bytes(b"kept")
    assert resize_copy(root, output, SIZE, num_workers=2) == {"resized": 1, "kept": 1}
    assert sorted(os.listdir(output)) == ["1.png", "2.png"]
    assert (output / "2.png").read_bytes() == b"kept"


@pytest.mark.parametrize("place", [".", "copy", ".."])
def test_nothing_is_written_into_the_source(tmp_path, place):
    root = tmp_path / "data"
    write(root / "1.png", (40, 80))
    with pytest.raises(ValueError, match="must not lie in one another"):
        resize_copy(root, root / place, SIZE)
