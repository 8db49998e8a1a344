"""Checkpoints are written whole or not at all."""

import pytest
import torch
from safetensors.torch import save_file

from utils.checkpoint import read_checkpoint, write_checkpoint, write_weights


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


def test_weights_come_back_with_their_values(tmp_path):
    weights = {"a": torch.randn(2, 3).T, "b": torch.ones(4, dtype=torch.int64)}
    values = {"config": "MODEL:\n  NAME: x\n", "pids": [1, 4], "camids": []}
    write_weights(weights, values, tmp_path / "weights.safetensors")
    content = read_checkpoint(tmp_path / "weights.safetensors")
    assert {name: content[name] for name in values} == values
    assert content["model"].keys() == weights.keys()
    assert all(torch.equal(content["model"][name], weights[name]) for name in weights)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_the_metadata_of_other_writers_are_left_alone(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors", metadata={"config": "not JSON"})
    assert read_checkpoint(tmp_path / "other.safetensors").keys() == {"a"}


def test_damaged_values_are_an_unreadable_file(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "bad.safetensors", metadata={"written_by": "xtfclip", "config": "{"})
    with pytest.raises(ValueError, match=r"bad\.safetensors is not a readable weight file"):
        read_checkpoint(tmp_path / "bad.safetensors")
