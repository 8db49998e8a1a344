"""tools/make_validation_split.py: its messages, and that the data check accepts what it writes."""

import pytest

from datasets.check.check import check_dataset
from datasets.problems import WARNING
from datasets.readers import validation_split
from tools import make_validation_split
from tools.make_validation_split import main

CASE1, CASE2 = "case1_aerial_to_ground", "case2_ground_to_aerial"
PIDS = tuple(range(1, 11))


def test_lists_of_frames_are_kept_where_asked(make_tree, tmp_path):
    source, kept = make_tree(train=PIDS), tmp_path / "kept"
    main([str(source), str(tmp_path / "validation"), "--index_dir", str(kept)])
    assert len(list(kept.glob("train-*.arrow"))) == 2  # the source's and the new copy's


def test_the_command_and_the_doctor(make_tree, tmp_path, tiny_cfg, caplog):
    caplog.set_level("INFO")
    source, output = make_tree(train=PIDS), tmp_path / "validation"
    main([str(source), str(output), "--fraction", "0.3", "--link", "hard"])
    lines = [line.split() for line in caplog.text.splitlines()]
    assert f"{CASE2}/gallery 4 8 48 80 m 8".split() in lines
    assert f"{CASE1}/gallery 3 6 36 ground 6".split() in lines
    report = check_dataset(tiny_cfg("DATASETS.ROOT_DIR", output))
    assert report.can_train
    assert not report.problems.of_level(WARNING)
    with pytest.raises(SystemExit):
        main([str(source), str(output)])
    with pytest.raises(SystemExit):
        main([str(source), str(tmp_path / "x"), "--fraction", "1"])


def test_a_missing_source_is_not_blamed_on_the_config_alone(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path / "nowhere"), str(tmp_path / "validation")])
    error = capsys.readouterr().err
    assert f"{tmp_path}/nowhere/train is not a folder" in error
    assert "or this command's own option for the folder" in error


def test_the_defaults_of_the_command_are_those_of_the_split():
    defaults = validation_split.SplitSettings()
    expected = (defaults.fraction, defaults.distractor_fraction, defaults.seed, validation_split.LINKS)
    command = make_validation_split
    assert expected == (command.FRACTION, command.DISTRACTOR_FRACTION, command.SEED, command.LINKS)
