"""Fixtures of the report's tests: evaluations of generated people, each made once in a session."""

from dataclasses import replace
from functools import partial

import pytest
from torch import nn

from configs import get_cfg
from datasets.build import make_dataset, make_test_loader
from processor.build import make_extractor, make_ranking_options
from processor.evaluation.rank import evaluate
from processor.evaluation.results import Evaluation
from processor.report import write
from processor.report.direction import collect_direction
from processor.report.tables import score_methods
from utils.runtime import make_runtime


class Colour(nn.Module):
    def forward(self, clips, camids):
        return clips.mean(dim=(1, 3, 4))


@pytest.fixture(scope="session")
def run(write_tree, tiny_opts, tmp_path_factory):
    """``run(cases, *overrides, **tree options)``: an evaluation of the generated people by their mean colour."""
    trees, cases_evaluated = {}, {}

    def build(cases=("case1", "case2"), *opts, **tree):
        key = (cases, opts, *tree.items())
        if key not in cases_evaluated:
            name = tuple(tree.items())
            trees[name] = trees.get(name) or write_tree(tmp_path_factory.mktemp("data") / "tree", **tree)
            cfg = get_cfg(opts=[*tiny_opts, "DATASETS.ROOT_DIR", str(trees[name]), *map(str, opts)])
            extractor = make_extractor(cfg, Colour(), make_runtime("cpu", "fp32"))
            make_loader = partial(make_test_loader, cfg, cameras={})
            dataset = make_dataset(cfg)
            chosen = [dataset.cases[case] for case in cases]
            cases_evaluated[key] = evaluate(extractor, chosen, make_loader, make_ranking_options(cfg)).cases
        return Evaluation(list(cases_evaluated[key]))

    return build


@pytest.fixture
def collect():
    """``collect(evaluation)``: its directions as the report collects them, method by method."""
    return lambda evaluation: [collect_direction(result, method) for method, result, _ in evaluation.scored_rankings()]


@pytest.fixture
def rename():
    """``rename(evaluation, name)``: every tracklet's name, and the direction's title, begin with a name."""

    def build(evaluation, name):
        (result,) = evaluation.cases
        sides = {
            side: tuple(replace(each, name=f"{name}{n}") for n, each in enumerate(getattr(result.case, side)))
            for side in ("query", "gallery")
        }
        return Evaluation([replace(result, case=replace(result.case, title=f"a{name}b", **sides))])

    return build


@pytest.fixture
def report():
    """``report(evaluation, folder, length=4, origin=..., **options)``: the report, written."""

    def build(evaluation, folder, length=4, origin=None, **options):
        folder.mkdir(exist_ok=True)
        origin = origin or {"checkpoint": "logs/all/checkpoint_best.pth", "data": "data/AG-VPReID"}
        return write.write_report(evaluation, score_methods(evaluation), folder, length, origin, **options)

    return build


@pytest.fixture
def without_pictures(monkeypatch):
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(write, "draw_best_and_worst", lambda direction, folder: [])
    monkeypatch.setattr(write, "write_page", lambda *parts: [])
