"""The registry of data sets: each is complete, in the code, in the configs and in the documents."""

import re
from pathlib import Path

import pytest

from configs import get_cfg
from configs.defaults import DATA_SETS
from datasets.build import DATASETS, open_dataset
from datasets.readers import agvpreid, ilidsvid, lsvid, mars

ROOT = Path(__file__).resolve().parents[2]
# By name: heading in docs/datasets.md, and published counts.
EXPECTED = {
    "agvpreid": ("AG-VPReID", agvpreid.PUBLISHED),
    "detreidx": ("DetReIDX", {}),
    "folder": ("Your own data", {}),
    "g2avreid": ("G2A-VReID", mars.G2AVREID_COUNTS),
    "ilidsvid": ("iLIDS-VID", ilidsvid.PUBLISHED),
    "lsvid": ("LS-VID", lsvid.PUBLISHED),
    "mars": ("MARS", mars.MARS_COUNTS),
}


@pytest.mark.parametrize("name", DATASETS)
def test_the_document_has_a_section_with_the_published_counts(name):
    heading, published = EXPECTED[name]
    text = (ROOT / "docs/datasets.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^###? {re.escape(heading)}$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    versions = [published, agvpreid.PUBLISHED_FULL] if name == "agvpreid" else [published]
    for count, number in (pair for version in versions for pair in version.items()):
        word = "ten" if count == "splits" else f"{number:,}"
        assert re.search(rf"(?<![\d,]){word}(?![\d,]*\d)", section), count


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_copy_names_path_and_key(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder: set DATASETS\.ROOT_DIR"):
        open_dataset(name, tmp_path / "nowhere")


def test_the_configuration_knows_them():
    assert tuple(DATASETS) == DATA_SETS


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "agvpreid"])
def test_every_data_set_has_a_config_and_a_row_in_the_readme(name):
    path = "configs/own_data.yml" if name == "folder" else f"configs/xtfclip_{name}.yml"
    cfg = get_cfg(ROOT / path)
    assert name == cfg.DATASETS.NAMES
    assert cfg.DATASETS.EVAL_CASE == "all"
    assert cfg.TEST.MASK_ATTRIBUTES == ()
    assert f"--config_file {path}" in (ROOT / path).read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| `{name}`.*--config_file {path}", readme, re.MULTILINE)
