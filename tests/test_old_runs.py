"""Runs and features of version 0.1.0 (commit af5c08f) still load: the run resumes, is evaluated, and scores the same.

``data/run_of_0_1_0`` holds the checkpoint after the first of two epochs on the tree of ``write_tree``, with a moving
average, the history of both epochs, and the features, scores and descriptors of that checkpoint.
"""

import csv
import shutil
from pathlib import Path

import pytest
import torch

import eval_main
import train_main
from utils.checkpoint import read_checkpoint

OLD_RUN = Path(__file__).parent / "data/run_of_0_1_0"


@pytest.fixture
def old_run(tmp_path, write_tree, monkeypatch):
    """A copy of the run in ``run``, below a working directory with its data."""
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / "data")
    return Path(shutil.copytree(OLD_RUN, "run"))


def read_table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_old_run_resumes(old_run):
    expected = read_table(OLD_RUN / "history.csv")
    train_main.main(["--output_dir", "run", "--resume"])
    rows = read_table(old_run / "history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("total", "id", "triplet", "memory", "frame", "accuracy", "lr"):
        assert float(rows[1][name]) == pytest.approx(float(expected[1][name]), rel=1e-4), name
    content = read_checkpoint(old_run / "checkpoint_last.pth")
    assert content["epoch"] == 2
    assert content["averaged"].keys() == content["model"].keys()


def test_an_old_run_is_evaluated(old_run):
    eval_main.main(["--output_dir", "run", "--custom_output_dir", "results", "--eval_case", "all"])
    files = sorted((OLD_RUN / "features").glob("case*.safetensors"))
    assert len(files) == 4
    for path in files:
        kept, old = (read_checkpoint(file)["model"]["features"] for file in (Path("results/features", path.name), path))
        torch.testing.assert_close(kept, old, rtol=0, atol=1e-5)
    visual = [
        [(row["key"], row["average_precision"]) for row in read_table(path) if row["method"] == "visual only"]
        for path in (Path("results/queries.csv"), OLD_RUN / "queries.csv")
    ]
    assert len(visual[0]) == 12
    for (key, score), (old_key, old_score) in zip(*visual, strict=True):
        assert key == old_key
        assert float(score) == pytest.approx(float(old_score), abs=1e-6)
