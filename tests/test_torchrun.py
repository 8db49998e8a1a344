"""Both commands under torchrun with two processes: a run that is killed goes on, one that fails says why."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import eval_main
import train_main
from processor.report import write
from utils.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[1]
FAILING = str(ROOT / "tests/processor/process_scenarios.py")
STEPS_PER_EPOCH = 2  # batches of 6 clips from 16 tracklets, as the log says
MIDDLE_OF_EPOCH_2 = str(STEPS_PER_EPOCH + 2)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def options(tmp_path_factory, write_tree, tiny_opts):
    """Options of train_main.py, but for the folder."""
    root = write_tree(tmp_path_factory.mktemp("data") / "tree")
    sizes = ["SOLVER.STAGE2.IMS_PER_BATCH", "6", "SOLVER.STAGE2.LOG_PERIOD", "1", "SOLVER.STAGE2.EVAL_PERIOD", "1"]
    return [*tiny_opts, "DATASETS.ROOT_DIR", str(root), *sizes]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, options):
    """Folder of a run by two processes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = torchrun("train_main.py", "--output_dir", folder, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    log = (folder / "train.log").read_text()
    assert [log.count(words) for words in ("Process 0 of 2, on cpu", "Done.", "py.warnings")] == [1, 1, 0]
    return folder


def torchrun(*words, restarts=0):
    """Run a script with two processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launch, f"--max-restarts={restarts}", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def history(folder):
    with (folder / "history.csv").open(newline="") as file:
        return [{name: row[name] for name in ("epoch", "total", "monitoring_mAP")} for row in csv.DictReader(file)]


@pytest.mark.parametrize(("minutes", "last_save"), [("0", "epoch 1 and 0 steps"), ("1e-9", "epoch 1 and 1 steps")])
def test_a_killed_process_is_restarted_and_the_run_ends_as_if_undisturbed(
    minutes, last_save, undisturbed, options, tmp_path, assert_same
):
    """With checkpoints between epochs only, and after every step."""
    words = ["--output_dir", tmp_path, *options, "SOLVER.STAGE2.CHECKPOINT_MINUTES", minutes]
    done = torchrun(FAILING, "fail", "die", MIDDLE_OF_EPOCH_2, *words, restarts=1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed (exitcode: -9) local_rank: 1" in done.stderr
    before, restarted, after = (tmp_path / "train.log").read_text().partition("torchrun restarted them all")
    assert restarted
    assert f"epoch 2 step 1/{STEPS_PER_EPOCH}" in before
    assert "epoch 2: " not in before  # the line at the end of an epoch
    assert f"Resumed from {tmp_path}/checkpoint_last.pth after {last_save} of the next" in after
    assert "epoch 1 step" not in after
    actual, expected = (read_checkpoint(folder / "checkpoint_last.pth") for folder in (tmp_path, undisturbed))
    assert expected["epoch"] == 2
    first, second = expected["random_states"]  # of dropout, one per process
    assert not torch.equal(first["cpu"], second["cpu"])
    assert_same(*({key: value for key, value in content.items() if key != "config"} for content in (actual, expected)))
    assert history(tmp_path) == history(undisturbed)
    assert [row["epoch"] for row in history(undisturbed)] == ["1", "2"]
    assert not list(tmp_path.glob("*.old"))


def test_an_error_in_one_process_ends_the_job_and_is_in_the_log(options, tmp_path):
    done = torchrun(FAILING, "fail", "raise", MIDDLE_OF_EPOCH_2, "--output_dir", tmp_path, *options)
    assert done.returncode == 1, done.stdout + done.stderr
    log = (tmp_path / "train.log").read_text()
    errors = [line for line in log.splitlines() if "the disk of process 1 is gone" in line and "ERROR" in line]
    of_main, own = sorted(errors, key=lambda line: "[process 1]" in line)
    assert "[process 1]" in own
    assert "Process 1 failed: OSError: the disk of process 1 is gone" in of_main
    assert 'raise OSError("the disk of process 1 is gone")' in log  # of the traceback
    assert "Done." not in log
    assert read_checkpoint(tmp_path / "checkpoint_last.pth")["epoch"] == 1


def test_a_run_of_two_processes_goes_on_with_one(options, tmp_path):
    """Without dropout, whose masks depend on the number of processes."""
    words = [*options, "MODEL.PROMPT_DROPOUT", "0.0"]
    run, alone = tmp_path / "run", tmp_path / "alone"
    done = torchrun("train_main.py", "--output_dir", run, *words, "SOLVER.STAGE2.MAX_EPOCHS", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    train_main.main(["--resume", "--output_dir", str(run), *words])
    train_main.main(["--output_dir", str(alone), *words])
    totals, expected = ([float(row["total"]) for row in history(folder)] for folder in (run, alone))
    assert len(expected) == 2
    assert totals == pytest.approx(expected, rel=1e-4)


def read_rounded(path):
    """Thresholds are distances, which another split into batches rounds otherwise."""
    return json.loads(path.read_text(), parse_float=lambda number: round(float(number), 4))


def test_evaluation_writes_what_one_process_writes(undisturbed, tmp_path, monkeypatch):
    several, alone = tmp_path / "several", tmp_path / "alone"
    words = ["--output_dir", str(undisturbed), "--eval_case", "all", "TEST.SAVE_DISTANCES", "True"]
    done = torchrun("eval_main.py", "--custom_output_dir", several, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.setattr(write, "draw_best_and_worst", lambda result, folder: [])
    monkeypatch.setattr(write, "write_page", lambda *parts: [])
    eval_main.main(["--custom_output_dir", str(alone), *words])
    results = read_rounded(alone / "results.json")
    assert len(results["results"]) == 9  # two directions and overall, each visual, with attributes, and by these alone
    assert read_rounded(several / "results.json") == results
    tables = sorted(path.relative_to(alone) for path in alone.rglob("*.csv"))
    # Scores of queries; rankings of both directions and the submission, without and with annotated attributes.
    assert len(tables) == 7
    for table in tables:
        assert (several / table).read_text() == (alone / table).read_text(), table
    for path in sorted(alone.rglob("distmat*.npz")):
        with np.load(path) as expected, np.load(several / path.relative_to(alone)) as actual:
            np.testing.assert_allclose(actual["distmat"], expected["distmat"], atol=1e-5)
