"""tools/dataset.py, check: its exit status, the JSON file, and interruptions."""

import json

from datasets.check import check
from tools.dataset import main

TRACKLET = "train/1/c0n0"


def test_the_command(make_tree, tmp_path, tiny_opts, capsys):
    root = make_tree()
    path = tmp_path / "out/report.json"
    words = ["check", "--workers", "1", "--json", str(path), *tiny_opts, "DATASETS.ROOT_DIR", str(root)]
    assert main(words) == 0
    assert "Training can start; blocking problems: 0, warnings: 0." in capsys.readouterr().out
    assert json.loads(path.read_text())["can_train"] is True

    for number in range(7):
        (root / TRACKLET / f"{number}.jpg").write_bytes(b"")
    assert main(words) == 1
    text = capsys.readouterr().out
    assert "... and 2 more" in text
    # 7 frame names, and the share of bad frames.
    assert "Training cannot start; blocking problems: 8, warnings:" in text
    content = json.loads(path.read_text())
    assert content["can_train"] is False
    (names,) = [finding for finding in content["findings"] if finding["check"] == "frame name"]
    assert (names["level"], names["count"], len(names["places"])) == ("blocking", 7, 7)


def test_a_bad_command_line(caplog):
    assert main(["check", "DATASETS.ROOT", "x"]) == 1
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
    assert "The check was interrupted. Nothing blocks training so far;" in capsys.readouterr().out
