"""Fixtures of the processors' tests."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from datasets.build import make_dataset, make_test_loader, make_train_loader, make_train_transform
from processor.build import (
    make_extractor,
    make_ranking_options,
    make_training_state,
)
from processor.evaluation.rank import evaluate
from processor.training import monitor
from processor.training.clip_memory import build_memory
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


@pytest.fixture
def set_up(trained_run, tiny_cfg, tmp_path):
    """``set_up(*overrides, resume=False, root=...)``: what ``train`` needs; the data are those of ``trained_run``."""

    def build(*opts, resume=False, root=trained_run.root):
        cfg = tiny_cfg("DATASETS.ROOT_DIR", root, *opts)
        torch.manual_seed(cfg.SOLVER.SEED)
        dataset = make_dataset(cfg)
        state = make_training_state(cfg, dataset, RUNTIME, resume=resume)
        if not resume:
            state.memory = build_memory(cfg, dataset, state.model, RUNTIME)
        return SimpleNamespace(
            cfg=cfg,
            dataset=dataset,
            state=state,
            loader=make_train_loader(cfg, dataset),
            augment=make_train_transform(cfg),
            output=tmp_path,
        )

    return build
