"""The YAML files of published X-TFCLIP and TF-CLIP load, and their values mean what the published code made of them."""

import json
import logging
from pathlib import Path

import pytest
import yaml

from configs import dump_config, get_cfg
from configs.keys import DEFAULTS, leaves, nest
from configs.published import (
    DIFFERING_DEFAULTS,
    FC_LR_FACTOR,
    IGNORED_VALUES,
    LARGE_FC_LR,
    ONLY_VALUES,
    SHARED_KEYS,
    SWITCHES,
    WITHOUT_MEANING,
    explain_key,
)

ROOT = Path(__file__).resolve().parents[2]
IMAGENET = {"INPUT.PIXEL_MEAN": (0.485, 0.456, 0.406), "INPUT.PIXEL_STD": (0.229, 0.224, 0.225)}
SETS = ("X-TFCLIP", "TF-CLIP", "TF-CLIP 2", "X-TFCLIP defaults", "TF-CLIP defaults")
# The shape of a published YAML, with values that differ from the defaults here wherever they may.
PUBLISHED = """
MODEL:
  PRETRAIN_CHOICE: 'imagenet'
  METRIC_LOSS_TYPE: 'triplet'
  IF_LABELSMOOTH: 'on'
  IF_WITH_CENTER: 'no'
  NAME: 'ViT-B-16'
  NECK: 'bnneck'
  STRIDE_SIZE: [12, 12]
  ID_LOSS_WEIGHT : 0.25
  TRIPLET_LOSS_WEIGHT : 1.0
  I2T_LOSS_WEIGHT : 1.0
  SIE_CAMERA: True
  SIE_COE : 1.0
INPUT:
  SIZE_TRAIN: [256, 128]
  SIZE_TEST: [384, 128]
  PROB: 0.5
  RE_PROB: 0.25
  PADDING: 10
  PIXEL_MEAN: [0.5, 0.5, 0.5]
  PIXEL_STD: [0.5, 0.5, 0.5]
DATALOADER:
  SAMPLER: 'softmax_triplet'
  NUM_INSTANCE: 4
  NUM_WORKERS: 8
SOLVER:
  STAGE1:
    IMS_PER_BATCH: 64
    OPTIMIZER_NAME: "Adam"
    BASE_LR: 0.00035
  STAGE2:
    IMS_PER_BATCH: 64
    OPTIMIZER_NAME: "Adam"
    BASE_LR: 5e-6
    WARMUP_METHOD: 'linear'
    WARMUP_ITERS: 10
    WARMUP_FACTOR: 0.1
    WEIGHT_DECAY:  "1e-4"
    WEIGHT_DECAY_BIAS:  2e-4
    LARGE_FC_LR: False
    LARGE_Prompt_LR: True
    MAX_EPOCHS: 60
    CHECKPOINT_PERIOD: 60
    LOG_PERIOD: 50
    EVAL_PERIOD: 60
    BIAS_LR_FACTOR: 2
    STEPS: [30, 50]
    GAMMA: 0.1
TEST:
  EVAL: True
  IMS_PER_BATCH: 64
  RE_RANKING: False
  WEIGHT: ''
  NECK_FEAT: 'before'
  FEAT_NORM: 'yes'
DATASETS:
  NAMES: ('agreidvid')
  ROOT_DIR: ('../data')
  SPLIT: 2
OUTPUT_DIR: './logs'
"""


def flat(cfg):
    return dict(leaves(cfg))


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def load(path, text, *opts):
    return get_cfg(write(path / "published.yml", text), opts)


def message_of(caplog):
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    return record.getMessage()


def listed(message, start):
    """Return what the line of the message that begins with ``start`` lists."""
    (line,) = [line.strip() for line in message.splitlines() if line.strip().startswith(start)]
    return set(line.removeprefix(start).strip().rstrip(".").split("; "))


@pytest.fixture(scope="session")
def published_sets(parity_folder):
    return json.loads((parity_folder / "published_config.json").read_text(encoding="utf-8"))


@pytest.fixture
def load_set(published_sets, tmp_path):
    """``load_set(name, *opts)``: one of the published sets as a YAML file, loaded."""

    def build(name, *opts):
        values = {key: "some/path" if value == "PATH" else value for key, value in published_sets[name].items()}
        return get_cfg(write(tmp_path / "vit_clipreid.yml", yaml.safe_dump(nest(values))), opts)

    return build


@pytest.mark.parametrize("name", SETS)
def test_every_published_set_loads_with_one_warning(name, load_set, published_sets, caplog):
    assert set(published_sets) == set(SETS)
    cfg, written = flat(load_set(name)), published_sets[name]
    message = message_of(caplog)
    assert "vit_clipreid.yml" in message
    dead = {key for key in written if key in WITHOUT_MEANING or key.startswith("SOLVER.STAGE1.")}
    assert listed(message, "Keys that mean nothing here are left out:") == dead
    changed = {*IGNORED_VALUES, "DATASETS.NAMES", "DATASETS.SPLIT", "MODEL.NAME", "DATASETS.ROOT_DIR", "OUTPUT_DIR"}
    for key in (set(written) & SHARED_KEYS) - changed - {"TEST.WEIGHT", "TEST.FEAT_NORM"}:
        value = tuple(written[key]) if isinstance(written[key], list) else written[key]
        assert cfg[key] == value, key
    assert {key: cfg[key] for key in IMAGENET} == IMAGENET
    assert cfg["TEST.IMS_PER_BATCH"] == 32
    assert cfg["TEST.FEAT_NORM"] is True
    assert cfg["INPUT.SIZE_TEST"] == tuple(written["INPUT.SIZE_TRAIN"])
    assert cfg["SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR"] == (10.0 if written[LARGE_FC_LR] else 1.0)
    assert cfg["MODEL.NAME"] == "ViT-B-16"
    assert cfg["DATASETS.SPLIT"] == 1
    assert {key: cfg[key] for key in set(cfg) - SHARED_KEYS - {"SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR"}} == {
        key: DEFAULTS[key] for key in set(cfg) - SHARED_KEYS - {"SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR"}
    }


def test_the_published_winner_is_the_default_recipe(load_set):
    differing = {key for key, value in flat(load_set("X-TFCLIP")).items() if value != DEFAULTS[key]}
    places = {"DATASETS.ROOT_DIR", "OUTPUT_DIR", "TEST.WEIGHT"}
    assert differing == places | {"DATALOADER.NUM_WORKERS", "SOLVER.STAGE2.EVAL_PERIOD"}


@pytest.mark.parametrize(
    ("name", "data"), [("X-TFCLIP", "agvpreid"), ("TF-CLIP", "mars"), ("TF-CLIP 2", "mars"), (SETS[3], "market1501")]
)
def test_the_data_set_of_a_published_file(name, data, load_set):
    assert data == load_set(name).DATASETS.NAMES


def test_placeholders_of_the_published_defaults_are_named(load_set, caplog):
    load_set("X-TFCLIP defaults")
    assert listed(message_of(caplog), "Not available:") == {
        "DATALOADER.SAMPLER softmax (it is always softmax_triplet)",
        "MODEL.NAME resnet50 (it is replaced by ViT-B-16)",
        "DATASETS.NAMES market1501 (choose a data set before training)",
    }


def test_a_file_that_relied_on_a_published_default_is_told_so(load_set, caplog):
    assert load_set("TF-CLIP 2").INPUT.SEQ_LEN == 8
    assert "The published defaults differ: INPUT.SEQ_LEN 4 (here: 8)." in message_of(caplog)


def test_the_tables_agree_with_the_published_sets(published_sets):
    published = {key for values in published_sets.values() for key in values}
    assert published & set(DEFAULTS) == SHARED_KEYS
    assert {key for key in published - set(DEFAULTS) if not explain_key(key)} == set()
    for name in ("X-TFCLIP defaults", "TF-CLIP defaults"):
        defaults = {k: tuple(v) if isinstance(v, list) else v for k, v in published_sets[name].items()}
        differing = {k: defaults[k] for k in SHARED_KEYS & set(defaults) if defaults[k] != DEFAULTS[k]}
        unimportant = {"DATALOADER.NUM_WORKERS", "MODEL.DEVICE", "MODEL.NAME", "OUTPUT_DIR", "SOLVER.STAGE2.LOG_PERIOD"}
        unimportant |= {"DATASETS.NAMES", "DATASETS.ROOT_DIR", "DATASETS.SPLIT", "TEST.FEAT_NORM", "INPUT.SIZE_TEST"}
        differing = {key: value for key, value in differing.items() if key not in unimportant | {*IGNORED_VALUES}}
        assert differing | {FC_LR_FACTOR: 1.0} == DIFFERING_DEFAULTS
        assert defaults[LARGE_FC_LR] is False


def test_the_tables_do_not_overlap():
    tables = [SHARED_KEYS, WITHOUT_MEANING, set(ONLY_VALUES), {LARGE_FC_LR}]
    assert sum(map(len, tables)) == len(set().union(*tables))
    assert set(DEFAULTS) >= SHARED_KEYS
    assert not any(map(explain_key, DEFAULTS))
    assert set(DIFFERING_DEFAULTS) - {FC_LR_FACTOR} <= SHARED_KEYS
    assert set(IGNORED_VALUES) <= SHARED_KEYS


def test_a_published_yaml_without_the_shared_folder(tmp_path, caplog):
    path = write(tmp_path / "vit_clipreid.yml", PUBLISHED)
    cfg = get_cfg(path)
    message = message_of(caplog)
    assert str(path) in message
    assert listed(message, "Keys that mean nothing here are left out:") == {
        *(f"MODEL.{key}" for key in ["PRETRAIN_CHOICE", "IF_WITH_CENTER", "NECK"]),
        *(f"SOLVER.STAGE1.{key}" for key in ["IMS_PER_BATCH", "OPTIMIZER_NAME", "BASE_LR"]),
        *(f"SOLVER.STAGE2.{key}" for key in ["CHECKPOINT_PERIOD", "LARGE_Prompt_LR"]),
        *("INPUT.PADDING", "TEST.EVAL"),
    }
    assert listed(message, "Carried over:") == {
        "SOLVER.STAGE2.LARGE_FC_LR False as SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR 1",
        "DATASETS.NAMES agreidvid as agvpreid",
        "DATASETS.SPLIT 2, counted from 0, as 3, counted from 1",
    }
    ignored, advice = message.split("so they are ignored here: ")[1].split("\n")[0].split(". To use a value, ")
    assert set(ignored.split("; ")) == {
        "INPUT.PIXEL_MEAN (0.5, 0.5, 0.5) (used: (0.485, 0.456, 0.406))",
        "INPUT.PIXEL_STD (0.5, 0.5, 0.5) (used: (0.229, 0.224, 0.225))",
        "INPUT.RE_PROB 0.25 (used: 0.5)",
        "INPUT.SIZE_TEST (384, 128) (used: INPUT.SIZE_TRAIN (256, 128))",
        "TEST.IMS_PER_BATCH 64 (used: 32)",
    }
    assert advice == "put it on the command line or into a YAML without published keys."
    assert "Not available" not in message
    assert SWITCHES in message
    assert (ROOT / "configs/tfclip_vit_b16_256x128.yml").is_file()
    values = flat(cfg)
    assert {key: values[key] for key in IMAGENET} == IMAGENET
    assert (values["INPUT.SIZE_TRAIN"], values["INPUT.SIZE_TEST"]) == ((256, 128), (256, 128))
    assert (values["INPUT.PROB"], values["INPUT.RE_PROB"], values["TEST.IMS_PER_BATCH"]) == (0.5, 0.5, 32)
    assert values["SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR"] == 1.0
    assert values["SOLVER.STAGE2.WEIGHT_DECAY"] == 1e-4
    assert values["SOLVER.STAGE2.WEIGHT_DECAY_BIAS"] == 2e-4
    assert cfg.MODEL.STRIDE_SIZE == (12, 12)
    assert cfg.SOLVER.STAGE2.BASE_LR == 5e-6
    assert cfg.SOLVER.STAGE2.STEPS == (30, 50)
    assert cfg.TEST.FEAT_NORM is True
    assert (cfg.DATASETS.NAMES, cfg.DATASETS.ROOT_DIR, cfg.DATASETS.SPLIT) == ("agvpreid", "../data", 3)


def test_the_command_line_always_counts_as_written(tmp_path):
    opts = ["INPUT.PIXEL_MEAN", "(0.5, 0.5, 0.5)", "INPUT.SIZE_TEST", "(384, 128)", "TEST.IMS_PER_BATCH", "64"]
    cfg = load(tmp_path, PUBLISHED, *opts, "DATASETS.SPLIT", "2")
    assert (cfg.INPUT.PIXEL_MEAN, cfg.INPUT.SIZE_TEST) == ((0.5, 0.5, 0.5), (384, 128))
    assert (cfg.TEST.IMS_PER_BATCH, cfg.DATASETS.SPLIT) == (64, 2)


def test_an_adapted_file_counts_as_written(tmp_path, caplog):
    adapted = PUBLISHED.replace("  SIE_CAMERA: True\n", "  SIE_CAMERA: True\n  POOLING: mean\n")
    cfg = load(tmp_path, adapted)
    assert (cfg.INPUT.PIXEL_MEAN, cfg.INPUT.SIZE_TEST, cfg.INPUT.RE_PROB) == ((0.5, 0.5, 0.5), (384, 128), 0.25)
    assert (cfg.TEST.IMS_PER_BATCH, cfg.DATASETS.SPLIT, cfg.MODEL.POOLING) == (64, 2, "mean")
    assert cfg.DATASETS.NAMES == "agvpreid"
    assert cfg.SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR == 1.0
    message = message_of(caplog)
    assert "Keys that mean nothing here" in message
    assert not any(words in message for words in ("ignored these values", SWITCHES, "counted from"))


def test_a_file_of_our_own_is_loaded_silently_as_written(tmp_path, caplog):
    text = (
        "INPUT: {PIXEL_MEAN: [0.5, 0.5, 0.5], SIZE_TRAIN: [64, 32]}\nTEST: {IMS_PER_BATCH: 1}\nDATASETS: {SPLIT: 2}\n"
    )
    cfg = load(tmp_path, text)
    assert (cfg.INPUT.PIXEL_MEAN, cfg.INPUT.SIZE_TEST) == ((0.5, 0.5, 0.5), (288, 144))
    assert (cfg.TEST.IMS_PER_BATCH, cfg.DATASETS.SPLIT) == (1, 2)
    assert not caplog.records


def test_the_test_size_follows_the_training_size_of_a_published_file(tmp_path):
    cfg = load(tmp_path, "INPUT:\n  PADDING: 10\n  SIZE_TRAIN: [256, 128]\n")
    assert cfg.INPUT.SIZE_TEST == (256, 128)


@pytest.mark.parametrize(("word", "factor"), [("True", 10.0), ("False", 1.0), ("'yes'", 10.0), ("off", 1.0)])
def test_the_larger_rate_of_the_classifier_is_carried_over(word, factor, tmp_path):
    cfg = load(tmp_path, f"SOLVER:\n  STAGE2:\n    LARGE_FC_LR: {word}\n")
    assert factor == cfg.SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR


def test_our_own_factor_wins_over_the_published_switch(tmp_path, caplog):
    text = "SOLVER:\n  STAGE2:\n    LARGE_FC_LR: False\n    TEMPORAL_CLASSIFIER_LR_FACTOR: 3\n"
    assert load(tmp_path, text).SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR == 3.0
    assert not caplog.records


def test_a_wrong_value_of_a_published_key_names_it(tmp_path):
    with pytest.raises(ValueError, match=r"SOLVER\.STAGE2\.LARGE_FC_LR .*published\.yml.* must be of type bool"):
        load(tmp_path, "SOLVER:\n  STAGE2:\n    LARGE_FC_LR: 7\n")
    with pytest.raises(ValueError, match=r"TEST\.IMS_PER_BATCH .*published\.yml.* must be of type int"):
        load(tmp_path, "TEST:\n  EVAL: True\n  IMS_PER_BATCH: many\n")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("WARMUP_METHOD: linear", None),
        ("WARMUP_METHOD: 'constant'", "SOLVER.STAGE2.WARMUP_METHOD constant (it is always linear)"),
    ],
)
def test_values_that_do_not_exist_here_are_named(line, named, tmp_path, caplog):
    load(tmp_path, f"SOLVER:\n  STAGE2:\n    {line}\n")
    assert ("Not available" in message_of(caplog)) == (named is not None)
    if named:
        assert listed(message_of(caplog), "Not available:") == {named}


@pytest.mark.parametrize(("name", "ours"), [("Adam", "Adam"), ("AdamW", "AdamW"), ("SGD", "Adam")])
def test_a_published_optimizer_is_taken_where_it_exists_here(name, ours, tmp_path, caplog):
    cfg = load(tmp_path, f"SOLVER:\n  STAGE2:\n    OPTIMIZER_NAME: {name}\nTEST:\n  EVAL: True\n")
    assert ours == cfg.SOLVER.STAGE2.OPTIMIZER_NAME
    named = "SOLVER.STAGE2.OPTIMIZER_NAME SGD (it is replaced by Adam)"
    assert (named in message_of(caplog)) == (name == "SGD")


def test_label_smoothing_may_be_an_unquoted_word(tmp_path, caplog):
    load(tmp_path, "MODEL:\n  IF_LABELSMOOTH: on\n")
    assert "Not available" not in message_of(caplog)
    caplog.clear()
    load(tmp_path, "MODEL:\n  IF_LABELSMOOTH: off\n")
    assert "MODEL.IF_LABELSMOOTH off (it is always on)" in message_of(caplog)


@pytest.mark.parametrize(
    ("name", "ours"),
    [("('agreidvid')", "agvpreid"), ("agreidvid", "agvpreid"), ("('mars')", "mars"), ("lsvid", "lsvid")],
)
def test_published_names_of_data_sets(name, ours, tmp_path):
    assert ours == load(tmp_path, f'DATASETS:\n  NAMES: "{name}"\n').DATASETS.NAMES


def test_published_ilids_trains_on_the_first_half(tmp_path, caplog):
    cfg = load(tmp_path, "DATASETS:\n  NAMES: ilidsvidsequence\n  SEQ_SRD: 4\n")
    assert (cfg.DATASETS.NAMES, cfg.DATASETS.TRAIN_HALF) == ("ilidsvid", "first")
    assert "training people as DATASETS.TRAIN_HALF first" in message_of(caplog)


def test_a_published_config_kept_in_a_checkpoint_is_read_alike(caplog):
    cfg = get_cfg(config_text=PUBLISHED)
    assert cfg.DATASETS.SPLIT == 3
    assert message_of(caplog).startswith("config of the checkpoint holds keys that this project does not have.")


def test_the_dump_of_a_published_config_loads_silently_to_the_same(tmp_path, caplog):
    cfg = load(tmp_path, PUBLISHED)
    caplog.clear()
    assert get_cfg(config_text=dump_config(cfg)) == cfg
    assert not caplog.records
