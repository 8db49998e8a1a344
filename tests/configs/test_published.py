"""The YAML files of published X-TFCLIP and TF-CLIP load, and their values mean what the published code made of them."""

import json

import pytest
import yaml

from configs import get_cfg
from configs.keys import DEFAULTS, leaves, nest
from configs.published import (
    FC_LR_FACTOR,
    IGNORED_VALUES,
    LARGE_FC_LR,
    ONLY_VALUES,
    SHARED_KEYS,
    SWITCHES,
    WITHOUT_MEANING,
    explain_key,
)

DATA = {"X-TFCLIP": "agvpreid", "TF-CLIP": "mars", "TF-CLIP 2": "mars"}
DATA |= dict.fromkeys(("X-TFCLIP defaults", "TF-CLIP defaults"), "market1501")
# A published YAML in short, with values that differ from the defaults here.
PUBLISHED = """
MODEL: {PRETRAIN_CHOICE: imagenet, METRIC_LOSS_TYPE: triplet, IF_LABELSMOOTH: on, NAME: ViT-B-16, STRIDE_SIZE: [12, 12]}
INPUT:
  SIZE_TRAIN: [256, 128]
  SIZE_TEST: [384, 128]
  RE_PROB: 0.25
  PADDING: 10
  PIXEL_MEAN: [0.5, 0.5, 0.5]
DATALOADER: {SAMPLER: softmax_triplet, NUM_INSTANCE: 4}
SOLVER:
  STAGE1: {IMS_PER_BATCH: 64, BASE_LR: 0.00035}
  STAGE2:
    IMS_PER_BATCH: 64
    BASE_LR: 5e-6
    WEIGHT_DECAY:  "1e-4"
    LARGE_FC_LR: False
    LARGE_Prompt_LR: True
    STEPS: [30, 50]
TEST: {EVAL: True, IMS_PER_BATCH: 64, FEAT_NORM: 'yes'}
DATASETS: {NAMES: ('agreidvid'), ROOT_DIR: ('../data'), SPLIT: 2}
"""


def flat(cfg):
    return dict(leaves(cfg))


def line_of(message, start):
    """What the line of the message that begins with ``start`` lists."""
    (line,) = [line.strip() for line in message.splitlines() if line.strip().startswith(start)]
    return set(line.removeprefix(start).strip().rstrip(".").split("; "))


@pytest.fixture
def load(tmp_path, caplog):
    """``load(text, *opts)``: the flat configuration of a YAML file, and the one warning about it, or ''."""

    def build(text, *opts):
        caplog.clear()
        path = tmp_path / "vit_clipreid.yml"
        path.write_text(text, encoding="utf-8")
        cfg = get_cfg(path, opts)
        assert len(caplog.messages) <= 1
        assert all(str(path) in message for message in caplog.messages)
        return flat(cfg), "".join(caplog.messages)

    return build


@pytest.fixture(scope="session")
def published_sets(parity_folder):
    sets = json.loads((parity_folder / "published_config.json").read_text(encoding="utf-8"))
    assert set(sets) == set(DATA)
    return sets


@pytest.fixture
def load_set(published_sets, load):
    """``load_set(name)``: as ``load``, of one of the published sets."""

    def build(name):
        values = {key: "some/path" if value == "PATH" else value for key, value in published_sets[name].items()}
        return load(yaml.safe_dump(nest(values)))

    return build


@pytest.mark.parametrize("name", DATA)
def test_every_published_set_loads_with_one_warning(name, load_set, published_sets):
    (cfg, message), written = load_set(name), published_sets[name]
    dead = {key for key in written if key in WITHOUT_MEANING or key.startswith("SOLVER.STAGE1.")}
    assert line_of(message, "Keys that mean nothing here are left out:") == dead
    changed = {*IGNORED_VALUES, "DATASETS.NAMES", "DATASETS.SPLIT", "DATASETS.ROOT_DIR", "OUTPUT_DIR"}
    for key in (set(written) & SHARED_KEYS) - changed - {"TEST.WEIGHT", "TEST.FEAT_NORM"}:
        value = tuple(written[key]) if isinstance(written[key], list) else written[key]
        assert cfg[key] == value, key
    ours = (set(DEFAULTS) - SHARED_KEYS - {FC_LR_FACTOR}) | {*IGNORED_VALUES, "DATASETS.SPLIT"}
    assert {key: cfg[key] for key in ours} == {key: DEFAULTS[key] for key in ours}
    assert cfg["TEST.FEAT_NORM"] is True
    assert cfg["INPUT.SIZE_TEST"] == tuple(written["INPUT.SIZE_TRAIN"])
    assert cfg[FC_LR_FACTOR] == (10.0 if written[LARGE_FC_LR] else 1.0)
    assert cfg["DATASETS.NAMES"] == DATA[name]
    assert SWITCHES in message


def test_the_published_winner_is_the_default_recipe(load_set):
    differing = {key for key, value in load_set("X-TFCLIP")[0].items() if value != DEFAULTS[key]}
    places = {"DATASETS.ROOT_DIR", "OUTPUT_DIR", "TEST.WEIGHT"}
    assert differing == places | {"DATALOADER.NUM_WORKERS", "SOLVER.STAGE2.EVAL_PERIOD"}


def test_the_tables_agree_with_the_published_sets_and_do_not_overlap(published_sets):
    published = {key for values in published_sets.values() for key in values}
    assert published & set(DEFAULTS) == SHARED_KEYS
    assert {key for key in published - set(DEFAULTS) if not explain_key(key)} == set()
    tables = [SHARED_KEYS, WITHOUT_MEANING, set(ONLY_VALUES), {LARGE_FC_LR}]
    assert sum(map(len, tables)) == len(set().union(*tables))
    assert not any(map(explain_key, DEFAULTS))


def test_values_count_as_written_on_the_command_line_in_adapted_files_and_in_our_own(load):
    opts = ["INPUT.PIXEL_MEAN", "(0.5, 0.5, 0.5)", "INPUT.SIZE_TEST", "(384, 128)", "TEST.IMS_PER_BATCH", "64"]
    written = {"INPUT.PIXEL_MEAN": (0.5,) * 3, "INPUT.SIZE_TEST": (384, 128), "TEST.IMS_PER_BATCH": 64}
    adapted = PUBLISHED.replace("NAME: ViT-B-16,", "NAME: ViT-B-16, POOLING: mean,")
    for text, words in ((PUBLISHED, [*opts, "DATASETS.SPLIT", "2"]), (adapted, [])):
        cfg, message = load(text, *words)
        assert {key: cfg[key] for key in written} == written
        assert (cfg["DATASETS.SPLIT"], cfg["DATASETS.NAMES"], cfg[FC_LR_FACTOR]) == (2, "agvpreid", 1.0)
        assert "Keys that mean nothing here" in message
    assert not any(words in message for words in ("ignored these values", SWITCHES, "counted from"))
    own = "INPUT: {PIXEL_MEAN: [0.5, 0.5, 0.5], SIZE_TRAIN: [64, 32]}\nTEST: {IMS_PER_BATCH: 1}\nDATASETS: {SPLIT: 2}\n"
    cfg, message = load(own)
    assert (cfg["INPUT.SIZE_TEST"], cfg["TEST.IMS_PER_BATCH"], cfg["DATASETS.SPLIT"]) == ((288, 144), 1, 2)
    assert message == ""


@pytest.mark.parametrize(
    ("text", "key", "value", "remark"),
    [
        ("SOLVER: {STAGE2: {LARGE_FC_LR: off}}", FC_LR_FACTOR, 1.0, "FACTOR 1"),
        (f"SOLVER.STAGE2.LARGE_FC_LR: False\n{FC_LR_FACTOR}: 3", FC_LR_FACTOR, 3.0, None),
        ("SOLVER.STAGE2.WARMUP_METHOD: constant", FC_LR_FACTOR, 10.0, "WARMUP_METHOD constant (it is always linear)"),
        ("TEST.EVAL: True", FC_LR_FACTOR, 10.0, f"; {FC_LR_FACTOR}"),
        (
            "INPUT.RE_PROB: 0.25\nTEST.EVAL: True",
            "INPUT.RE_PROB",
            0.5,
            "are ignored here: INPUT.RE_PROB 0.25 (used: 0.5)",
        ),
        ("DATASETS.SPLIT: 2\nTEST.EVAL: True", "DATASETS.SPLIT", 3, "SPLIT 2, counted from 0, as 3, counted from 1"),
        ("SOLVER.STAGE2.OPTIMIZER_NAME: AdamW\nTEST.EVAL: True", "SOLVER.STAGE2.OPTIMIZER_NAME", "AdamW", "TEST.EVAL"),
        ("MODEL: {IF_LABELSMOOTH: off}", "LOSS.LABEL_SMOOTHING", "online", "IF_LABELSMOOTH off (it is always on)"),
        ("DATASETS: {NAMES: ilidsvidsequence, SEQ_SRD: 4}", "DATASETS.TRAIN_HALF", "first", "TRAIN_HALF first"),
    ],
)
def test_single_values(text, key, value, remark, load):
    cfg, message = load(text)
    assert cfg[key] == value
    assert message == "" if remark is None else remark in message
