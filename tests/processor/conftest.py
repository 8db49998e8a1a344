"""Fixtures of the processors' tests."""

from functools import partial

import pytest

from datasets.build import make_test_loader
from processor.build import make_extractor, make_ranking_options
from processor.evaluation.rank import evaluate
from processor.training import monitor
from utils.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")


@pytest.fixture(autouse=True)
def _without_curves(monkeypatch):
    """Drawing takes longer than a tiny epoch; test_monitor.py draws."""
    monkeypatch.setattr(monitor, "draw_curves", lambda rows, path: None)


@pytest.fixture
def run_evaluation():
    """``run_evaluation(cfg, model, cases, cameras={})``: an evaluation as eval_main builds it."""

    def run(cfg, model, cases, cameras=None):
        make_loader = partial(make_test_loader, cfg, cameras=cameras or {})
        return evaluate(make_extractor(cfg, model, RUNTIME), cases, make_loader, make_ranking_options(cfg))

    return run
