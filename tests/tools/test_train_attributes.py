"""tools/train_attributes.py: classifiers of attributes beside a checkpoint, and the evaluations that use them."""

import csv
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

import eval_main
import train_main
from processor.attributes.heads import HEADS_FILE
from processor.attributes.zero_shot import CALIBRATION_FILE
from processor.report import write
from tools import train_attributes
from utils.checkpoint import read_checkpoint, write_weights
from utils.commands import run_command

ROOT = Path(__file__).resolve().parents[2]
ALL = ["visual only", "visual only + mask (predicted attributes)"]


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """They take longer than all the rest."""
    monkeypatch.setattr(write, "draw_best_and_worst", lambda result, folder: [])
    monkeypatch.setattr(write, "write_page", lambda *parts: [])


def status_of(main, *argv):
    return run_command(partial(main.main, [str(word) for word in argv]))


def evaluate(folder, *opts):
    """Evaluate a run in logs; returns the methods of its rows."""
    assert status_of(eval_main, "--output_dir", "logs", "--custom_output_dir", folder, *opts) == 0
    return [row["method"] for row in json.loads(Path(folder, "results.json").read_text())["results"]]


@pytest.fixture(scope="module")
def folder(write_tree, tiny_opts, tmp_path_factory):
    """A run in logs/ on twenty people in data/, who have two genders and three hairstyles."""
    folder = tmp_path_factory.mktemp("attributes")
    write_tree(folder / "data", train=tuple(range(1, 21)), tracklets=1, num_frames=2)
    for table in (folder / "data/attributes").rglob("*.csv"):
        header, *rows = csv.reader(table.read_text().splitlines())
        for row in rows:
            row[header.index("hairstyle")] = str(int(row[0]) % 3)
        table.write_text("".join(",".join(row) + "\n" for row in (header, *rows)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = [*tiny_opts, "DATASETS.ROOT_DIR", "data", "SOLVER.STAGE2.MAX_EPOCHS", "1"]
        train_main.main(["--output_dir", "logs", *words])
    return folder


@pytest.fixture
def _trained(folder, tmp_path, monkeypatch):
    """Go to a copy of the run and its data."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_trained")
def test_a_mask_without_annotations_from_training_to_results(capsys):
    assert status_of(eval_main, "--output_dir", "logs", "TEST.MASK", "predicted") == 1
    command = "run `python -m tools.train_attributes --output_dir logs`"
    assert f"TEST.MASK predicted needs logs/{HEADS_FILE}: {command}" in capsys.readouterr().err
    assert status_of(train_attributes, "--output_dir", "logs") == 0
    log = Path("logs/attributes.log").read_text()
    assert "gender " in log  # scored, for the soft mask, but not kept
    content = read_checkpoint(Path("logs", HEADS_FILE))
    assert list(content["model"]) == ["hairstyle.bias", "hairstyle.weight"]
    assert list(content["scores"]) == ["gender", "hairstyle"]

    assert evaluate("predicted", "TEST.MASK", "predicted") == ALL
    assert "TEST.MASK predicted" in Path("predicted/results.txt").read_text()
    assert Path("predicted/tracklet_rankings_predicted_attributes.csv").is_file()
    for kind, label in (
        ("soft", "annotated attributes, weighed by reliability"),
        ("annotated", "annotated attributes"),
    ):
        rows = ["visual only", f"visual only + mask ({label})", f"attributes alone ({label})"]
        assert evaluate(kind, "TEST.MASK", kind) == rows
    assert evaluate("none", "TEST.MASK", "none") == ["visual only"]

    for table in Path("data/attributes").rglob("*.csv"):
        table.unlink()
    assert evaluate("bare", "TEST.MASK", "predicted") == ALL
    assert evaluate("bare", "TEST.MASK", "soft") == ["visual only"]


@pytest.mark.usefixtures("_trained")
def test_zero_shot_classifiers_are_scored_beside_them():
    captions = ROOT / "demo/demo_captions.safetensors"
    assert status_of(train_attributes, "--output_dir", "logs", "--text_tower", captions) == 0
    log = Path("logs/attributes.log").read_text()
    for title in ("Zero-shot classifiers by demo_captions.safetensors", "Calibrated zero-shot classifiers"):
        table = log[log.index(title) :].splitlines()
        assert table[1].split()[:3] == ["attribute", "people", "tracklets"]
        assert table[3].startswith("hairstyle ")  # the other columns have one code, or are sensitive

    words = ("TEST.MASK", "predicted", "TEST.TEXT_TOWER", captions)
    assert evaluate("words", *words) == ["visual only", "visual only + mask (zero-shot attributes)"]
    assert Path("words/tracklet_rankings_zero_shot_attributes.csv").is_file()
    assert "not calibrated" not in Path("words/eval.log").read_text()
    Path("logs", CALIBRATION_FILE).unlink()
    Path("logs", HEADS_FILE).unlink()  # of the trained classifiers, which this mask does without
    assert evaluate("plain", *words) == ["visual only", "visual only + mask (zero-shot attributes)"]
    assert "zero-shot attributes are not calibrated" in Path("plain/eval.log").read_text()
    assert status_of(train_attributes, "--output_dir", "logs", "--text_tower", "nowhere.pt") == 1


@pytest.mark.usefixtures("_trained")
def test_classifiers_of_other_descriptors_and_columns_are_refused(capsys):
    """After more training, under another neck, when damaged, and without those of gender; each names the command."""
    words = ("--output_dir", "logs", "--custom_output_dir", "here", "TEST.MASK", "predicted")
    path, checkpoint = Path("logs", HEADS_FILE), Path("logs/checkpoint_last.pth")

    def refused(message, *opts):
        assert status_of(eval_main, *words, *opts) == 1
        shown = capsys.readouterr().err
        assert message in shown
        command, keys = "run `python -m tools.train_attributes --output_dir logs", " ".join(("", *opts))
        assert f"{command}{keys}`" in shown

    assert status_of(train_attributes, "--output_dir", "logs") == 0
    refused("with another TEST.NECK_FEAT than logs/checkpoint_last.pth has now", "TEST.NECK_FEAT", "after")
    content = read_checkpoint(path)
    weights = content.pop("model")
    write_weights({**weights, "hairstyle.weight": weights["hairstyle.weight"][:, 1:].contiguous()}, content, path)
    refused(f"logs/{HEADS_FILE} does not fit this run: its classifier of hairstyle is (3, ")
    write_weights(weights, {**content, "columns": {"hairstyle": {"temperature": 1.0}}}, path)
    refused(f"logs/{HEADS_FILE} does not fit this run: it has no entry 'codes'")
    write_weights(weights, content, path)

    sensitive = ("TEST.PREDICT_SENSITIVE", "True")
    refused("with another TEST.PREDICT_SENSITIVE", *sensitive)
    assert status_of(train_attributes, "--output_dir", "logs", *sensitive) == 0
    assert list(read_checkpoint(path)["columns"]) == ["gender", "hairstyle"]
    evaluate("with", *words[4:], *sensitive, "TEST.SAVE_DISTANCES", "True")
    evaluate("without", *words[4:], "TEST.SAVE_DISTANCES", "True")
    files = [Path(name, "distmat_predicted_attributes.npz").read_bytes() for name in ("with", "without")]
    assert files[0] != files[1]

    trained_more = torch.load(checkpoint, weights_only=True)
    trained_more["model"]["memory_weight"] += 1
    torch.save(trained_more, checkpoint)
    refused("with another checkpoint than logs/checkpoint_last.pth has now")
