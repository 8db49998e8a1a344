"""Checkpoints are written whole or not at all."""

import resource

import pytest
import torch
from safetensors.torch import save_file

from utils.checkpoint import read_checkpoint, write_checkpoint, write_weights


def write_weights_like(content, path):
    write_weights(content, {}, path)


@pytest.mark.parametrize("write", [write_checkpoint, write_weights_like])
def test_a_full_disk_leaves_the_old_file_and_is_explained(write, tmp_path):
    path = tmp_path / "a.safetensors" if write is write_weights_like else tmp_path / "a.pth"
    write({"x": torch.ones(3)}, path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match=r"^Could not write .*/a\.\w+: File too large\. ") as caught:
            write({"x": torch.ones(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "unexpected pos" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_torch_that_is_not_the_disks_stays_what_it_is(tmp_path, monkeypatch):
    def fail(content, file):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RuntimeError, match="CUDA error"):
        write_checkpoint({}, tmp_path / "a.pth")


def test_the_previous_checkpoint_is_kept(tmp_path):
    for epoch in (1, 2):
        write_checkpoint({"epoch": epoch}, tmp_path / "last.pth", previous=tmp_path / "previous.pth")
    assert [read_checkpoint(tmp_path / f"{name}.pth")["epoch"] for name in ("last", "previous")] == [2, 1]


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
