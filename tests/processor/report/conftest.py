"""Fixtures of the report's tests: an evaluation of generated people."""

import pytest
from torch import nn

from datasets.build import make_dataset
from processor.report import write
from processor.report.survey import survey_distances


class Colour(nn.Module):
    def forward(self, clips, camids):
        return clips.mean(dim=(1, 3, 4))


@pytest.fixture
def colour():
    return Colour()


@pytest.fixture
def run(make_tree, tiny_cfg, run_evaluation):
    """``run(cases, *overrides, **tree options)``: an evaluation of the generated people by their mean colour."""

    def build(cases=("case1", "case2"), *opts, **tree):
        cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(**tree), *opts)
        dataset = make_dataset(cfg)
        return run_evaluation(cfg, Colour(), [dataset.cases[name] for name in cases])

    return build


@pytest.fixture
def survey():
    """``survey(evaluation)``: the surveys of an evaluation as its report makes them, method by method."""

    def build(evaluation):
        return [survey_distances(result, method, [], 0) for method, result, _ in evaluation.scored_rankings()]

    return build


@pytest.fixture
def without_pictures(monkeypatch):
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(write, "draw_best_and_worst", lambda result, folder: [])
    monkeypatch.setattr(write, "write_page", lambda data, folder: [])
