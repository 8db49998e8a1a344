"""Checkpoints are written whole or not at all."""

import pytest
import torch

from utils.checkpoint import read_checkpoint, write_checkpoint


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space"), RuntimeError("unexpected pos 64 vs 0")])
def test_an_interrupted_write_leaves_the_old_checkpoint(error, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pth"
    write_checkpoint({"epoch": 1, "x": torch.ones(1000)}, path)

    def save_half(content, file):
        with open(file, "wb") as handle:
            handle.write(b"half a checkpoint")
        raise error

    monkeypatch.setattr(torch, "save", save_half)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError):
        write_checkpoint({"epoch": 2}, path)
    monkeypatch.undo()
    assert read_checkpoint(path)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pth"]  # no temporary left behind


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def fail(content, file):
        raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"Could not write .*a\.pth"):
        write_checkpoint({}, tmp_path / "a.pth")
