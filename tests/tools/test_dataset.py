"""tools/dataset.py, check: its exit status, the JSON file, and interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasets.check import check
from tools.dataset import main

TRACKLET = "train/1/c0n0"


def test_the_command(make_tree, tmp_path, tiny_opts, capsys):
    root = make_tree()
    path = tmp_path / "out/report.json"
    words = ["check", "--workers", "1", "--json", str(path), *tiny_opts, "DATASETS.ROOT_DIR", str(root)]
    assert main(words) == 0
    assert "Training can start: no blocking problems, no warnings." in capsys.readouterr().out
    assert json.loads(path.read_text())["can_train"] is True

    for number in range(7):
        (root / TRACKLET / f"{number}.jpg").write_bytes(b"")
    assert main(words) == 1
    text = capsys.readouterr().out
    assert "... and 2 more" in text
    # 7 frame names, and the share of bad frames.
    assert "Training cannot start: 2 kinds of blocking problems (8 places)." in text
    content = json.loads(path.read_text())
    assert content["can_train"] is False
    (names,) = [finding for finding in content["findings"] if finding["check"] == "frame name"]
    assert (names["level"], names["count"], len(names["places"])) == ("blocking", 7, 7)


def test_a_bad_command_line(caplog):
    assert main(["check", "DATASETS.ROOTDIR", "x"]) == 1
    assert "Did you mean DATASETS.ROOT_DIR?" in caplog.text


def test_an_interruption_keeps_what_was_found(make_tree, tmp_path, tiny_opts, capsys, monkeypatch):
    root = make_tree()
    sorted((root / TRACKLET).iterdir())[0].write_bytes(b"")
    examine, seen = check.examine_tracklet, []

    def interrupt(split, tracklet, size, sample):
        seen.append(tracklet)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return examine(split, tracklet, size, sample)

    monkeypatch.setattr(check, "examine_tracklet", interrupt)
    path = tmp_path / "report.json"
    assert main(["check", "--workers", "1", "--json", str(path), *tiny_opts, "DATASETS.ROOT_DIR", str(root)]) == 130
    content = json.loads(path.read_text())
    assert (content["complete"], content["can_train"]) == (False, None)
    assert content["splits"]["train"]["tracklets"] == 2
    assert "empty frame" in {finding["check"] for finding in content["findings"]}
    assert "The check was interrupted. No blocking problem was found so far." in capsys.readouterr().out


def listen_to_ctrl_c():
    """A suite started in the background (CI) ignores SIGINT, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_ctrl_c_ends_the_processes(make_tree, tmp_path, tiny_opts):
    root = make_tree(tracklets=6, num_frames=20)
    path = tmp_path / "report.json"
    words = ["-m", "tools.dataset", "check", "--workers", "2", "--json", str(path), *tiny_opts]
    words += ["INPUT.SIZE_TRAIN", "(1000, 1000)", "INPUT.SIZE_TEST", "(1000, 1000)", "DATASETS.ROOT_DIR", str(root)]
    process = subprocess.Popen(
        [sys.executable, *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=listen_to_ctrl_c,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(children.read_text().split()) < 2:  # without a terminal there is no bar to watch
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert json.loads(path.read_text())["complete"] is False
