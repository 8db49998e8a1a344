"""Maps of the hardest queries: whose they are, and what the page gets."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from datasets.build import choose_cases, make_dataset, make_test_loader
from model import make_model
from processor.build import make_extractor, make_query_mapper, make_ranking_options
from processor.evaluation.rank import evaluate
from processor.evaluation.results import VISUAL
from processor.report.query_maps import choose_hardest
from processor.report.survey import survey_distances
from utils.runtime import make_runtime


@pytest.fixture
def world(make_tree, tiny_cfg):
    """The configuration, an extractor and the visual survey of one direction, of an untrained network."""
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(), "TEST.NUM_MAPS", 2, "TEST.NUM_CLIPS", 2)
    dataset = make_dataset(cfg, with_train=False)
    model = make_model(cfg, 4, 2).eval()
    extractor = make_extractor(cfg, model, make_runtime("cpu", "fp32"))
    loader = partial(make_test_loader, cfg, cameras={0: 0, 4: 1})
    evaluation = evaluate(extractor, choose_cases(cfg, dataset), loader, make_ranking_options(cfg))
    return cfg, extractor, survey_distances(evaluation.cases[0], VISUAL, [], 0)


def test_the_hardest_queries_are_of_different_people(world):
    _, _, survey = world
    precisions = [0.5, 0.1, 0.2, 0.9, 0.3, 0.4]
    ranked = [replace(query, average_precision=ap) for query, ap in zip(survey.ranked, precisions, strict=True)]
    changed = replace(survey, ranked=ranked)
    assert [survey.case.query[query.index].pid for query in ranked] == [20, 20, 21, 21, 22, 22]
    assert choose_hardest(changed, 2) == [ranked[1], ranked[2]]
    assert choose_hardest(changed, 5) == [ranked[1], ranked[2], ranked[4]]
    assert choose_hardest(changed, 0) == []
    ranked[1] = replace(ranked[1], nearest=(), distances=())
    assert choose_hardest(changed, 2) == [ranked[2], ranked[4]]


def test_maps_have_weights_and_pictures_of_both_tracklets(world):
    cfg, extractor, survey = world
    maps = make_query_mapper(cfg, extractor, {0: 0, 4: 1})(survey)
    assert list(maps) == [query.index for query in choose_hardest(survey, 2)]
    for of_query in maps.values():
        assert sum(of_query.attention) == pytest.approx(1)
        assert len(of_query.attention) == len(of_query.frames) == cfg.INPUT.SEQ_LEN
        for picture in (*of_query.frames, of_query.match):
            assert picture.shape == (*cfg.INPUT.SIZE_TEST, 3)
            assert picture.dtype == np.uint8
    assert all(parameter.grad is None for parameter in extractor.model.parameters())


def test_a_compiled_network_is_not_mapped(world, tiny_cfg):
    _, extractor, survey = world
    assert make_query_mapper(tiny_cfg("MODEL.COMPILE", True, "TEST.NUM_MAPS", 2), extractor, {})(survey) == {}
