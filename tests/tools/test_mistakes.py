"""Mistakes on the command line: a usage error names the option, and nothing is written."""

import importlib
import re
import sys

import pytest

from utils.commands import run_command

DESCRIBE = ["describe", "data"]
CUT = ["clip.avi", "boxes.txt", "--output", "out"]
FIND = ["find", "a.npz"]
TEXT = ["--text", "man", "--text_tower", "t.pt"]
MISTAKES = [
    ("tools.export", ["onnx", "--output", __file__], "exists, and is no .onnx file that could be replaced"),
    ("eval_main", ["--eval_case", "case4"], "--eval_case"),
    ("tools.cut_tracklets", [*CUT, "--margin", "-0.1"], "--margin: must be a finite number from 0 up, got '-0.1'"),
    ("tools.dataset", ["check", "--workers", "1000000"], "--workers: must be an integer from 1 to 256, got '1000000'"),
    ("tools.dataset", [*DESCRIBE, "--pattern", "x", "--table", "y"], "not allowed with argument"),
    ("tools.dataset", ["describe"], "the following arguments are required: root"),
    ("tools.dataset", ["resize", "a", "b", "--size", "0", "1"], "--size: must be an integer from 1 up"),
    ("tools.dataset", ["split"], "the following arguments are required: --output"),
    ("tools.extract_features", ["--network", "a", "--weight", "best", "--tracklets", "b", "--output", "c"], "--weight"),
    ("tools.plan_run", ["--identities", "6"], "--identities"),
    ("tools.plan_run", ["--tracklets", "1"], "--tracklets"),
    ("tools.plan_run", ["--tflops", "0"], "--tflops"),
    ("tools.render_synthetic", ["--train_people", "0", "--test_people", "0"], "must not both be 0"),
    ("tools.search", FIND, "name the queries: --queries FEATURES"),
    ("tools.search", ["find", "--key", "a"], "name feature files to search in, or a table by --index"),
    ("tools.search", [*FIND, "--index", "b.lance", "--key", "a"], "or a table by --index"),
    ("tools.search", [*FIND, "--text", "man"], "--text and --text_tower"),
    ("tools.search", [*FIND, *TEXT, "--key", "a"], "--text goes without"),
    ("tools.search", [*FIND, "--key", "a", "--where", "pid=3"], "--where: expected camera=3,5"),
]


@pytest.mark.parametrize(("command", "words", "message"), MISTAKES)
def test_a_mistake_names_its_option(command, words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(command).main(words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


RUN = ["--output_dir", "run"]
PEOPLE = ["--tracklets", ".", "--output", "p.npz"]
EARLY = [  # below the options: a run is in run/, a table of own data in own/
    ("train_main", ["DATASETS.NAMES", "mar"], "DATASETS.NAMES must be one of agvpreid, .*, mars, got 'mar'"),
    ("train_main", ["SOLVER.BASE_LR", "1"], "Did you mean SOLVER.STAGE2.BASE_LR"),
    ("train_main", ["DATASETS.ROOT_DIR", "own"], "own/tracklets.csv is a table of own data: add DATASETS.NAMES folder"),
    ("train_main", ["MODEL.PRETRAIN_PATH", "a.pt"], r"a\.pt is not there, seen from /.* \(MODEL.PRETRAIN_PATH\)"),
    ("train_main", ["--resume", "MODEL.INIT_WEIGHT", "/a.pt"], r"^/a\.pt is not there \(MODEL.INIT_WEIGHT\)"),
    ("eval_main", [*RUN, "DATASETS.ROOT_DIR", "own"], "add DATASETS.NAMES folder"),
    ("eval_main", [*RUN, "--weight", "a.pth"], r"a\.pth is not there, seen from /.* \(--weight, TEST.WEIGHT\)"),
    ("eval_main", [*RUN, "TEST.MASK", "predicted", "TEST.TEXT_TOWER", "a"], r"is not there.* \(TEST.TEXT_TOWER\)"),
    ("eval_main", ["--output_dir", "nowhere"], "checkpoint_last.pth is not there: train first"),
    ("tools.attention_maps", [*RUN, "--query", "a", "--gallery", "b", "TEST.FLIPP", "1"], "Did you mean TEST.FLIP?"),
    ("tools.dataset", ["check", "DATASETS.ROOT_DIR", "own"], "add DATASETS.NAMES folder"),
    ("tools.export", ["onnx", "--output", "a.onnx", *RUN, "TEST.FLIPP", "1"], "Did you mean TEST.FLIP?"),
    ("tools.extract_features", [*RUN, *PEOPLE, "TEST.FLIPP", "1"], "Did you mean TEST.FLIP?"),
    ("tools.extract_features", [*RUN, "--tracklets", "gone", "--output", "p.npz"], r"^gone is not there \(--tracklets"),
    ("tools.extract_features", [*RUN, *PEOPLE, "--text_tower", "gone.pt"], r"^gone\.pt is not there .*--text_tower"),
    ("tools.plan_run", ["DATASETS.ROOT_DIR", "own"], "add DATASETS.NAMES folder"),
    ("tools.train_attributes", [*RUN, "TEST.FLIPP", "1"], "Did you mean TEST.FLIP?"),
]


@pytest.mark.parametrize(("command", "words", "message"), EARLY)
def test_a_mistake_in_keys_and_files_is_answered_before_torch_is_imported(
    command, words, message, caplog, tmp_path, monkeypatch
):
    for name in ("run/checkpoint_last.pth", "own/tracklets.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module(command).main
    for name in ("processor.run", "processor.evaluation.open_run", "processor.export", "datasets.build"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run_command(lambda: main(words)) == 1
    assert re.search(message, caplog.messages[-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "run"]
