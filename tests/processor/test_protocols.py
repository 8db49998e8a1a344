"""Every result states the protocol that its data set, or the config, chose."""

import json

import pytest
from PIL import Image
from torch import nn

from configs import get_cfg
from datasets.build import choose_cases, make_dataset
from processor.evaluation.results import VISUAL
from processor.report.tables import format_protocols, score_methods
from processor.report.write import write_report
from utils.metrics import PROTOCOLS

AERIAL = "1_01_02_2024_10_30_30_40_60_Field_0_0_0_0_0_0_0_0_0_0_walk_outdoor_{session}_{frame}.jpg"
GROUND = "1_01_02_{frame}.jpg"
SIDES = {"case1_aerial_to_ground": "ag", "case2_ground_to_aerial": "ga", "case3_aerial_to_aerial": "aa"}
QUERIES = {"case1_aerial_to_ground": 3, "case2_ground_to_aerial": 2, "case3_aerial_to_aerial": 1}


class Colour(nn.Module):
    def forward(self, clips, camids):
        return clips.mean(dim=(1, 3, 4))


@pytest.fixture
def cfg(tmp_path):
    """A copy of DetReIDX whose people wear colours of their own, with 3, 2 and 1 queries."""
    for case, views in SIDES.items():
        for side, view in zip(("query", "gallery"), views, strict=True):
            for pid in range(1, 4 if side == "gallery" else QUERIES[case] + 1):
                folder = tmp_path / "data" / case / side / str(pid) / f"{pid}_{side}"
                folder.mkdir(parents=True)
                name = (AERIAL if view == "a" else GROUND).format(session=1, frame=1)
                Image.new("RGB", (4, 8), (80 * pid, 255 - 80 * pid, 0)).save(folder / name)
    opts = {"DATASETS.NAMES": "detreidx", "DATASETS.ROOT_DIR": tmp_path / "data", "DATASETS.EVAL_CASE": "all"}
    opts |= {"DATALOADER.NUM_WORKERS": 0, "TEST.MASK_ATTRIBUTES": "()", "MODEL.DEVICE": "cpu"}

    def build(*more):
        return get_cfg(opts=[*(str(word) for pair in opts.items() for word in pair), *more])

    return build


@pytest.fixture
def run(run_evaluation):
    return lambda cfg: run_evaluation(cfg, Colour(), choose_cases(cfg, make_dataset(cfg, with_train=False)))


def test_overall_weighs_all_three_cases(cfg, run, tmp_path):
    evaluation = run(cfg())
    titles = ["aerial to ground", "ground to aerial", "aerial to aerial"]
    assert [result.case.title for result in evaluation.cases] == titles
    assert evaluation.overall(VISUAL).num_valid_queries == 3 + 2 + 1
    assert evaluation.overall(VISUAL).mAP == pytest.approx(1)
    write_report(evaluation, score_methods(evaluation), tmp_path, 2, {"checkpoint": "a.pth", "data": "data"})
    assert f"protocol: {PROTOCOLS['vreid-xfd']}" in (tmp_path / "results.txt").read_text().splitlines()
    content = json.loads((tmp_path / "results.json").read_text())
    assert list(content["protocols"]) == ["vreid-xfd"]
    assert [row["protocol"] for row in content["results"]] == ["vreid-xfd"] * 4


def test_the_config_overrules_the_data_set(cfg, run):
    # Queries and gallery of case 3 share person and session: 'cross-camera' leaves every true match out.
    assert run(cfg("DATASETS.EVAL_CASE", "case3")).cases[0].rankings[VISUAL].num_valid_queries == 1
    with pytest.raises(ValueError, match="No query has a true match"):
        run(cfg("DATASETS.EVAL_CASE", "case3", "TEST.PROTOCOL", "cross-camera"))
    evaluation = run(cfg("DATASETS.EVAL_CASE", "case1", "TEST.PROTOCOL", "cross-camera"))
    assert format_protocols(evaluation) == f"protocol: {PROTOCOLS['cross-camera']}"
    assert score_methods(evaluation)[0]["protocol"] == "cross-camera"
