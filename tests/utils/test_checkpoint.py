"""Checkpoints are written whole or not at all."""

import json
import random

import pytest
import torch
from safetensors.torch import save_file
from torch.serialization import get_crc32_options, set_crc32_options

from utils.checkpoint import read_checkpoint, write_checkpoint, write_weights

WRITERS = {"a.pth": write_checkpoint, "a.safetensors": lambda content, path: write_weights(content, {}, path)}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_is_explained(name, tmp_path):
    path, write = tmp_path / name, WRITERS[name]
    write({"x": torch.ones(3)}, path)
    before = path.read_bytes()
    resource = pytest.importorskip("resource")  # of Unix only
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(ValueError, match=r"^Could not write .*/a\.\w+: File too large\. ") as caught:
            write({"x": torch.ones(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "unexpected pos" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


WEIGHTS = {"a": torch.arange(60.0).view(6, 10).T, "b": torch.ones(2, dtype=torch.int64)}
CONTENT = {"model": WEIGHTS, "config": "A: 0.3\n", "epoch": 3, "camids": []}


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_changed_bit_is_noticed_or_changes_nothing(name, tmp_path, assert_same):
    path = tmp_path / name
    if name == "a.pth":
        write_checkpoint(CONTENT, path)
    else:
        write_weights(WEIGHTS, {name: CONTENT[name] for name in CONTENT.keys() - {"model"}}, path)
    assert_same(read_checkpoint(path), CONTENT)
    whole = path.read_bytes()
    noticed = 0
    for bit in random.Random(0).sample(range(8 * len(whole)), 200):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            content = read_checkpoint(path)
        except ValueError:
            noticed += 1
        else:
            assert_same(content, CONTENT, f"bit {bit}")
    assert noticed > 50  # the rest is padding


@pytest.mark.parametrize("size", [0, 1, 100, 1000, 3000, 20_000])
def test_a_file_that_was_cut_short_is_refused(size, tmp_path):
    path = tmp_path / "a.pth"
    write_checkpoint({str(number): torch.ones(100) for number in range(50)}, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"a\.pth was refused: it is damaged"):
        read_checkpoint(path)


def test_a_part_that_torch_would_not_read_is_refused(tmp_path):
    """torch takes a part with the mark of a folder for empty, and hands out a tensor of whatever was in the memory."""
    path = tmp_path / "a.pth"
    write_checkpoint({"a": torch.ones(3)}, path)
    content = path.read_bytes()
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"data/0"))
    path.write_bytes(content[: entry + 38] + b"\x10" + content[entry + 39 :])
    with pytest.raises(ValueError, match="data/0 is marked as a folder"):
        read_checkpoint(path)


def test_files_without_checksums_are_read(tmp_path, assert_same):
    torch.save(CONTENT, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    with_sums = get_crc32_options()
    set_crc32_options(False)
    try:
        torch.save(CONTENT, tmp_path / "without.pth")
    finally:
        set_crc32_options(with_sums)
    metadata = {"written_by": "xtfclip", "config": json.dumps(CONTENT["config"]), "epoch": "3", "camids": "[]"}
    save_file({name: value.contiguous() for name, value in WEIGHTS.items()}, tmp_path / "older.safetensors", metadata)
    for path in tmp_path.iterdir():
        assert_same(read_checkpoint(path), CONTENT, path)
