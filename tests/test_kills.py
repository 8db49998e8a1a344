"""Training that is killed again and again, at random moments, ends where an undisturbed run ends."""

import os
import random
import sys
import time
from functools import partial

import pytest
import torch

import train_main
from configs.load import BEST_CHECKPOINT, LAST_CHECKPOINT
from processor.training.state import PREVIOUS_CHECKPOINT
from utils.checkpoint import read_checkpoint
from utils.commands import run_command

NUM_KILLS = 30
DAMAGED_SHARE = 0.3
TIMEOUT = 120  # seconds that no run takes
SAVE_EVERY_STEP = ("SOLVER.STAGE2.CHECKPOINT_MINUTES", "1e-9")


def train(words, log):
    torch.set_num_threads(1)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(run_command(partial(train_main.main, words)))


def without_config(path):
    """The content of a checkpoint, but for its configuration, which names the folder of the run."""
    return {name: value for name, value in read_checkpoint(path).items() if name != "config"}


@pytest.mark.forks
@pytest.mark.slow
def test_thirty_kills_change_nothing(make_tree, tiny_opts, tmp_path, monkeypatch, assert_same, run_forked):
    # Drawing takes longer than an epoch.
    monkeypatch.setattr("processor.training.monitor.draw_curves", lambda rows, path: None)
    options = ["DATASETS.ROOT_DIR", str(make_tree()), "DATASETS.VALIDATION_DIR", str(make_tree("split", test=(30, 31)))]
    options += ["SOLVER.STAGE2.EVAL_PERIOD", "1", "SOLVER.STAGE2.MAX_EPOCHS", "2", *SAVE_EVERY_STEP]

    def words(output):
        return ["--resume", "--output_dir", str(output), *tiny_opts, *options]

    began = time.monotonic()
    assert run_forked(TIMEOUT, train, words(tmp_path / "undisturbed"), tmp_path / "undisturbed.txt") == 0
    duration = time.monotonic() - began
    names = (LAST_CHECKPOINT, BEST_CHECKPOINT)
    expected = {name: without_config(tmp_path / "undisturbed" / name) for name in names}

    chance = random.Random(0)
    kills = damages = runs = 0
    while kills < NUM_KILLS:
        runs += 1
        output, log = tmp_path / f"killed{runs}", tmp_path / f"killed{runs}.txt"
        while True:
            seconds = chance.uniform(0, duration) if kills < NUM_KILLS else TIMEOUT
            status = run_forked(seconds, train, words(output), log)
            if status is not None:
                assert status == 0, log.read_text()
                break
            kills += 1
            # After a damaged one was set aside there is only the one before.
            both = all((output / name).exists() for name in (LAST_CHECKPOINT, PREVIOUS_CHECKPOINT))
            if both and chance.random() < DAMAGED_SHARE:
                os.truncate(output / LAST_CHECKPOINT, chance.randrange((output / LAST_CHECKPOINT).stat().st_size))
                damages += 1
        for name in names:
            assert_same(without_config(output / name), expected[name], f"{output.name}/{name}")
        assert not [path.name for path in output.iterdir() if path.name.startswith(".checkpoint")]
    assert damages > 0
