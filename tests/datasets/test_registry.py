"""The registry of data sets: each is complete, in the code, in the configs and in the documents."""

import inspect
import re
from pathlib import Path

import pytest

from configs import get_cfg
from datasets import DATASETS, DataSet, DatasetOptions, make_dataset
from datasets.attributes import AttributeScheme
from datasets.readers.case_folders import FolderLayout
from datasets.readers.counts import PublishedCounts
from datasets.readers.dataset import DEFAULT_OPTIONS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = "docs/datasets.md"
# By name: heading in the document, how the data check reads the data set, and its published counts.
EXPECTED = {
    "agvpreid": (
        "AG-VPReID",
        "folders",
        {
            "train identities": 689,
            "case1_aerial_to_ground/query identities": 645,
            "case1_aerial_to_ground/query tracklets": 3023,
            "case1_aerial_to_ground/gallery identities": 645,
            "case1_aerial_to_ground/gallery tracklets": 2751,
            "case2_ground_to_aerial/query identities": 645,
            "case2_ground_to_aerial/query tracklets": 2751,
            "case2_ground_to_aerial/gallery identities": 1309,
            "case2_ground_to_aerial/gallery tracklets": 4416,
        },
    ),
    "detreidx": ("DetReIDX", "folders", {}),
    "folder": ("Your own data", "loader", {}),
    "g2avreid": ("G2A-VReID", "loader", {"tracklets": 5576}),
    "ilidsvid": ("iLIDS-VID", "loader", {"identities": 300, "splits": 10}),
    "lsvid": ("LS-VID", "loader", {"training tracklets": 2831, "queries": 3504, "gallery tracklets": 7829}),
    "mars": (
        "MARS",
        "loader",
        {
            "training identities": 625,
            "training tracklets": 8298,
            "queries": 1980,
            "gallery tracklets without queries": 9330,
        },
    ),
}


def section_of(heading):
    """The part of the document under a heading of the second or third level."""
    text = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^###? {re.escape(heading)}$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    return section


def test_every_data_set_is_expected_here():
    assert DATASETS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", DATASETS)
def test_what_is_known_of_the_class(name):
    read = DATASETS[name]
    wanted = set(inspect.get_annotations(DataSet)) - {"train", "cases"}  # these two come with a copy
    assert wanted == {"scheme", "layout", "published"}
    assert isinstance(read.scheme, AttributeScheme | None)
    assert isinstance(read.layout, FolderLayout | None)
    assert isinstance(read.published, PublishedCounts)
    assert read.published.lower_bounds <= read.published.counts.keys()


@pytest.mark.parametrize("name", DATASETS)
def test_layout_and_published_counts(name):
    _, way, counts = EXPECTED[name]
    assert (DATASETS[name].layout is not None) == (way == "folders")
    assert DATASETS[name].published.counts == counts


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name].layout is not None])
def test_published_counts_of_walked_folders_are_named_by_their_splits(name):
    read = DATASETS[name]
    names = {f"{split} {noun}" for split in read.layout.splits() for noun in ("identities", "tracklets")}
    assert read.published.counts.keys() <= names


@pytest.mark.parametrize("name", DATASETS)
def test_the_document_has_a_section_with_the_published_counts(name):
    heading, _, counts = EXPECTED[name]
    section = section_of(heading)
    for count, number in counts.items():
        word = "ten" if count == "splits" else f"{number:,}"
        assert re.search(rf"(?<![\d,]){word}(?![\d,]*\d)", section), count


@pytest.mark.parametrize("name", DATASETS)
def test_one_constructor(name):
    parameters = inspect.signature(DATASETS[name]).parameters
    assert list(parameters) == ["root", "with_train", "options"]
    assert parameters["root"].default is inspect.Parameter.empty
    assert parameters["with_train"].default is True
    assert parameters["options"].default is DEFAULT_OPTIONS
    assert DatasetOptions() == DEFAULT_OPTIONS


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_copy_names_path_and_key(name, tmp_path):
    opts = ["DATASETS.NAMES", name, "DATASETS.ROOT_DIR", str(tmp_path / "nowhere"), "TEST.MASK_ATTRIBUTES", "()"]
    with pytest.raises(
        FileNotFoundError,
        match=r"nowhere is not a folder: set DATASETS\.ROOT_DIR or this command's own option .*to a copy of",
    ):
        make_dataset(get_cfg(opts=opts))


def test_columns_of_another_data_set_do_not_mask(tmp_path):
    """Codes of the same name mean other things: the default columns are AG-VPReID's."""
    with pytest.raises(ValueError, match=r"TEST\.MASK_ATTRIBUTES must be among attribute1, .*detreidx.*got 'gender'"):
        make_dataset(get_cfg(opts=["DATASETS.NAMES", "detreidx", "DATASETS.ROOT_DIR", str(tmp_path)]))


@pytest.mark.parametrize("name", DATASETS)
def test_documented_with_tree_reference_and_statistics(name):
    text = inspect.getdoc(DATASETS[name])
    sources = () if name == "folder" else ("Reference:", "URL:")
    for word in (*sources, "root/", "Statistics", "docs/datasets.md", "datasets.DataSet"):
        assert word in text


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "agvpreid"])
def test_every_benchmark_has_a_config_and_a_row_in_the_readme(name):
    path = "configs/own_data.yml" if name == "folder" else f"configs/xtfclip_{name}.yml"
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
