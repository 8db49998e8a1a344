"""The configuration: every key is read, every YAML loads, every mistake is named."""

import ast
import functools
import math
import re
from pathlib import Path

import pytest
import torch
import yaml
from yacs.config import CfgNode

from configs import config_of_run, describe_differences, dump_config, get_cfg, parse_camera_map, validate
from configs.checks import RANGES
from configs.defaults import _C
from configs.keys import DEFAULTS, leaves
from datasets import make_dataset
from datasets.attributes import AGVPREID_SCHEME, COLUMNS
from loss import make_loss
from model import make_model
from processor.attributes.masks import make_penalty
from processor.build import make_ranking_options
from processor.evaluation.features import FeatureSet

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
    path.write_text(text)
    return path


def keys_read(source):
    """Dotted keys that a module reads off ``cfg`` or off a name for one of its sections."""
    tree = ast.parse(source)
    sections = {"cfg": ""}
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if targets and isinstance(targets[0], ast.Name):
            text = ast.unparse(node.value)
            if text.startswith("cfg.") and text.replace(".", "").replace("_", "").isalnum():
                sections[targets[0].id] = text.removeprefix("cfg.") + "."
    keys = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            base, _, rest = ast.unparse(node).partition(".")
            if base in sections:
                keys.add(sections[base] + rest)
    return keys


def test_every_key_is_read_outside_configs():
    folders = ("datasets", "loss", "model", "processor", "search", "solver", "utils", "tools")
    paths = [*ROOT.glob("*_main.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    read = set().union(*(keys_read(path.read_text(encoding="utf-8")) for path in paths))
    assert not set(flat(_C)) - read


def test_the_key_search_follows_sections_and_is_not_fooled_by_tails():
    source = "def f(cfg):\n    stage = cfg.SOLVER.STAGE2\n    return stage.GAMMA, cfg.TEST.FLIP, other.TEST.WEIGHT"
    assert keys_read(source) >= {"SOLVER.STAGE2.GAMMA", "TEST.FLIP"}
    assert "TEST.WEIGHT" not in keys_read(source)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_every_yaml_merges_and_validates(path, caplog):
    cfg = get_cfg(path)
    validate(cfg)
    assert not caplog.records  # none of our own files holds a key without meaning
    assert set(dict(leaves(yaml.safe_load(path.read_text())))) <= set(flat(cfg))


def test_both_experiments_are_among_the_yamls():
    assert {XTFCLIP, TFCLIP} <= set(YAMLS)


def test_defaults_are_the_winners_recipe():
    assert flat(get_cfg(XTFCLIP)) == flat(get_cfg())


def test_tfclip_switches_every_extra_off_and_changes_nothing_but_image_and_batch_size():
    baseline, winner = flat(get_cfg(TFCLIP)), flat(get_cfg(XTFCLIP))
    changed = {key: value for key, value in baseline.items() if value != winner[key]}
    sizes = {"INPUT.SIZE_TRAIN": (256, 128), "INPUT.SIZE_TEST": (256, 128)}
    batch = {"SOLVER.STAGE2.IMS_PER_BATCH": 16, "DATALOADER.NUM_INSTANCE": 4}
    assert changed == {**EXTRAS, **sizes, **batch}


@pytest.mark.parametrize("key", [None, *EXTRAS])
def test_every_extra_alone_can_be_switched_off(key, tiny_cfg, make_tracklet):
    cfg = tiny_cfg(*((key, EXTRAS[key]) if key else ()), config_file=XTFCLIP)
    assert {name for name, off in EXTRAS.items() if flat(cfg)[name] == off} == ({key} if key else set())
    model = make_model(cfg, num_classes=3, num_cameras=2)
    output = model(torch.randn(4, 4, 3, 64, 32), torch.tensor([0, 1, -1, 0]), memory=torch.randn(3, 64))
    loss = make_loss(cfg, 3)(output, torch.tensor([0, 0, 1, 1]))["total"]
    loss.backward()
    assert loss.isfinite()
    assert model.eval()(torch.randn(2, 4, 3, 64, 32)).shape == (2, 192)
    people = FeatureSet([make_tracklet(1, gender=0), make_tracklet(2, gender=1)], torch.zeros(2, 1))
    _, penalty = make_penalty(people, people, AGVPREID_SCHEME, make_ranking_options(cfg).mask)
    masked = None if penalty is None else penalty.matrix().tolist()
    assert masked == (None if key == "TEST.MASK_ATTRIBUTES" else [[0, 100], [100, 0]])


def test_default_mask_names_columns_of_the_tables():
    assert set(get_cfg().TEST.MASK_ATTRIBUTES) <= set(COLUMNS)


def test_command_line_wins_over_the_file(tmp_path):
    path = write(tmp_path / "a.yml", "SOLVER:\n  SEED: 5\n  MARGIN: 1\n")
    cfg = get_cfg(path, ["SOLVER.SEED", "6"])
    assert (cfg.SOLVER.SEED, cfg.SOLVER.MARGIN) == (6, 1.0)


def test_the_result_is_frozen_and_fresh():
    cfg = get_cfg()
    with pytest.raises(AttributeError):
        cfg.SOLVER.SEED = 1
    assert get_cfg(opts=["SOLVER.SEED", "1"]).SOLVER.SEED == 1
    assert get_cfg().SOLVER.SEED == 1234
    assert isinstance(cfg, CfgNode)


def test_a_dumped_config_loads_to_the_same(tmp_path):
    cfg = get_cfg(TFCLIP, ["TEST.WEIGHT", "a.pth", "SOLVER.STAGE2.STEPS", "()"])
    assert flat(get_cfg(write(tmp_path / "config.yml", cfg.dump()))) == flat(cfg)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("TEST.FLIP", "no", False),
        ("TEST.FEAT_NORM", "yes", True),
        ("TEST.RE_RANKING", "on", True),
        ("TEST.FLIP", "off", False),
        ("MODEL.PRETRAINED", "True", True),
        ("SOLVER.STAGE2.BASE_LR", "5e-6", 5e-6),
        ("SOLVER.MARGIN", "1", 1.0),
        ("INPUT.SIZE_TRAIN", "[256, 128]", (256, 128)),
        ("INPUT.PIXEL_MEAN", "(0, 0.5, 1)", (0.0, 0.5, 1.0)),
        ("TEST.MASK_ATTRIBUTES", "()", ()),
        ("TEST.MASK_ATTRIBUTES", "('gender',)", ("gender",)),
        ("DATASETS.ROOT_DIR", "/data/2023", "/data/2023"),
        ("OUTPUT_DIR", "2023", "2023"),
    ],
)
def test_words_become_the_type_of_the_default(key, text, value):
    result = flat(get_cfg(opts=[key, text]))[key]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("SOLVER.SEED", "many"),
        ("SOLVER.SEED", "1.5"),
        ("SOLVER.SEED", "True"),
        ("TEST.FLIP", "2"),
        ("INPUT.SIZE_TRAIN", "256"),
        ("INPUT.SIZE_TRAIN", "(256.5, 128)"),
        ("SOLVER.MARGIN", "wide"),
        ("DATASETS.NAMES", "('agvpreid', 'mars')"),
    ],
)
def test_a_value_of_the_wrong_type_names_the_key(key, text):
    with pytest.raises(ValueError, match=key.replace(".", r"\.")):
        get_cfg(opts=[key, text])


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (
            ["SOLVER.STAGE2.BASELR", "1"],
            r"Unknown config key SOLVER\.STAGE2\.BASELR.*Did you mean SOLVER\.STAGE2\.BASE_LR",
        ),
        (["TEST.FLIPS", "1"], r"Did you mean TEST\.FLIP\?"),
        (["zzzzzz", "1"], r"Unknown config key zzzzzz \(command line\)\. See configs/defaults\.py\."),
        (["SOLVER.BASE_LR", "1"], r"Did you mean SOLVER\.STAGE2\.BASE_LR\?"),
        (["BASE_LR", "1"], r"Did you mean SOLVER\.STAGE2\.BASE_LR\?"),
        (["SOLVER.LR", "1"], r"Did you mean SOLVER\.STAGE2\.BASE_LR\?"),
        (["TEST.SEED", "1"], r"Did you mean SOLVER\.SEED\?"),
        (["test.flip", "1"], r"Did you mean TEST\.FLIP\?"),
        (["SOLVER.IMS_PER_BATCH", "1"], r"Did you mean SOLVER\.STAGE2\.IMS_PER_BATCH\?"),
        (
            ["SOLVER.OPTIMIZER", "Adam"],
            r"Unknown config key SOLVER\.OPTIMIZER .*Did you mean SOLVER\.STAGE2\.OPTIMIZER_NAME\?",
        ),
        (
            ["SOLVER.WARMUP_METHOD", "linear"],
            r"Unknown config key SOLVER\.WARMUP_METHOD .*The nearest, SOLVER\.STAGE2\.WARMUP_METHOD, is a key of the "
            r"published code; here it is always linear\.",
        ),
        (["MODEL.VIT", "1"], r"MODEL\.VIT \(command line\) is a section, not a key"),
        (["SOLVER.STAGE1.BASE_LR", "1"], r"^SOLVER\.STAGE1\.BASE_LR .* published code that means nothing here\.$"),
        (["INPUT.PADDING", "10"], r"^INPUT\.PADDING \(command line\) is a key .* that means nothing here\.$"),
        (["SOLVER.STAGE2.LARGE_FC_LR", "True"], r"use SOLVER\.STAGE2\.TEMPORAL_CLASSIFIER_LR_FACTOR instead, 10 for"),
        (["SOLVER.SEED"], r"KEY VALUE pairs, got an odd number of words: SOLVER\.SEED"),
        (
            ["SOLVER.STAGE2.IMS_PER_BATCH", "20"],
            r"IMS_PER_BATCH must be a multiple of DATALOADER\.NUM_INSTANCE \(6\).*20",
        ),
        (["SOLVER.STAGE2.IMS_PER_BATCH", "6"], r"at least two identities, got 6"),
        (["MODEL.POOLING", "max"], r"MODEL\.POOLING must be one of attention, mean, got 'max'"),
        (["SOLVER.STAGE2.OPTIMIZER_NAME", "SGD"], r"OPTIMIZER_NAME must be one of Adam, AdamW, got 'SGD'"),
        (["SOLVER.STAGE2.SCHEDULE", "poly"], r"SCHEDULE must be one of step, cosine, linear, got 'poly'"),
        (["SOLVER.STAGE2.LAYER_DECAY", "0"], r"LAYER_DECAY must lie between 0 and 1 without 0, got 0\.0"),
        (["SOLVER.STAGE2.LAYER_DECAY", "1.1"], r"LAYER_DECAY must lie between 0 and 1 without 0, got 1\.1"),
        (
            ["SOLVER.STAGE2.HEAD_LR_FACTOR", "-1"],
            r"HEAD_LR_FACTOR must lie between 0 and 1,000,000, got -1",
        ),
        (["MODEL.FREEZE_BLOCKS", "-1"], r"MODEL\.FREEZE_BLOCKS must lie between 0 and 100, got -1"),
        (["DATASETS.EVAL_CASE", "case4"], r"DATASETS\.EVAL_CASE must be one of case1, case2, case3, all"),
        (["INPUT.SIZE_TEST", "(1, 2, 3)"], r"INPUT\.SIZE_TEST must be 2 numbers \(height, width\), got \(1, 2, 3\)"),
        (["INPUT.SEQ_LEN", "0"], r"INPUT\.SEQ_LEN must lie between 1 and 1,024, got 0"),
        (["DATALOADER.MAX_BAD_FRACTION", "5"], r"DATALOADER\.MAX_BAD_FRACTION must lie between 0 and 1, got 5"),
        (["INPUT.RE_PROB", "1.5"], r"INPUT\.RE_PROB must lie between 0 and 1"),
        (["INPUT.PIXEL_STD", "(0.2, 0.2)"], r"INPUT\.PIXEL_STD must be 3 numbers \(R, G, B\)"),
        (
            ["INPUT.PIXEL_STD", "(0.2, 0, 0.2)"],
            r"INPUT\.PIXEL_STD must lie between 0\.001 and 1, got \(0\.2, 0\.0",
        ),
        (["SOLVER.STAGE2.STEPS", "(50, 30)"], r"SOLVER\.STAGE2\.STEPS must increase"),
        (["SOLVER.STAGE2.BASE_LR", "nan"], r"SOLVER\.STAGE2\.BASE_LR"),
        (["SOLVER.STAGE2.BASE_LR", "1e999"], r"SOLVER\.STAGE2\.BASE_LR must lie between 0 and 100 without 0, got inf"),
        (["INPUT.PIXEL_MEAN", "(0, 1e999, 0)"], r"INPUT\.PIXEL_MEAN must lie between 0 and 1, got \(0\.0, inf, 0\.0\)"),
        (["SOLVER.MARGIN", "1" + "0" * 400], r"SOLVER\.MARGIN \(command line\) must be of type float"),
    ],
)
def test_a_mistake_names_the_key_to_change(opts, message):
    with pytest.raises((ValueError, TypeError), match=message):
        get_cfg(opts=opts)


NUMBERS = [key for key, value in DEFAULTS.items() if isinstance(value, int | float) and not isinstance(value, bool)]
TUPLES = [key for key, value in DEFAULTS.items() if isinstance(value, tuple) and isinstance(value[0], int | float)]
# Keys that may be 0: off, none, all, or a term that does not count. Each of them says so in configs/defaults.py.
ZERO_HAS_A_MEANING = {
    *(f"MODEL.VIT.{name}" for name in ("EMBED_DIM", "DEPTH", "NUM_HEADS", "PATCH_SIZE", "PROJ_DIM")),
    *("MODEL.FREEZE_BLOCKS", "MODEL.SIE_COE", "MODEL.PROMPT_DROPOUT", "LOSS.SMOOTHING", "LOSS.HARD_WEIGHT"),
    *(f"MODEL.{name}_LOSS_WEIGHT" for name in ("ID", "TRIPLET", "I2T", "FRAME")),
    *("INPUT.PROB", "INPUT.RE_PROB", "INPUT.CROP_PADDING", "INPUT.COLOR_JITTER", "DATASETS.AERIAL_CAMERA"),
    *("DATALOADER.NUM_WORKERS", "DATALOADER.MAX_BAD_FRACTION", "SOLVER.SEED", "SOLVER.MARGIN"),
    *(key for key in NUMBERS if key.endswith(("_FACTOR", "WEIGHT_DECAY", "WEIGHT_DECAY_BIAS"))),
    *(
        "SOLVER.STAGE2.CHECKPOINT_MINUTES",
        "SOLVER.STAGE2.CLIP_GRADIENT_NORM",
        "SOLVER.STAGE2.EMA_DECAY",
        "SOLVER.STAGE2.GAMMA",
        "SOLVER.STAGE2.WARMUP_ITERS",
        "SOLVER.STAGE2.EVAL_PERIOD",
    ),
    *("TEST.MASK_PENALTY", "TEST.PREDICTED_PENALTY", "TEST.RE_RANKING_LAMBDA", "TEST.RANKING_LENGTH", "TEST.NUM_MAPS"),
}


def with_value(key, value):
    """The defaults with one value put in directly, past all conversions."""
    cfg = _C.clone()
    *sections, leaf = key.split(".")
    functools.reduce(getattr, sections, cfg)[leaf] = value
    return cfg


def test_every_number_has_a_range():
    assert set(RANGES) == {*NUMBERS, *TUPLES}


@pytest.mark.parametrize("key", [*NUMBERS, *TUPLES])
def test_no_key_takes_a_senseless_number(key):
    """No key takes a negative number: none of them measures a change or a direction."""
    for number in (math.nan, math.inf, -math.inf, -1, -1e-9, -(10**30), 10**30, 1e300):
        value = (*DEFAULTS[key][:-1], number) if key in TUPLES else number
        with pytest.raises(ValueError, match=rf"^{re.escape(key)} must lie between .*, got .*\.$") as error:
            validate(with_value(key, value))
        assert len(str(error.value)) < 250


@pytest.mark.parametrize("key", NUMBERS)
def test_zero_is_allowed_where_it_has_a_meaning(key):
    if key in ZERO_HAS_A_MEANING:
        validate(with_value(key, type(DEFAULTS[key])(0)))
    else:
        with pytest.raises(ValueError, match=rf"^{re.escape(key)} must "):
            validate(with_value(key, 0))


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:15"])
def test_devices_are_allowed(device):
    validate(with_value("MODEL.DEVICE", device))


@pytest.mark.parametrize("device", ["", "gpu", "CPU", "mps", "cpu:0", "cuda:", "cuda:-1", "cuda:01", "cuda:100"])
def test_other_devices_are_refused(device):
    with pytest.raises(ValueError, match=r"^MODEL\.DEVICE must be auto, cpu, cuda or cuda:N, got "):
        get_cfg(opts=["MODEL.DEVICE", device])


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (
            ["MODEL.VIT.EMBED_DIM", "64", "MODEL.VIT.NUM_HEADS", "3"],
            r"EMBED_DIM must be a multiple of .*HEADS \(3\)",
        ),
        (
            ["TEST.IMS_PER_BATCH", "60000"],
            r"^TEST\.IMS_PER_BATCH clips of INPUT\.SEQ_LEN frames in INPUT\.SIZE_TEST",
        ),
        (["INPUT.SEQ_LEN", "1024", "SOLVER.STAGE2.IMS_PER_BATCH", "6000"], r"^SOLVER\.STAGE2\.IMS_PER_BATCH clips of"),
    ],
)
def test_sizes_that_fit_no_memory_or_one_another_are_refused(opts, message):
    with pytest.raises(ValueError, match=message):
        get_cfg(opts=opts)


@pytest.mark.parametrize("value", ['"a\\0b"', '"a\\nb"', '"\\ud800"', "x" * 4097])
def test_text_that_cannot_be_a_path_or_a_name_is_refused(value, tmp_path):
    with pytest.raises(ValueError, match=r"^OUTPUT_DIR must hold at most 4,096 characters of text") as error:
        get_cfg(write(tmp_path / "a.yml", f"OUTPUT_DIR: {value}\n"))
    assert len(str(error.value)) < 250


def test_a_path_that_is_not_utf8_survives_the_config_of_a_run(tmp_path):
    cfg = get_cfg(opts=["OUTPUT_DIR", "caf\udce9"])
    write(tmp_path / "config.yml", dump_config(cfg))
    assert flat(get_cfg(tmp_path / "config.yml")) == flat(cfg)


def test_an_unknown_attribute_column_names_the_key(make_tree, tiny_cfg):
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(), "TEST.MASK_ATTRIBUTES", ("gender", "gendre"))
    with pytest.raises(ValueError, match=r"TEST\.MASK_ATTRIBUTES must be among gender, .*got 'gendre'"):
        make_dataset(cfg)


def test_a_yaml_with_an_unknown_key_names_file_and_key(tmp_path):
    path = write(tmp_path / "a.yml", "MODEL:\n  POOLIN: mean\n")
    with pytest.raises(ValueError, match=r"MODEL\.POOLIN \(.*a\.yml\)\. Did you mean MODEL\.POOLING"):
        get_cfg(path)


@pytest.mark.parametrize("text", ["MODEL: [1, 2", "- a\n- b\n", "just words"])
def test_a_file_that_is_no_mapping_is_named(tmp_path, text):
    with pytest.raises(ValueError, match=r"bad\.yml"):
        get_cfg(write(tmp_path / "bad.yml", text))


def test_an_empty_yaml_is_the_defaults(tmp_path):
    assert flat(get_cfg(write(tmp_path / "empty.yml", "# nothing\n"))) == flat(get_cfg())


def test_the_config_of_a_run_is_found_or_none(tmp_path):
    opts = ["TEST.FLIP", "False", "OUTPUT_DIR", str(tmp_path)]
    assert config_of_run(opts) is None
    path = write(tmp_path / "config.yml", dump_config(get_cfg()))
    assert config_of_run(opts) == path
    assert config_of_run([]) != path


def test_a_run_is_dumped_to_the_same_configuration(tmp_path):
    cfg = get_cfg(TFCLIP, ["SOLVER.STAGE2.STEPS", "()"])
    assert flat(get_cfg(write(tmp_path / "config.yml", dump_config(cfg)))) == flat(cfg)


def test_a_config_of_a_run_that_was_cut_short_is_refused_wherever_it_ends(tmp_path):
    text = dump_config(get_cfg())
    for length in range(0, len(text.rstrip()), 37):
        write(tmp_path / "config.yml", text[:length])
        with pytest.raises(ValueError, match=r"config\.yml was cut short.*--config_file.*'# End of the configuration'"):
            config_of_run(["OUTPUT_DIR", str(tmp_path)])
    write(tmp_path / "config.yml", text + "# a note of mine\n")
    assert config_of_run(["OUTPUT_DIR", str(tmp_path)])


def test_a_string_stays_as_typed():
    cfg = get_cfg(None, ["OUTPUT_DIR", "2026_11_23", "DATASETS.ROOT_DIR", "1e3", "DATASETS.NAMES", "('agvpreid')"])
    assert (cfg.OUTPUT_DIR, cfg.DATASETS.ROOT_DIR, cfg.DATASETS.NAMES) == ("2026_11_23", "1e3", "agvpreid")


def test_a_camera_map_is_pairs_of_cameras(tmp_path):
    assert parse_camera_map("") == {}
    assert parse_camera_map(get_cfg(opts=["TEST.CAMERA_MAP", "0:4, 12:5"]).TEST.CAMERA_MAP) == {0: 4, 12: 5}
    written = get_cfg(write(tmp_path / "map.yml", "TEST:\n  CAMERA_MAP: '1:5'\n"))
    assert get_cfg(write(tmp_path / "config.yml", dump_config(written))).TEST.CAMERA_MAP == "1:5"
    for text in ("4", "0:4,", "0:-1", "0:4;1:5", "a:b", "0:1:2"):
        with pytest.raises(ValueError, match=r"TEST\.CAMERA_MAP must be pairs .* such as '0:4,1:5'"):
            get_cfg(opts=["TEST.CAMERA_MAP", text])
    with pytest.raises(ValueError, match=r"TEST\.CAMERA_MAP must name every test camera once, got '0:4,0:5'"):
        get_cfg(opts=["TEST.CAMERA_MAP", "0:4,0:5"])


def test_key_equals_value_is_explained():
    with pytest.raises(ValueError, match=r"KEY VALUE, separated by a space: DATASETS\.ROOT_DIR=data"):
        get_cfg(None, ["TEST.FLIP", "False", "DATASETS.ROOT_DIR=data"])


def test_an_option_after_the_keys_is_explained():
    with pytest.raises(ValueError, match=r"Options come before the KEY VALUE pairs: move --resume"):
        get_cfg(None, ["TEST.FLIP", "False", "--resume"])


def test_a_yaml_value_that_is_not_finite_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"SOLVER\.MARGIN must lie between 0 and 1,000,000, got nan"):
        get_cfg(write(tmp_path / "a.yml", "SOLVER:\n  MARGIN: .nan\n"))


def test_the_package_hands_names_on_and_holds_no_code():
    tree = ast.parse((ROOT / "configs/__init__.py").read_text(encoding="utf-8"))
    assert {type(node) for node in tree.body} == {ast.Expr, ast.ImportFrom, ast.Assign}
    assert [ast.unparse(node.targets[0]) for node in tree.body if isinstance(node, ast.Assign)] == ["__all__"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Config file not found: .*nowhere\.yml"):
        get_cfg(tmp_path / "nowhere.yml")


def test_differences_from_the_defaults_are_one_line():
    assert describe_differences(get_cfg()) == "none"
    cfg = get_cfg("configs/demo.yml", ["SOLVER.SEED", "7", "TEST.MASK_ATTRIBUTES", "()"])
    line = describe_differences(cfg)
    assert "\n" not in line
    for words in ("SOLVER.SEED 7", "MODEL.VIT.DEPTH 6", "INPUT.SIZE_TRAIN (64, 32)", "TEST.MASK_ATTRIBUTES ()"):
        assert words in line
    assert "SOLVER.MARGIN" not in line
