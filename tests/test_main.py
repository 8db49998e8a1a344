"""The two commands as the README types them, on the tiny model, and what they say when something is wrong."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import eval_main
import train_main
from processor.report import write
from processor.training import checkpoints, monitor
from utils.checkpoint import read_checkpoint
from utils.commands import run_command

ROOT = Path(__file__).resolve().parents[1]
TOOLS = sorted(f"tools.{path.stem}" for path in (ROOT / "tools").glob("[a-z]*.py") if path.stem != "argparse")
HELPFUL = ["train_main", "eval_main", *TOOLS]
RUN, LAST = Path("logs/all"), Path("logs/all/checkpoint_last.pth")


@pytest.fixture
def at_work(tmp_path, monkeypatch):
    """A working directory of its own, for the relative paths that people type."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(trained_run, copy_run, at_work):
    """A run of two epochs in logs/all, and its data in data/, both the test's own."""
    copy_run(str(RUN))
    shutil.copytree(trained_run.root, "data", copy_function=os.link)
    return ["DATASETS.ROOT_DIR", "data"]


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """Drawing takes longer than all the rest; the one test that wants it undoes this."""
    monkeypatch.setattr(write, "draw_best_and_worst", lambda result, folder: [])
    monkeypatch.setattr(write, "write_page", lambda *parts: [])
    monkeypatch.setattr(monitor, "draw_curves", lambda rows, path: None)


@pytest.fixture
def said(capsys, caplog):
    """``said()``: what the commands have written to the console, also before they set up their logs."""
    return lambda: "".join([*capsys.readouterr(), caplog.text])


def status_of(main, *argv):
    return run_command(partial(main.main, [str(word) for word in argv]))


def evaluate(*words, run=RUN, results="results"):
    return status_of(eval_main, "--output_dir", run, "--custom_output_dir", results, *words)


def result_rows(path):
    return json.loads((Path(path) / "results.json").read_text())["results"]


def log_of(folder):
    return "".join(path.read_text() for path in Path(folder).glob("*.log"))


def epoch_of(path):
    return torch.load(path, weights_only=True)["epoch"]


@pytest.mark.slow
def test_train_and_evaluate_pets09_as_the_readme_types_it(shared, tiny_opts, at_work, monkeypatch):
    root = str(shared / "data/pets09")
    sizes = ["SOLVER.STAGE2.IMS_PER_BATCH", "8", "DATALOADER.NUM_INSTANCE", "4", "SOLVER.STAGE2.EVAL_PERIOD", "2"]
    command = [
        sys.executable,
        ROOT / "train_main.py",
        "--output_dir",
        "logs/all",
        *tiny_opts,
        "DATASETS.ROOT_DIR",
        root,
    ]
    done = subprocess.run([*command, *sizes], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((RUN / name).is_file() for name in ("config.yml", "train.log", "checkpoint_last.pth", "history.csv"))
    assert any((RUN / "tensorboard").iterdir())
    log = log_of(RUN)
    said = ("5 identities, 95 tracklets", "epoch 1 step", "epoch 2 step", "monitoring: scores of the test", "Done.")
    assert all(words in log for words in said)

    case1 = ["--custom_output_dir", "results/case1_aerial_to_ground", "--output_dir", "logs/all"]
    assert status_of(eval_main, *case1) == 0  # the word-for-word command: everything else is the run's
    assert {row["direction"] for row in result_rows(case1[1])} == {"aerial to ground"}
    assert evaluate("--eval_case", "case2", "TEST.FLIP", "False", results="case2") == 0
    assert {row["direction"] for row in result_rows("case2")} == {"ground to aerial"}
    monkeypatch.undo()
    monkeypatch.chdir(at_work)
    assert evaluate("--eval_case", "all", "--weight", LAST) == 0
    directions = ["aerial to ground", "ground to aerial", "overall"]
    assert [row["direction"] for row in result_rows("results")] == directions * 3
    with Path("results/submission.csv").open(newline="") as file:
        assert [row["row_id"] for row in csv.DictReader(file)] == [str(number) for number in range(1, 41 + 58 + 1)]
    for folder in ("case1_aerial_to_ground", "case2_ground_to_aerial"):
        for name in ("tracklet_rankings.csv", "ranked_best.png", "ranked_worst.png"):
            assert Path("results", folder, name).is_file()
    assert log_of("results").rstrip().endswith(str(Path("results/report.html")))
    words = ["TEST.PROTOCOL", "all-cameras", "TEST.MASK_ATTRIBUTES", "()"]
    assert evaluate("--eval_case", "all", "--weight", LAST, *words) == 0
    assert log_of("results").count("features were read from") == 4
    assert [row["protocol"] for row in result_rows("results")] == ["all-cameras"] * 3


@pytest.mark.parametrize("command", HELPFUL)
def test_help_does_not_wait_for_torch(command):
    script = "import runpy, sys; sys.argv = ['x', '--help']; sys.modules['torch'] = None; "
    script += f"runpy.run_module('{command}', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")


@pytest.mark.parametrize("command", TOOLS)
def test_a_tool_that_is_run_as_a_file_says_what_to_type(command, tmp_path):
    path = ROOT / f"{command.replace('.', '/')}.py"
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"Type this in the folder of train_main.py: python -m {command}\n"


# ---- training


def test_a_run_resumes_with_its_own_configuration_and_keys_change_it(trained, monkeypatch):
    before, reads = (RUN / "config.yml").read_text(), []
    monkeypatch.setattr(checkpoints, "read_checkpoint", lambda path: reads.append(path) or read_checkpoint(path))
    assert status_of(train_main, "--output_dir", RUN, "--resume") == 0
    changed = set((RUN / "config.yml").read_text().splitlines()) - set(before.splitlines())
    assert changed == {"OUTPUT_DIR: logs/all"}  # the run was copied there
    assert status_of(train_main, "--output_dir", RUN, "--resume", "SOLVER.STAGE2.MAX_EPOCHS", 3) == 0
    log = log_of(RUN)
    assert f"Resumed from {LAST} after epoch 2" in log
    assert [log.count(f"epoch {number} step") for number in (1, 3)] == [1, 1]
    assert epoch_of(LAST) == 3
    assert reads == [LAST, LAST]  # once for each of the two commands


def test_a_new_run_in_an_old_folder_keeps_the_old_checkpoints(trained, trained_run):
    before = LAST.read_bytes()
    assert status_of(train_main, "--output_dir", RUN, *trained_run.opts, "SOLVER.STAGE2.MAX_EPOCHS", 1) == 0
    assert (RUN / "checkpoint_last.pth.old").read_bytes() == before
    assert epoch_of(LAST) == 1


def test_a_run_that_cannot_start_leaves_the_old_runs_files_alone(trained, said):
    """Its checkpoint must stay beside the configuration that it was trained with."""
    before = {name: (RUN / name).read_bytes() for name in ("config.yml", "checkpoint_last.pth")}
    assert status_of(train_main, "--output_dir", RUN, "DATASETS.ROOT_DIR", "nowhere") == 1
    assert "nowhere is not a folder: set DATASETS.ROOT_DIR" in said()
    assert {name: (RUN / name).read_bytes() for name in before} == before


def test_a_person_with_one_tracklet_and_a_broken_frame_are_trained(make_tree, tiny_opts, at_work):
    root = make_tree(tracklets=1)
    shutil.rmtree(root / "train/6/c4n0")  # a person with one tracklet
    broken = sorted((root / "train/1/c0n0").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:200])
    words = [*tiny_opts, "DATASETS.ROOT_DIR", root, "DATALOADER.MAX_BAD_FRACTION", 1]
    assert status_of(train_main, "--output_dir", RUN, *words) == 0
    log = log_of(RUN)
    assert str(broken) in log
    assert "nearest readable frame" in log
    assert LAST.is_file()


# ---- evaluation


def test_a_missing_checkpoint_says_what_to_type(tiny_opts, at_work, said):
    """The folder that was misspelt, or has no checkpoint, is not created, nor are results in it."""
    assert status_of(eval_main, "--output_dir", "logs/typo", *tiny_opts) == 1
    message = said()
    assert "logs/typo/checkpoint_last.pth is not there" in message
    assert 'python train_main.py --output_dir "logs/typo"' in message
    assert status_of(eval_main, "--output_dir", "logs/typo", "--weight", "gone.pth", *tiny_opts) == 1
    assert "gone.pth is not there, seen from " in said()
    assert not any(at_work.iterdir())


def test_scores_of_the_people_who_chose_the_checkpoint_say_so(make_tree, tiny_opts, at_work, capsys):
    words = [*tiny_opts, "DATASETS.ROOT_DIR", make_tree(), "DATASETS.VALIDATION_FRACTION", 0.5]
    words += ["SOLVER.STAGE2.MAX_EPOCHS", 1, "SOLVER.STAGE2.EVAL_PERIOD", 1]
    assert status_of(train_main, "--output_dir", RUN, "--weights_only", *words) == 0
    for weight, split, number in (
        ("best", "validation", 1),
        (RUN / "weights_best.safetensors", "validation", 1),
        ("best", "test", 0),
        ("last", "validation", 0),
    ):
        capsys.readouterr()
        assert evaluate("--weight", weight, "DATASETS.EVAL_SPLIT", split) == 0
        remark = "people scored chose the checkpoint: expect less on others"
        texts = [capsys.readouterr().out, Path("results/results.txt").read_text()]
        assert [text.count(remark) for text in texts] == [number] * 2
        remarks = json.loads(Path("results/results.json").read_text())["remarks"]
        assert [text.endswith(remark) for text in remarks if "chose" in text] == [True] * number


@pytest.fixture
def other_run(trained):
    """A run in logs/other of other weights, clips and pictures' normalisation than that in logs/all."""
    return edit_run("other", "NUM_CLIPS: 1", "NUM_CLIPS: 2", "FLIP: true", "FLIP: false", "- 0.485", "- 0.4")


def edit_run(name, *words):
    """Copy logs/all to logs/``name`` with other weights, and each odd word of its config replaced by the next."""
    content = torch.load(LAST, weights_only=True)
    for old, new in zip(words[::2], words[1::2], strict=True):
        assert old in content["config"]
        content["config"] = content["config"].replace(old, new, 1)
    content["model"] = {
        key: value * 1.1 if value.is_floating_point() else value for key, value in content["model"].items()
    }
    path = Path("logs", name, LAST.name)
    path.parent.mkdir()
    torch.save(content, path)
    return path.parent


def test_an_ensemble_joins_the_descriptors_of_runs_that_keep_their_configurations(trained, other_run):
    words = ["--eval_case", "all", *trained, "TEST.SAVE_DISTANCES", True]
    ensemble = [*words, "TEST.ENSEMBLE", f"('{other_run}',)"]
    for file in Path("data").glob("case1*/query/20/c4n0/*"):
        file.unlink()
        file.write_text("damaged")
    assert evaluate(*words, run=other_run, results="other") == 0
    assert evaluate(*words, results="alone") == 0
    assert evaluate(*ensemble, results="joined") == 0
    name = "ensemble of 2 runs"
    methods = [name, f"{name} + mask (annotated attributes)"]
    found = [row for row in result_rows("joined") if row["method"] in methods]
    assert [row["direction"] for row in found] == ["aerial to ground", "ground to aerial", "overall"] * 2
    assert [row["num_valid_queries"] for row in found] == [5, 6, 11] * 2  # one query is damaged
    distances = {}
    for results, file in (("other", ""), ("alone", ""), ("joined", ""), ("joined", "_ensemble")):
        path = Path(results, "case1_aerial_to_ground", f"distmat{file}.npz")
        distances[results + file] = np.load(path)["distmat"]
    np.testing.assert_array_equal(distances["joined"], distances["alone"])
    assert np.abs(distances["other"] - distances["alone"]).max() > 1e-3
    mean = (distances["other"] + distances["alone"]) / 2
    np.testing.assert_allclose(distances["joined_ensemble"], mean, atol=1e-6)
    assert evaluate(*ensemble, results="joined") == 0
    assert log_of("joined").count("features were read from") == 7  # all but those of a side with unreadable frames
    text = Path("joined/results.txt").read_text()
    assert "ensemble with: logs/other/checkpoint_last.pth (the last, after epoch 2)" in text


def test_an_ensemble_of_a_run_with_itself_ranks_as_the_run(trained):
    assert evaluate("--eval_case", "all", *trained, "TEST.MASK", "none", "TEST.ENSEMBLE", f"('{RUN}', '{LAST}')") == 0
    rows = result_rows("results")
    assert [row.pop("method") for row in rows] == ["visual only"] * 3 + ["ensemble of 3 runs"] * 3
    assert rows[:3] == rows[3:]


def test_files_that_were_damaged_since_features_were_kept_are_named_as_the_reason(trained, other_run, said):
    assert evaluate(*trained) == 0
    for file in Path("data").glob("case1*/query/20/c4n0/*"):
        file.unlink()
        file.write_text("damaged")
    assert evaluate(*trained, "TEST.ENSEMBLE", f"('{other_run}',)") == 1
    assert (
        "aerial to ground: query: files were damaged since features were kept: set TEST.KEEP_FEATURES False" in said()
    )
    assert evaluate(*trained, "TEST.ENSEMBLE", f"('{other_run}',)", "TEST.KEEP_FEATURES", False) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (None, "logs/gone is not there, seen from .*: TEST.ENSEMBLE must name folders of trained runs, or checkpoints"),
        ((), "logs/odd/checkpoint_last.pth is not there"),
        (
            ("NAMES: agvpreid", "NAMES: mars"),
            "logs/odd/checkpoint_last.pth was trained on mars, and logs/all/.* on agv",
        ),
        (("  SPLIT: 1", "  SPLIT: 2"), "trained on other people: DATASETS.SPLIT is 2, here 1"),
    ],
)
def test_runs_that_make_no_ensemble_are_refused_in_one_line(words, message, trained, said):
    folder = Path("logs/gone") if words is None else edit_run("odd", *words)
    if words == ():
        (folder / LAST.name).unlink()
    assert evaluate(*trained, "TEST.ENSEMBLE", f"('{folder}',)") == 1
    assert re.search(message, said())


def test_masked_test_people_are_ranked_but_not_scored(make_tree, tiny_opts, at_work):
    words = [*tiny_opts, "DATASETS.ROOT_DIR", make_tree(masked=True), "SOLVER.STAGE2.MAX_EPOCHS", 1]
    assert status_of(train_main, "--output_dir", RUN, *words, "SOLVER.STAGE2.EVAL_PERIOD", 1) == 0
    assert "nothing is scored" in log_of(RUN)
    assert evaluate("--eval_case", "all") == 0
    assert Path("results/submission.csv").is_file()
    assert not Path("results/results.json").exists()
    for side in ("query", "gallery"):
        for folder in sorted((at_work / "data/case2_ground_to_aerial" / side).glob("*/*")):
            folder.rename(folder.with_name(f"open_{folder.name}"))
    assert evaluate("--eval_case", "all", results="one") == 0
    assert {row["direction"] for row in result_rows("one")} == {"ground to aerial"}
    assert "not scored, because their test identities are masked: aerial to ground" in log_of("one")


def test_weights_named_when_training_are_not_what_is_evaluated(trained):
    path = RUN / "config.yml"
    assert "  WEIGHT: ''" in path.read_text()
    path.write_text(path.read_text().replace("  WEIGHT: ''", "  WEIGHT: elsewhere.pth"))
    assert evaluate() == 0
    assert "logs/all/checkpoint_last.pth (the last, after epoch 2)" in Path("results/results.txt").read_text()
    assert evaluate("--config_file", path) == 1
    assert evaluate("--config_file", path, "--weight", "last") == 0
