import inspect
import re
from pathlib import Path

import pytest

from configs import get_cfg
from datasets import DATASETS, DatasetOptions, make_dataset

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", DATASETS)
def test_one_constructor(name):
    parameters = inspect.signature(DATASETS[name]).parameters
    assert list(parameters) == ["root", "with_train", "options"]
    assert (parameters["with_train"].default, parameters["options"].default) == (True, DatasetOptions())


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_copy_names_path_and_key(name, tmp_path):
    opts = ["DATASETS.NAMES", name, "DATASETS.ROOT_DIR", str(tmp_path / "nowhere"), "TEST.MASK_ATTRIBUTES", "()"]
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder: set DATASETS\.ROOT_DIR to a copy of"):
        make_dataset(get_cfg(opts=opts))


def test_columns_of_another_data_set_do_not_mask(tmp_path):
    """Codes of the same name mean other things: the default columns are AG-VPReID's."""
    with pytest.raises(ValueError, match=r"TEST\.MASK_ATTRIBUTES must be among attribute1, .*detreidx.*got 'gender'"):
        make_dataset(get_cfg(opts=["DATASETS.NAMES", "detreidx", "DATASETS.ROOT_DIR", str(tmp_path)]))


@pytest.mark.parametrize("name", DATASETS)
def test_documented_with_tree_reference_and_statistics(name):
    text = inspect.getdoc(DATASETS[name])
    for word in ("Reference:", "URL:", "root/", "Statistics", "docs/datasets.md", "datasets.tracklet.Benchmark"):
        assert word in text


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "agvpreid"])
def test_every_benchmark_has_a_config_and_a_row_in_the_readme(name):
    path = f"configs/xtfclip_{name}.yml"
    cfg = get_cfg(ROOT / path)
    assert name == cfg.DATASETS.NAMES
    assert cfg.DATASETS.EVAL_CASE == "all"
    assert cfg.TEST.MASK_ATTRIBUTES == ()
    assert f"--config_file {path}" in (ROOT / path).read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| `{name}`.*--config_file {path}", readme, re.MULTILINE)


def test_train_half_is_one_of_two():
    with pytest.raises(ValueError, match="train_half must be one of second, first, got 'third'"):
        DatasetOptions(train_half="third")
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN_HALF must be one of second, first, got 'third'"):
        get_cfg(opts=["DATASETS.TRAIN_HALF", "third"])


@pytest.mark.parametrize(
    ("key", "value"), [("DATASETS.SPLIT", "0"), ("DATASETS.AERIAL_CAMERA", "-1"), ("TEST.RANKING_LENGTH", "-1")]
)
def test_numbers_out_of_range_name_the_key(key, value):
    with pytest.raises(ValueError, match=re.escape(key)):
        get_cfg(opts=[key, value])


def test_masked_identities_can_be_declared(make_tree, tiny_cfg):
    opts = ["DATASETS.ROOT_DIR", make_tree()]
    for declared in ([], ["DATASETS.IDENTITIES_MASKED", True]):
        cases = make_dataset(tiny_cfg(*opts, *declared)).cases.values()
        assert {case.identities_masked for case in cases} == {bool(declared)}
