"""Every result states the protocol that its data set, or the config, chose."""

import pytest
from PIL import Image
from torch import nn

from configs import get_cfg
from datasets.build import choose_cases, make_dataset
from processor.evaluation.results import VISUAL
from processor.report.tables import format_results, score_methods
from utils.metrics import PROTOCOLS

AERIAL = "1_01_02_2024_10_30_30_40_60_Field_0_0_0_0_0_0_0_0_0_0_walk_outdoor_1_1.jpg"
GROUND = "1_01_02_1.jpg"
CASES = (
    ("case1_aerial_to_ground", 3, AERIAL, GROUND),
    ("case2_ground_to_aerial", 2, GROUND, AERIAL),
    ("case3_aerial_to_aerial", 1, AERIAL, AERIAL),
)


class Colour(nn.Module):
    def forward(self, clips, camids):
        return clips.mean(dim=(1, 3, 4))


@pytest.fixture
def cfg(tmp_path):
    """``cfg(*more)``: of a copy of DetReIDX whose people wear colours of their own, with 3, 2 and 1 queries."""
    for case, num_queries, *names in CASES:
        for side, count, name in zip(("query", "gallery"), (num_queries, 3), names, strict=True):
            for pid in range(1, count + 1):
                folder = tmp_path / case / side / str(pid) / f"{pid}_{side}"
                folder.mkdir(parents=True)
                Image.new("RGB", (4, 8), (80 * pid, 255 - 80 * pid, 0)).save(folder / name)
    opts = ["DATASETS.NAMES", "detreidx", "DATASETS.ROOT_DIR", str(tmp_path), "DATASETS.EVAL_CASE", "all"]
    opts += ["DATALOADER.NUM_WORKERS", "0", "TEST.MASK_ATTRIBUTES", "()", "MODEL.DEVICE", "cpu"]
    return lambda *more: get_cfg(opts=[*opts, *more])


@pytest.fixture
def run(run_evaluation):
    return lambda cfg: run_evaluation(cfg, Colour(), choose_cases(cfg, make_dataset(cfg, with_train=False)))


def test_overall_weighs_all_three_cases(cfg, run):
    evaluation = run(cfg())
    titles = ["aerial to ground", "ground to aerial", "aerial to aerial"]
    assert [result.case.title for result in evaluation.cases] == titles
    assert evaluation.overall(VISUAL).num_valid_queries == 3 + 2 + 1
    assert evaluation.overall(VISUAL).mAP == pytest.approx(1)
    assert f"protocol: {PROTOCOLS['vreid-xfd']}" in format_results(evaluation, ()).splitlines()
    assert [row["protocol"] for row in score_methods(evaluation)] == ["vreid-xfd"] * 4


def test_the_config_overrules_the_data_set(cfg, run):
    # Queries and gallery of case 3 share person and session: 'cross-camera' leaves every true match out.
    assert run(cfg("DATASETS.EVAL_CASE", "case3")).cases[0].rankings[VISUAL].num_valid_queries == 1
    with pytest.raises(ValueError, match="No query has a true match"):
        run(cfg("DATASETS.EVAL_CASE", "case3", "TEST.PROTOCOL", "cross-camera"))
    evaluation = run(cfg("DATASETS.EVAL_CASE", "case1", "TEST.PROTOCOL", "cross-camera"))
    assert format_results(evaluation, ()).partition("\n\n")[0] == f"protocol: {PROTOCOLS['cross-camera']}"
    assert score_methods(evaluation)[0]["protocol"] == "cross-camera"
