"""The configuration: every key is declared and read, every YAML loads, every mistake is named."""

import ast
import math
import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from yacs.config import CfgNode

from configs import (
    CHOICES,
    Role,
    changed_keys,
    check_places,
    describe_differences,
    dump_config,
    get_cfg,
    values_of,
    warn_of_unread_keys,
)
from configs.defaults import KEYS, Range
from configs.keys import DEFAULTS, leaves
from configs.load import MAX_LENGTH, config_of_run, find_run
from datasets.attributes import COLUMNS
from loss import make_loss
from model import make_model
from processor.build import descriptor_settings

ROOT = Path(__file__).resolve().parents[2]
YAMLS = sorted((ROOT / "configs").glob("*.yml"))
XTFCLIP = ROOT / "configs/xtfclip_vit_b16_288x144.yml"
TFCLIP = ROOT / "configs/tfclip_vit_b16_256x128.yml"
# What X-TFCLIP adds to TF-CLIP, each one key, with TF-CLIP's value.
EXTRAS = {
    "MODEL.POSITION_RESIZE": "bilinear",
    "MODEL.POOLING": "mean",
    "LOSS.LABEL_SMOOTHING": "uniform",
    "MODEL.FRAME_EMBEDDING": False,
    "MODEL.MEMORY_WEIGHTING": False,
    "MODEL.FEATURE_NECK": "batch",
    "SOLVER.STAGE2.GRADIENT_CENTRALIZATION": False,
    "TEST.FLIP": False,
    "TEST.MASK_ATTRIBUTES": (),
}


def flat(cfg):
    return dict(leaves(cfg))


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# ---- keys and files


def test_every_key_is_read_outside_configs():
    folders = ("datasets", "loss", "model", "processor", "search", "solver", "utils", "tools")
    paths = [*ROOT.glob("*_main.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    whole_sections = {node.value.attr for node in attributes if node.attr == "items" and hasattr(node.value, "attr")}
    read = {node.attr for node in attributes}
    assert not [key for key in DEFAULTS if key.split(".")[-1] not in read and not {*key.split(".")} & whole_sections]


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_every_yaml_loads_silently(path, caplog):
    cfg = get_cfg(path)
    assert not caplog.records
    assert set(dict(leaves(yaml.safe_load(path.read_text())))) <= set(flat(cfg))


def test_defaults_are_the_winners_recipe_and_tfclip_switches_every_extra_off():
    cfg = get_cfg(XTFCLIP)
    assert flat(cfg) == flat(get_cfg()) == DEFAULTS
    # New ingredients are off.
    assert {cfg.DATALOADER.BOTH_VIEWS, cfg.DATALOADER.BALANCE_ALTITUDES, cfg.INPUT.CONSISTENT_AUGMENTATION} == {False}
    assert (cfg.INPUT.CROP_PADDING, cfg.INPUT.COLOR_JITTER, cfg.TEST.NUM_CLIPS) == (0, 0.0, 1)
    assert set(cfg.TEST.MASK_ATTRIBUTES) <= set(COLUMNS)
    changed = {key: now for key, (_, now) in changed_keys(cfg, get_cfg(TFCLIP), *Role).items()}
    sizes = {"INPUT.SIZE_TRAIN": (256, 128), "INPUT.SIZE_TEST": (256, 128)}
    batch = {"SOLVER.STAGE2.IMS_PER_BATCH": 16, "DATALOADER.NUM_INSTANCE": 4}
    assert changed == {**EXTRAS, **sizes, **batch}


@pytest.mark.parametrize("key", [None, *EXTRAS])
def test_every_extra_alone_can_be_switched_off(key, tiny_cfg):
    cfg = tiny_cfg(*((key, EXTRAS[key]) if key else ()), config_file=XTFCLIP)
    assert {name for name, off in EXTRAS.items() if flat(cfg)[name] == off} == ({key} if key else set())
    model = make_model(cfg, num_classes=3, num_cameras=2)
    output = model(torch.randn(4, 4, 3, 64, 32), torch.tensor([0, 1, -1, 0]), memory=torch.randn(3, 64))
    loss = make_loss(cfg, 3)(output, torch.tensor([0, 0, 1, 1]))["total"]
    loss.backward()
    assert loss.isfinite()
    assert model.eval()(torch.randn(2, 4, 3, 64, 32)).shape == (2, 192)


def test_command_line_wins_over_the_file_and_the_result_is_frozen_and_fresh(tmp_path):
    cfg = get_cfg(write(tmp_path / "a.yml", "SOLVER:\n  SEED: 5\n  MARGIN: 1\n"), ["SOLVER.SEED", "6"])
    assert (cfg.SOLVER.SEED, cfg.SOLVER.MARGIN) == (6, 1.0)
    with pytest.raises(AttributeError):
        cfg.SOLVER.SEED = 1
    assert get_cfg().SOLVER.SEED == 1234
    assert isinstance(cfg, CfgNode)


# ---- roles


def test_roles_say_what_must_not_change():
    cfg = get_cfg()
    assert set(values_of(cfg, Role.BATCHES)) == {
        *("SOLVER.SEED", "SOLVER.STAGE2.IMS_PER_BATCH", "SOLVER.STAGE2.ACCUMULATION_STEPS"),
        *(f"DATALOADER.{name}" for name in ("NUM_INSTANCE", "BOTH_VIEWS", "BALANCE_ALTITUDES", "HARD_IDENTITIES")),
    }
    assert {*EXTRAS} - set(values_of(cfg, Role.NETWORK)) == {
        *("LOSS.LABEL_SMOOTHING", "SOLVER.STAGE2.GRADIENT_CENTRALIZATION", "TEST.FLIP", "TEST.MASK_ATTRIBUTES"),
    }


def test_feature_files_of_before_the_roles_can_still_be_compared():
    text = (
        "MODEL.NAME ViT-B-16, MODEL.VIT.EMBED_DIM 0, MODEL.VIT.DEPTH 0, MODEL.VIT.NUM_HEADS 0, MODEL.VIT.PATCH_SIZE 0, "
        "MODEL.VIT.PROJ_DIM 0, MODEL.STRIDE_SIZE (16, 16), MODEL.SIE_CAMERA True, MODEL.SIE_COE 1.0, "
        "MODEL.POSITION_RESIZE bicubic, MODEL.POOLING attention, MODEL.FRAME_EMBEDDING True, "
        "MODEL.MEMORY_WEIGHTING True, MODEL.FEATURE_NECK instance, INPUT.SIZE_TRAIN (288, 144), "
        "INPUT.SIZE_TEST (288, 144), INPUT.SEQ_LEN 8, INPUT.PIXEL_MEAN (0.485, 0.456, 0.406), "
        "INPUT.PIXEL_STD (0.229, 0.224, 0.225), TEST.NUM_CLIPS 1, TEST.NECK_FEAT before, TEST.FEAT_NORM True, "
        "TEST.FLIP True"
    )
    assert descriptor_settings(get_cfg()) == text


@pytest.mark.parametrize(
    ("command", "named"),
    [("training", ["TEST.WEIGHT"]), ("evaluation", ["LOSS.SMOOTHING", "SOLVER.STAGE2.MAX_EPOCHS"])],
)
def test_keys_that_a_command_ignores_are_named(command, named, caplog):
    opts = ["TEST.WEIGHT", "run.pth", "LOSS.SMOOTHING", "0.2", "SOLVER.STAGE2.MAX_EPOCHS", "3", "TEST.FLIP", "False"]
    warn_of_unread_keys(get_cfg(opts=opts), command, opts)
    warn_of_unread_keys(get_cfg(), command, opts)
    warn_of_unread_keys(get_cfg(opts=opts), command, ["TEST.FLIP", "False"])  # only what was typed
    (message,) = caplog.messages
    assert message.startswith(f"Keys without effect in {command}: {', '.join(named)}.")
    assert ("MODEL.INIT_WEIGHT" in message) == (command == "training")


# ---- values


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("TEST.FLIP", "no", False),
        ("MODEL.PRETRAINED", "True", True),
        ("SOLVER.STAGE2.BASE_LR", "5e-6", 5e-6),
        ("SOLVER.MARGIN", "1", 1.0),
        ("INPUT.SIZE_TRAIN", "[256, 128]", (256, 128)),
        ("INPUT.PIXEL_MEAN", "(0, 0.5, 1)", (0.0, 0.5, 1.0)),
        ("TEST.MASK_ATTRIBUTES", "('gender',)", ("gender",)),
        ("DATASETS.ROOT_DIR", "1e3", "1e3"),
        ("DATASETS.NAMES", "('agvpreid')", "agvpreid"),
        ("OUTPUT_DIR", "2026_11_23", "2026_11_23"),
    ],
)
def test_words_become_the_type_of_the_default(key, text, value):
    result = flat(get_cfg(opts=[key, text]))[key]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        # wrong types
        (["TEST.ENSEMBLE", "logs/b"], r"TEST\.ENSEMBLE .* be of type tuple, such as \"\('a', 'b'\)\", got 'logs/b'"),
        (["SOLVER.SEED", "1.5"], r"SOLVER\.SEED \(command line\) must be of type int, got 1\.5"),
        (["DATASETS.NAMES", "('agvpreid', 'mars')"], r"DATASETS\.NAMES"),
        # unknown keys
        (["SOLVER.STAGE2.BASELR", "1"], r"Unknown config key SOLVER\.STAGE2\.BASELR.*mean SOLVER\.STAGE2\.BASE_LR\?"),
        (["TEST.SEED", "1"], r"Did you mean SOLVER\.SEED\?"),
        (["SOLVER.STAGE1.BASE_LR", "1"], r"^SOLVER\.STAGE1\.BASE_LR .* published code that means nothing here\.$"),
        (["SOLVER.STAGE2.LARGE_FC_LR", "True"], r"use SOLVER\.STAGE2\.TEMPORAL_CLASSIFIER_LR_FACTOR instead, 10 for"),
        (["DATALOADER.CACHE_DIR", "x"], r"^DATALOADER\.CACHE_DIR .* of an older version: .* tools\.dataset resize"),
        # words
        (["SOLVER.SEED"], r"KEY VALUE pairs, got an odd number of words: SOLVER\.SEED"),
        (["TEST.FLIP", "False", "--resume"], r"Options come before the KEY VALUE pairs: move --resume"),
        # values
        (["MODEL.POOLING", "max"], r"MODEL\.POOLING must be one of attention, mean, got 'max'"),
        (["INPUT.SIZE_TEST", "(1, 2, 3)"], r"INPUT\.SIZE_TEST must be 2 numbers \(height, width\), got \(1, 2, 3\)"),
        (["SOLVER.STAGE2.LAYER_DECAY", "0"], r"LAYER_DECAY must lie between 0 and 1 without 0, got 0\.0"),
        *((["MODEL.DEVICE", device], r"^MODEL\.DEVICE must be auto") for device in ("", "gpu", "cuda:01")),
        # rules between keys
        (["SOLVER.STAGE2.IMS_PER_BATCH", "20"], r"must be a multiple of DATALOADER\.NUM_INSTANCE \(6\).*20"),
        (["SOLVER.STAGE2.ACCUMULATION_STEPS", "2"], r"ACCUMULATION_STEPS must divide the 3 identities"),
        (["SOLVER.STAGE2.STEPS", "(50, 30)"], r"SOLVER\.STAGE2\.STEPS must increase"),
        (["INPUT.CROP_PADDING", "144"], r"CROP_PADDING .* shorter side of INPUT\.SIZE_TRAIN \(288, 144\), got 144"),
        (["MODEL.VIT.EMBED_DIM", "64", "MODEL.VIT.NUM_HEADS", "3"], r"EMBED_DIM must be a multiple of .*HEADS \(3\)"),
        (["TEST.TEXT_TOWER", "a.pt"], r"^TEST\.TEXT_TOWER needs TEST\.MASK predicted, got annotated"),
        (["DATALOADER.BOTH_VIEWS", "True", "DATALOADER.NUM_INSTANCE", "1"], r"BOTH_VIEWS needs .* at least 2, got 1"),
        (["DATASETS.VALIDATION_FRACTION", "0.1", "DATASETS.VALIDATION_PIDS", "a.txt"], r"exclude each other"),
        (["MODEL.VIT.PROJ_DIM", "129"], r"PROJ_DIM must divide into 2 heads, got 129"),
        *((["TEST.CAMERA_MAP", text], r"CAMERA_MAP must be pairs .* such as '0:4") for text in ("4", "0:-1", "a:b")),
        (["TEST.CAMERA_MAP", "0:4,0:5"], r"TEST\.CAMERA_MAP .* each once, .*got '0:4,0:5'"),
    ],
)
def test_a_mistake_names_the_key_to_change(opts, message):
    with pytest.raises(ValueError, match=message) as error:
        get_cfg(opts=opts)
    assert len(str(error.value)) < 300


def test_every_number_has_a_range_and_takes_no_senseless_number():
    """No key takes a negative number: none of them measures a change or a direction."""
    ranges = {key: declared.allowed for key, declared in KEYS.items() if isinstance(declared.allowed, Range)}
    firsts = {key: (*value, "")[0] if isinstance(value, tuple) else value for key, value in DEFAULTS.items()}
    assert set(ranges) == {key for key, value in firsts.items() if type(value) in (int, float)}
    for key, allowed in ranges.items():
        senseless = (math.nan, math.inf, -math.inf, -1, -1e-9, -(10**30), 10**30, 1e300)
        assert not [number for number in senseless if number in allowed], key


def test_every_default_is_allowed_and_every_choice_of_words_loads():
    for key, words in CHOICES.items():
        assert DEFAULTS[key] in words
        assert [flat(get_cfg(opts=[key, word]))[key] for word in words] == list(words)


# ---- YAML


REFUSED = {
    "section twice": (
        "SOLVER:\n  SEED: 1\nTEST:\n  FLIP: no\nSOLVER:\n  MARGIN: 1\n",
        r"line 5 .*SOLVER appears twice",
    ),
    "quoted key twice": ("OUTPUT_DIR: a\n'OUTPUT_DIR': b\n", r"line 2 .*OUTPUT_DIR appears twice"),
    "dotted and nested": ("SOLVER.SEED: 1\nSOLVER:\n  SEED: 2\n", r"SOLVER\.SEED appears twice in .*bad\.yml"),
    "list in itself": ("OUTPUT_DIR: x\nINPUT: &a [*a]\n", r"line 2 .*alias"),
    "deep flow": ("MODEL: " + "[" * 2_000 + "]" * 2_000, r"is not a valid config"),
    "python tag": ("OUTPUT_DIR: !!python/object/apply:os.system ['true']\n", r"line 1 .*tag"),
    "two documents": ("OUTPUT_DIR: a\n---\nOUTPUT_DIR: b\n", r"line 2 .*another document"),
    "broken syntax": ("MODEL: [1, 2", r"line 1 is not a valid config"),
    "large": ("# " + "x" * MAX_LENGTH, r"is longer than 32,768 characters"),
    "list": ("- a\n- b\n", r"must hold a mapping of config keys, got list"),
    "not finite": ("SOLVER:\n  MARGIN: .nan\n", r"^SOLVER\.MARGIN must lie between 0 and 1,000,000, got nan"),
    **{
        name: (f"OUTPUT_DIR: {value}\n", r"^OUTPUT_DIR must hold at most 4,096 characters")
        for name, value in {"NUL": '"a\\0b"', "lines": '"a\\nb"', "surrogate": '"\\ud800"', "long": "x" * 4097}.items()
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_yaml_that_hides_hangs_or_runs_something_is_refused(name, tmp_path):
    text, message = REFUSED[name]
    path = write(tmp_path / "bad.yml", text)
    with pytest.raises(ValueError, match=rf"(?s){message}"):
        get_cfg(path)
    if name != "dotted and nested":
        with pytest.raises(ValueError, match=r"config of the checkpoint"):
            get_cfg(config_text=text)


def test_files_are_utf8_and_named_when_they_are_missing_or_empty(tmp_path):
    (tmp_path / "bad.yml").write_bytes(b"OUTPUT_DIR: a\nTEST:\n  WEIGHT: caf\xe9\n")
    with pytest.raises(ValueError, match=r"bad\.yml, line 3: the file is not UTF-8 text"):
        get_cfg(tmp_path / "bad.yml")
    with pytest.raises(FileNotFoundError, match=r"Config file not found: .*nowhere\.yml"):
        get_cfg(tmp_path / "nowhere.yml")
    (tmp_path / "bom.yml").write_bytes("OUTPUT_DIR: café\n".encode("utf-8-sig"))
    assert get_cfg(tmp_path / "bom.yml").OUTPUT_DIR == "café"
    assert flat(get_cfg(write(tmp_path / "empty.yml", "# nothing\n"))) == DEFAULTS


# ---- configurations of runs


def test_a_dumped_config_loads_silently_to_the_same_and_has_no_aliases(tmp_path, caplog):
    opts = ["TEST.WEIGHT", "a.pth", "SOLVER.STAGE2.STEPS", "()", "TEST.CAMERA_MAP", "1:5", "OUTPUT_DIR", "caf\udce9"]
    for cfg in (get_cfg(), get_cfg(TFCLIP, opts)):
        text = dump_config(cfg)
        assert not re.search("[*&]", text)
        assert get_cfg(write(tmp_path / "config.yml", text)) == get_cfg(config_text=text) == cfg
    assert not caplog.records


def test_the_config_of_an_older_run_loads_with_its_aliases_and_a_remark_on_retired_keys(caplog):
    """yacs wrote an alias where two keys hold the same tuple. Runs that lack INPUT.ERASING erased by the mean."""
    text = "INPUT: {SIZE_TEST: &id001 [64, 32], SIZE_TRAIN: *id001}\nDATALOADER: {CACHE_DIR: '', CACHE_GIB: 9}\n"
    inputs = get_cfg(config_text=text).INPUT
    assert (inputs.SIZE_TRAIN, inputs.ERASING) == ((64, 32), "mean")
    assert not caplog.records
    get_cfg(config_text=text.replace("''", "/cache") + "GONE: 1\n")
    assert "DATALOADER.CACHE_DIR (frames are not kept any more" in caplog.text
    assert "The key GONE does not exist (any more): it is left out." in caplog.text


def test_weights_that_hold_their_config_know_their_data_set(tmp_path):
    for name in ("tracklets.csv", "weights.safetensors"):
        (tmp_path / name).touch()
    opts = ["DATASETS.ROOT_DIR", str(tmp_path), "TEST.WEIGHT", str(tmp_path / "weights.safetensors")]
    assert find_run(opts).DATASETS.NAMES == "agvpreid"  # until the weights are read
    with pytest.raises(ValueError, match="is a table of own data: add DATASETS.NAMES folder"):
        check_places(get_cfg(opts=opts), "evaluation", opts)


def test_weights_of_elsewhere_do_not_take_the_config_of_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / DEFAULTS["OUTPUT_DIR"]
    folder.mkdir(parents=True)
    write(folder / "config.yml", dump_config(get_cfg()))
    for weight, found in (("", True), ("best", True), ("winner.pth", False)):
        assert bool(config_of_run(["TEST.WEIGHT", "", "TEST.WEIGHT", weight])) == found
    assert config_of_run(["TEST.WEIGHT", "winner.pth", "OUTPUT_DIR", str(folder)])
    assert config_of_run(["OUTPUT_DIR", str(tmp_path)]) is None


def test_differences_from_the_defaults_paste_into_a_command_line():
    assert describe_differences(get_cfg()) == "none"
    cfg = get_cfg("configs/demo.yml", ["OUTPUT_DIR", "it's a folder", "TEST.MASK_ATTRIBUTES", "()", "TEST.FLIP", "no"])
    line = describe_differences(cfg)
    assert "MODEL.VIT.DEPTH 6 " in line
    assert "\n" not in line
    assert get_cfg(opts=shlex.split(line)) == cfg
    assert describe_differences(cfg, Role.FEATURES) == "INPUT.SIZE_TEST '(64, 32)' TEST.FLIP False"
