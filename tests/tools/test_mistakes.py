"""Mistakes on the command line: a usage error names the option, and nothing is written."""

import importlib

import pytest

DESCRIBE = ["describe", "data"]
CUT = ["clip.avi", "boxes.txt", "--output", "out"]
FIND = ["find", "a.npz"]
TEXT = ["--text", "man", "--text_tower", "t.pt"]
MISTAKES = [
    ("tools.export", ["onnx", "--output", __file__], "exists, and is no .onnx file that could be replaced"),
    ("eval_main", ["--eval_case", "case4"], "--eval_case"),
    ("tools.cut_tracklets", [*CUT, "--margin", "-0.1"], "--margin: must be a finite number from 0 up, got '-0.1'"),
    ("tools.cut_tracklets", [*CUT, "--stride", "0"], "--stride: must be an integer from 1 up, got '0'"),
    ("tools.dataset", ["check", "--sample", "few"], "--sample: must be an integer from 0 up, got 'few'"),
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
