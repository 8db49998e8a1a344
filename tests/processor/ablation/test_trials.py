"""Lists of variants, and the commands that are made of them."""

import sys

import pytest

from processor.ablation import trials
from processor.ablation.trials import LOG, ROOT, Trial, read_list, run_trials
from tools.ablate import parse_args

LIST = """
config: configs/demo.yml
base: {MODEL.POOLING: mean}
variants:
  attention pooling: {MODEL.POOLING: attention}
  four clips: {TEST.NUM_CLIPS: 4}
"""


@pytest.fixture
def variants(tmp_path):
    path = tmp_path / "list.yml"
    path.write_text(LIST)
    return read_list(path, ["DATASETS.ROOT_DIR", "data"])


def test_a_change_of_test_keys_takes_the_weights_of_the_base(variants, tmp_path):
    assert [(each.name, each.is_trained) for each in variants] == [
        ("base", True),
        ("attention pooling", True),
        ("four clips", False),
    ]
    _, trained, tested = (Trial(each, 1, tmp_path) for each in variants)
    train, evaluate = trained.commands()
    own = str(tmp_path / "attention_pooling" / "seed-1")
    assert train[2:] == (
        f"--config_file configs/demo.yml --output_dir {own} --resume MODEL.POOLING attention DATASETS.ROOT_DIR data "
        "SOLVER.SEED 1"
    ).split(" ")
    assert evaluate[2:] == f"--output_dir {own} --custom_output_dir {own}/results --eval_case all".split(" ")
    (evaluate,) = tested.commands()
    assert evaluate[3] == str(tmp_path / "base" / "seed-1")
    assert "TEST.NUM_CLIPS 4" in " ".join(evaluate)


def test_other_weights_of_clip_are_trained_and_the_best_checkpoint_is_evaluated(tmp_path):
    path = tmp_path / "list.yml"
    path.write_text(LIST.replace("TEST.NUM_CLIPS: 4", "MODEL.PRETRAIN_PATH: ViT-B-16.pt"))
    variant = read_list(path, ["TEST.WEIGHT", "best"])[-1]
    assert variant.is_trained
    assert Trial(variant, 0, tmp_path).commands()[1][-2:] == ["TEST.WEIGHT", "best"]


def test_keys_may_follow_the_cards():
    args = parse_args(["list.yml", "--cards", "0,1", "DATASETS.ROOT_DIR", "data"])
    assert (args.cards, args.opts) == (["0", "1"], ["DATASETS.ROOT_DIR", "data"])


@pytest.mark.parametrize("path", sorted((ROOT / "configs/ablation").glob("*.yml")), ids=lambda path: path.stem)
def test_lists_that_we_ship_can_be_run(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    base, *others = read_list(path, [])
    assert base.is_trained
    assert any(each.is_trained for each in others) != (path.stem == "testing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("config: configs/demo.yml", ""), "must name the recipe's file as config"),
        (
            ("config: configs/demo.yml", "config: configs/demon.yml"),
            r"the recipe configs/demon.yml \(config\) is not there",
        ),
        (("base:", "bass:"), "holds bass; a list has config, base and variants"),
        (("base:", "7:\nbass:"), "holds 7, bass; a list has"),
        (
            ("POOLING: attention", "POOLING: mean"),
            "attention pooling: it changes nothing: the base has these values, too",
        ),
        (("TEST.NUM_CLIPS", "TEST.NUM_CLIP"), "list.yml, four clips: Unknown config key TEST.NUM_CLIP"),
        (("four clips", "attention+pooling"), "'attention pooling' and 'attention.pooling' would share a folder"),
        (("TEST.NUM_CLIPS: 4", "OUTPUT_DIR: a"), "four clips: every run has its own OUTPUT_DIR: leave it out"),
        (("{TEST.NUM_CLIPS: 4}", "4"), "'four clips' must be a mapping of config keys"),
        (("{MODEL.POOLING: mean}", "mean"), "base must be a mapping of config keys, got 'mean'"),
    ],
)
def test_a_list_that_cannot_be_run_is_refused(tmp_path, change, message):
    path = tmp_path / "list.yml"
    path.write_text(LIST.replace(*change))
    with pytest.raises(ValueError, match=message):
        read_list(path, [])


def test_trials_go_on_where_they_were_stopped_and_a_failure_stops_no_other(variants, tmp_path, monkeypatch, caplog):
    """The base fails at first; its second seed and the others are made, then the base and what takes its weights."""
    caplog.set_level("INFO")
    is_broken = tmp_path / "broken"
    is_broken.touch()
    script = (
        "import pathlib, sys; results, name, seed = sys.argv[1:]; "
        f"sys.exit('no weights') if name + seed == 'base0' and pathlib.Path({str(is_broken)!r}).exists() else 0; "
        "path = pathlib.Path(results); path.mkdir(parents=True, exist_ok=True); (path / 'results.json').touch(); "
        "features = path / 'features'; features.mkdir(exist_ok=True); (features / name).touch()"
    )
    made = []

    def commands(trial):
        made.append((trial.variant.name, trial.seed))
        return [[sys.executable, "-c", script, str(trial.results), trial.variant.name, str(trial.seed)]]

    monkeypatch.setattr(trials.Trial, "commands", commands)
    output = tmp_path / "out"
    failed, left_out = run_trials(variants, 2, output, num_jobs=2)
    assert (failed.variant.name, failed.seed, len(made)) == ("base", 0, 5)
    assert f"base, seed 0: failed ({failed.folder / LOG}): no weights" in caplog.text
    assert (left_out.variant.name, left_out.seed) == ("four clips", 0)  # not by the weights of half a training
    assert "four clips, seed 0: left out: it needs the base with this seed" in caplog.text
    reused = output / "four_clips/seed-1/results/features"
    assert sorted(path.name for path in reused.iterdir()) == ["base", "four clips"]
    is_broken.unlink()
    made.clear()
    assert run_trials(variants, 2, output) == []
    assert made == [("base", 0), ("four clips", 0)]


def test_a_folder_of_other_runs_is_refused(variants, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "_run_in_parallel", lambda *arguments: [])
    run_trials(variants, 1, tmp_path)
    run_trials(variants[:2], 1, tmp_path)
    variants[1].changes["MODEL.POOLING"] = "mean"
    with pytest.raises(ValueError, match=r"holds runs of 'attention pooling' with other keys.* name another --output"):
        run_trials(variants, 1, tmp_path)


def test_a_recipe_that_was_edited_since_its_runs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "_run_in_parallel", lambda *arguments: [])
    recipe, path = tmp_path / "recipe.yml", tmp_path / "list.yml"
    path.write_text(LIST.replace("configs/demo.yml", str(recipe)))
    recipe.write_text("SOLVER.MARGIN: 0.3")
    for _ in range(2):
        run_trials(read_list(path, []), 1, tmp_path)
    recipe.write_text("SOLVER.MARGIN: 0.4")
    with pytest.raises(ValueError, match="with other keys, of the list or in the recipe's file"):
        run_trials(read_list(path, []), 1, tmp_path)


def test_runs_without_scores_count_as_failed(variants, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(trials.Trial, "commands", lambda trial: [[sys.executable, "-c", "print('Written')"]])
    assert len(run_trials(variants[:1], 1, tmp_path / "out")) == 1
    assert "it has no scores, as on a copy with masked test identities" in caplog.text
