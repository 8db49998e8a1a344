"""The two commands as the README types them, on the tiny model, and what they say when something is wrong."""

import csv
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

import eval_main
import train_main
from model import make_model
from processor.report import write
from processor.training import monitor
from utils.commands import run_command

ROOT = Path(__file__).resolve().parents[1]
HELPFUL = [f"run_path('{name}.py', run_name='__main__')" for name in ("train_main", "eval_main")] + [
    f"run_module('tools.{path.stem}', run_name='__main__')"
    for path in sorted((ROOT / "tools").glob("*.py"))
    if path.stem != "__init__"
]


@pytest.fixture
def at_work(tmp_path, monkeypatch):
    """A working directory of its own, for the relative paths that people type."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(make_tree, tiny_opts, at_work):
    """``trained(*overrides, **tree options)``: a run in logs/all on generated people; returns the data's root."""

    def build(*opts, **tree):
        root = make_tree(**tree)
        train_main.main(["--output_dir", "logs/all", *tiny_opts, "DATASETS.ROOT_DIR", str(root), *opts])
        return root

    return build


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """Drawing takes longer than all the rest; the one test that wants it undoes this."""
    monkeypatch.setattr(write, "draw_best_and_worst", lambda result, folder: [])
    monkeypatch.setattr(write, "write_page", lambda data, folder: [])
    monkeypatch.setattr(monitor, "draw_curves", lambda rows, path: None)


def status_of(main, *argv):
    return run_command(partial(main.main, [str(word) for word in argv]))


def result_rows(path):
    return json.loads((path / "results.json").read_text())["results"]


def log_of(folder):
    return "".join(path.read_text() for path in Path(folder).glob("*.log"))


def type_command(script, *words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


@pytest.mark.slow
def test_train_and_evaluate_pets09_as_the_readme_types_it(shared, tiny_opts, at_work, monkeypatch):
    root = str(shared / "data/pets09")
    sizes = ["SOLVER.STAGE2.IMS_PER_BATCH", "8", "DATALOADER.NUM_INSTANCE", "4", "SOLVER.STAGE2.EVAL_PERIOD", "2"]
    done = type_command("train_main.py", "--output_dir", "logs/all", *tiny_opts, "DATASETS.ROOT_DIR", root, *sizes)
    assert done.returncode == 0, done.stdout + done.stderr
    run = at_work / "logs/all"
    for name in ("config.yml", "train.log", "checkpoint_last.pth", "history.csv"):
        assert (run / name).is_file(), name
    assert any((run / "tensorboard").iterdir())
    log = (run / "train.log").read_text()
    for words in (
        "5 identities, 95 tracklets",
        "epoch 1 step",
        "epoch 2 step",
        "monitoring: scores of the test people",
        "Done.",
    ):
        assert words in log

    case1 = ["--custom_output_dir", "results/case1_aerial_to_ground", "--output_dir", "logs/all"]
    assert status_of(eval_main, *case1) == 0  # the word-for-word command: everything else is the run's
    assert {row["direction"] for row in result_rows(at_work / case1[1])} == {"aerial to ground"}
    case2 = ["--custom_output_dir", "results/case2_ground_to_aerial", "--output_dir", "logs/all"]
    assert status_of(eval_main, *case2, "--eval_case", "case2", "TEST.FLIP", "False") == 0
    assert {row["direction"] for row in result_rows(at_work / case2[1])} == {"ground to aerial"}
    both = ["--custom_output_dir", "results/all", "--output_dir", "logs/all", "--eval_case", "all"]
    monkeypatch.undo()
    monkeypatch.chdir(at_work)
    assert status_of(eval_main, *both, "--weight", "logs/all/checkpoint_last.pth") == 0
    rows = result_rows(at_work / "results/all")
    assert [row["direction"] for row in rows] == ["aerial to ground", "ground to aerial", "overall"] * 3
    with (at_work / "results/all/submission.csv").open(newline="") as file:
        numbers = [row["row_id"] for row in csv.DictReader(file)]
    assert numbers == [str(number) for number in range(1, 41 + 58 + 1)]
    for folder in ("case1_aerial_to_ground", "case2_ground_to_aerial"):
        for name in ("tracklet_rankings.csv", "ranked_best.png", "ranked_worst.png"):
            assert (at_work / "results/all" / folder / name).is_file()
    log = log_of(at_work / "results/all")
    assert "visual only" in log
    assert log.rstrip().endswith(str(Path("results/all/report.html")))
    assert "were read from" not in log
    weight = ["--weight", "logs/all/checkpoint_last.pth"]
    assert status_of(eval_main, *both, *weight, "TEST.PROTOCOL", "all-cameras", "TEST.MASK_ATTRIBUTES", "()") == 0
    assert log_of(at_work / "results/all").count("features were read from") == 4
    again = result_rows(at_work / "results/all")
    assert [row["protocol"] for row in again] == ["all-cameras"] * 3


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (
            train_main,
            ("examples:", "--output_dir", "--config_file", "--resume", "DATASETS.ROOT_DIR", "MODEL.PRETRAIN_PATH"),
        ),
        (
            eval_main,
            ("examples:", "--custom_output_dir", "--eval_case", "--weight", "case1", "submission", "annotated"),
        ),
    ],
)
def test_help_teaches(main, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert [word for word in words if word not in text] == []


def test_resume_continues_the_run_that_stopped(trained, tiny_opts, at_work):
    root = trained()
    opts = [*tiny_opts, "DATASETS.ROOT_DIR", str(root), "SOLVER.STAGE2.MAX_EPOCHS", "3"]
    train_main.main(["--output_dir", "logs/all", "--resume", *opts])
    log = (at_work / "logs/all/train.log").read_text()
    assert "Resumed from logs/all/checkpoint_last.pth after epoch 2" in log
    assert log.count("epoch 3 step") == 1
    assert log.count("epoch 1 step") == 1
    assert torch.load("logs/all/checkpoint_last.pth", weights_only=True)["epoch"] == 3


def test_resume_alone_takes_the_runs_own_configuration(trained, at_work):
    """The help's example: ``python train_main.py --output_dir "logs/all" --resume`` and nothing else."""
    trained()
    before = (at_work / "logs/all/config.yml").read_text()
    assert status_of(train_main, "--output_dir", "logs/all", "--resume") == 0
    assert (at_work / "logs/all/config.yml").read_text() == before


def test_overrides_after_resume_change_the_runs_own_configuration(trained, at_work):
    trained()
    assert status_of(train_main, "--output_dir", "logs/all", "--resume", "SOLVER.STAGE2.MAX_EPOCHS", 3) == 0
    assert torch.load("logs/all/checkpoint_last.pth", weights_only=True)["epoch"] == 3


def test_a_new_run_in_an_old_folder_keeps_the_old_checkpoints(trained, tiny_opts, at_work):
    root = trained()
    before = (at_work / "logs/all/checkpoint_last.pth").read_bytes()
    words = ["--output_dir", "logs/all", *tiny_opts, "DATASETS.ROOT_DIR", root, "SOLVER.STAGE2.MAX_EPOCHS", 1]
    assert status_of(train_main, *words) == 0
    assert (at_work / "logs/all/checkpoint_last.pth.old").read_bytes() == before
    assert torch.load("logs/all/checkpoint_last.pth", weights_only=True)["epoch"] == 1


def test_a_run_that_cannot_start_leaves_the_old_runs_files_alone(trained, at_work):
    """Its checkpoint must stay beside the configuration that it was trained with."""
    trained()
    before = {name: (at_work / "logs/all" / name).read_bytes() for name in ("config.yml", "checkpoint_last.pth")}
    assert status_of(train_main, "--output_dir", "logs/all", "DATASETS.ROOT_DIR", "nowhere") == 1
    assert {name: (at_work / "logs/all" / name).read_bytes() for name in before} == before


def test_resume_without_a_checkpoint_says_so_and_starts(make_tree, tiny_opts, at_work, capsys):
    root = make_tree()
    opts = [*tiny_opts, "DATASETS.ROOT_DIR", root]
    assert status_of(train_main, "--output_dir", "logs/none", "--resume", *opts) == 0
    assert "no checkpoint_last.pth in logs/none: training starts from the beginning" in capsys.readouterr().err
    assert torch.load("logs/none/checkpoint_last.pth", weights_only=True)["epoch"] == 2


def test_an_unexpected_error_leaves_its_traceback_in_the_log(make_tree, tiny_opts, at_work, monkeypatch):
    def fail(*args):
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr("processor.run.train", fail)
    words = ["--output_dir", "logs/all", *tiny_opts, "DATASETS.ROOT_DIR", make_tree()]
    assert status_of(train_main, *words) == 1
    log = log_of("logs/all")
    assert "ERROR utils.commands: RuntimeError: out of memory\n" in log
    assert "Traceback (most recent call last)" in log


@pytest.mark.parametrize(("main", "option"), [(train_main, "--output_dir"), (eval_main, "--custom_output_dir")])
def test_an_output_folder_that_cannot_be_written_is_named_in_one_line(main, option, tiny_opts, at_work, caplog):
    (at_work / "taken").write_text("a file in its place")
    assert status_of(main, option, "taken", *tiny_opts, "TEST.WEIGHT", "taken") == 1
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "Cannot write to the output folder taken" in record.getMessage()
    assert "--output_dir" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_mistake_ends_the_command_with_status_1_and_no_traceback(at_work):
    done = type_command("eval_main.py", "--output_dir", "logs/none", "SOLVER.STAGE2.BASELR", "1")
    assert done.returncode == 1
    assert "Did you mean SOLVER.STAGE2.BASE_LR" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_missing_data_set_names_its_key(tiny_opts, at_work, capsys):
    assert status_of(train_main, "--output_dir", "logs/all", *tiny_opts, "DATASETS.ROOT_DIR", "nowhere") == 1
    assert "nowhere is not a folder: set DATASETS.ROOT_DIR" in capsys.readouterr().err


def test_a_missing_checkpoint_says_what_to_type(tiny_opts, at_work, caplog):
    """The folder that was misspelt, or has no checkpoint, is not created, nor are results in it."""
    assert status_of(eval_main, "--output_dir", "logs/typo", *tiny_opts) == 1
    assert "No checkpoint_last.pth in logs/typo. Train first" in caplog.text
    assert 'python train_main.py --output_dir "logs/typo"' in caplog.text
    assert "--weight" in caplog.text
    assert status_of(eval_main, "--output_dir", "logs/typo", "--weight", "gone.pth", *tiny_opts) == 1
    assert "Weight file not found: gone.pth (--weight, TEST.WEIGHT)" in caplog.text
    assert not any(at_work.iterdir())


def test_a_config_that_was_cut_short_continues_no_run(trained, at_work, capsys):
    trained()
    path = at_work / "logs/all/config.yml"
    path.write_text(path.read_text()[:1000])
    checkpoint = (at_work / "logs/all/checkpoint_last.pth").read_bytes()
    assert status_of(train_main, "--output_dir", "logs/all", "--resume", "SOLVER.STAGE2.MAX_EPOCHS", 3) == 1
    assert "logs/all/config.yml was cut short" in capsys.readouterr().err
    assert (at_work / "logs/all/checkpoint_last.pth").read_bytes() == checkpoint


class Malicious:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.system, (f"touch {self.victim}",)


@pytest.mark.parametrize("main", [train_main, eval_main])
def test_a_malicious_checkpoint_is_refused(main, make_tree, tiny_opts, at_work, capsys):
    root = make_tree()
    torch.save({"optimizer": {}, "model": Malicious(at_work / "victim")}, "evil.pth")
    (at_work / "logs").mkdir()
    (at_work / "evil.pth").rename("logs/checkpoint_last.pth")
    options = ["--resume"] if main is train_main else []
    assert status_of(main, "--output_dir", "logs", *options, *tiny_opts, "DATASETS.ROOT_DIR", root) == 1
    assert "logs/checkpoint_last.pth was refused" in capsys.readouterr().err
    assert not (at_work / "victim").exists()


@pytest.mark.parametrize(("classes", "cameras"), [(9, 5), (4, 2)])
def test_a_checkpoint_of_other_classes_and_cameras_evaluates(classes, cameras, make_tree, tiny_opts, tiny_cfg, at_work):
    """Plain weights, as somebody else may publish them: no table of cameras inside."""
    root = make_tree()
    torch.save(make_model(tiny_cfg(), classes, cameras).state_dict(), "other.pth")
    words = ["--custom_output_dir", "results", "--weight", "other.pth", "--eval_case", "all"]
    assert status_of(eval_main, *words, *tiny_opts, "DATASETS.ROOT_DIR", root) == 0
    assert len(result_rows(at_work / "results")) == 9
    assert ("every camera counts as unknown" in log_of("results")) == (cameras == 5)


def test_a_run_evaluates_data_without_its_training_split(trained, at_work):
    root = trained()
    (root / "train").rename(root / "moved")
    assert status_of(eval_main, "--custom_output_dir", "results", "--output_dir", "logs/all") == 0
    assert result_rows(at_work / "results")


@pytest.mark.parametrize("damage", ["empty", "no frames", "a file"])
def test_a_run_evaluates_data_with_a_damaged_training_split(damage, trained, at_work):
    root = trained()
    (root / "train").rename(root / "moved")
    if damage == "a file":
        (root / "train").write_text("not a folder")
    else:
        (root / "train").mkdir()
        if damage == "no frames":
            (root / "train/1/c0n0").mkdir(parents=True)
    assert status_of(eval_main, "--custom_output_dir", "results", "--output_dir", "logs/all") == 0
    assert result_rows(at_work / "results")


def test_weights_without_cameras_evaluate_data_without_a_training_split(make_tree, tiny_opts, tiny_cfg, at_work):
    root = make_tree()
    torch.save(make_model(tiny_cfg(), 4, 2).state_dict(), "other.pth")
    (root / "train").rename(root / "moved")
    words = ["--custom_output_dir", "results", "--weight", "other.pth"]
    assert status_of(eval_main, *words, *tiny_opts, "DATASETS.ROOT_DIR", root) == 0
    assert result_rows(at_work / "results")
    assert "every camera counts as unknown" in log_of("results")


def test_a_copy_with_one_masked_direction_scores_the_other(trained, at_work):
    root = trained("SOLVER.STAGE2.EVAL_PERIOD", "1", masked=True)
    for side in ("query", "gallery"):
        for folder in sorted((root / "case2_ground_to_aerial" / side).glob("*/*")):
            folder.rename(folder.with_name(f"open_{folder.name}"))
    assert status_of(eval_main, "--custom_output_dir", "results", "--output_dir", "logs/all", "--eval_case", "all") == 0
    assert {row["direction"] for row in result_rows(at_work / "results")} == {"ground to aerial"}
    assert (at_work / "results/submission.csv").is_file()
    assert "not scored, because their test identities are masked: aerial to ground" in log_of("results")
    assert status_of(train_main, "--output_dir", "logs/all", "--resume", "SOLVER.STAGE2.MAX_EPOCHS", 3) == 0
    log = (at_work / "logs/all/train.log").read_text()
    assert "there is nothing to score" in log.partition("Resumed")[0]
    assert "ground to aerial" in log.partition("Resumed")[2]


def test_a_checkpoint_alone_knows_its_network(trained, at_work):
    root = trained("MODEL.POOLING", "mean")
    (at_work / "logs/all/checkpoint_last.pth").rename(at_work / "mine.pth")
    options = ["--weight", "mine.pth", "--custom_output_dir", "results/alone"]
    assert status_of(eval_main, *options, "DATASETS.ROOT_DIR", root) == 0
    assert "never trained" not in log_of("results/alone")


def test_weights_named_when_training_are_not_what_is_evaluated(trained, at_work):
    trained("TEST.WEIGHT", "elsewhere.pth")
    assert "  WEIGHT: elsewhere.pth" in (at_work / "logs/all/config.yml").read_text()
    assert status_of(eval_main, "--output_dir", "logs/all") == 0
    results = (at_work / "logs/all/results/results.txt").read_text()
    assert "logs/all/checkpoint_last.pth (the last, after epoch 2)" in results
    file = ("--config_file", "logs/all/config.yml")
    assert status_of(eval_main, *file, "--output_dir", "logs/all") == 1
    assert status_of(eval_main, *file, "--output_dir", "logs/all", "--weight", "last") == 0


def test_a_switch_that_differs_from_training_is_a_warning(trained, at_work):
    trained()
    options = ["--output_dir", "logs/all", "--custom_output_dir", "results/other"]
    assert status_of(eval_main, *options, "MODEL.POOLING", "mean") == 0
    log = log_of("results/other")
    assert "MODEL.POOLING is mean here, but the checkpoint was trained with attention" in log


def test_an_evaluation_replaces_all_files_of_an_earlier_one(trained, at_work):
    trained()
    options = ["--output_dir", "logs/all", "--custom_output_dir", "results/here"]
    assert status_of(eval_main, *options, "--eval_case", "all", "TEST.RE_RANKING", "True") == 0
    here = at_work / "results/here"
    (here / "notes.txt").write_text("mine")
    assert (here / "submission_reranked.csv").is_file()
    assert status_of(eval_main, *options, "--eval_case", "case1") == 0
    assert not list(here.rglob("*reranked*"))
    assert not list(here.glob("submission*"))
    assert not list(here.glob("case*/*.csv"))
    assert (here / "tracklet_rankings.csv").is_file()
    assert (here / "notes.txt").is_file()


def test_evaluation_is_repeatable(trained, at_work):
    trained()
    for folder in ("first", "second"):
        assert status_of(eval_main, "--custom_output_dir", folder, "--output_dir", "logs/all") == 0
    assert result_rows(at_work / "first") == result_rows(at_work / "second")


def test_masked_test_people_are_ranked_but_not_scored(trained, at_work):
    trained("SOLVER.STAGE2.EVAL_PERIOD", "1", masked=True)
    assert "masked" in log_of("logs/all")
    assert status_of(eval_main, "--custom_output_dir", "results", "--output_dir", "logs/all", "--eval_case", "all") == 0
    assert (at_work / "results/submission.csv").is_file()
    assert not (at_work / "results/results.json").exists()
    assert "masked" in log_of("results")


def test_a_direction_that_is_not_there_is_named(trained, at_work, capsys):
    root = trained()
    (root / "case2_ground_to_aerial").rename(root / "moved")
    assert status_of(eval_main, "--output_dir", "logs/all", "--eval_case", "case2") == 1
    assert "DATASETS.EVAL_CASE is case2" in capsys.readouterr().err


def test_attributes_of_the_training_data_do_not_mask_other_data(trained, at_work, capsys):
    """A checkpoint's config names AG-VPReID's columns, whose codes mean other things in DetReIDX."""
    trained()
    assert status_of(eval_main, "--output_dir", "logs/all", "DATASETS.NAMES", "detreidx") == 1
    message = capsys.readouterr().err
    assert "TEST.MASK_ATTRIBUTES must be among attribute1" in message
    assert '"()" for no mask' in message


def test_fewer_identities_than_a_batch_holds_names_the_keys(make_tree, tiny_opts, at_work, capsys):
    root = make_tree(train=(1, 4))
    opts = [*tiny_opts, "SOLVER.STAGE2.IMS_PER_BATCH", "6", "DATASETS.ROOT_DIR", root]
    assert status_of(train_main, "--output_dir", "logs/all", *opts) == 1
    message = capsys.readouterr().err
    assert "SOLVER.STAGE2.IMS_PER_BATCH (6) / DATALOADER.NUM_INSTANCE (2) = 3 identities" in message
    assert "lower SOLVER.STAGE2.IMS_PER_BATCH to at most 4" in message
    assert not Path("logs/all/checkpoint_last.pth").exists()


def test_one_person_is_too_few_to_train_on(make_tree, tiny_opts, at_work, capsys):
    root = make_tree(train=(1,))
    assert status_of(train_main, "--output_dir", "logs/all", *tiny_opts, "DATASETS.ROOT_DIR", root) == 1
    assert "Training needs at least two people, but the training set has 1." in capsys.readouterr().err


def test_an_unreadable_frame_during_training_is_a_warning(make_tree, tiny_opts, at_work):
    root = make_tree()
    broken = sorted((root / "train/1/c0n0").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:200])
    assert status_of(train_main, "--output_dir", "logs/all", *tiny_opts, "DATASETS.ROOT_DIR", root) == 0
    log = log_of("logs/all")
    assert str(broken) in log
    assert "nearest readable frame" in log
    assert Path("logs/all/checkpoint_last.pth").is_file()


def test_an_identity_with_one_tracklet_trains(make_tree, tiny_opts, at_work):
    root = make_tree(tracklets=1)
    for tracklet in (root / "train/6").glob("c4*"):
        tracklet.rename(root / "moved")
    assert len(list((root / "train/6").iterdir())) == 1
    assert status_of(train_main, "--output_dir", "logs/all", *tiny_opts, "DATASETS.ROOT_DIR", root) == 0
    assert Path("logs/all/checkpoint_last.pth").is_file()


def test_no_true_match_ends_in_words(trained, capsys):
    root = trained()
    for number, person in enumerate(sorted((root / "case1_aerial_to_ground/gallery").iterdir())):
        person.rename(person.with_name(str(70 + number)))
    assert status_of(eval_main, "--output_dir", "logs/all") == 1
    assert "No query has a true match" in capsys.readouterr().err


@pytest.mark.parametrize("command", HELPFUL)
def test_help_does_not_wait_for_torch(command):
    script = f"import runpy, sys; sys.argv = ['x', '--help']; sys.modules['torch'] = None; runpy.{command}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")


def test_weights_only_writes_a_file_that_evaluates_alike(make_tree, tiny_opts, at_work):
    root = make_tree()
    train_main.main(["--output_dir", "run", "--weights_only", *tiny_opts, "DATASETS.ROOT_DIR", str(root)])
    log = Path("run/train.log").read_text()
    assert "What differs from the recipe (config.yml holds all): " in log
    assert "MARGIN" not in log  # a key at its default
    for name, weight in (("whole", "checkpoint_last.pth"), ("alone", "weights_last.safetensors")):
        eval_main.main(["--custom_output_dir", name, "--output_dir", "run", "--weight", f"run/{weight}"])
    whole, alone = result_rows(Path("whole")), result_rows(Path("alone"))
    assert whole
    assert alone == whole
    sizes = [Path("run", name).stat().st_size for name in ("weights_last.safetensors", "checkpoint_last.pth")]
    assert sizes[0] < 0.4 * sizes[1]
