"""Maps of the hardest queries: whose they are, and what the page gets."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from datasets import choose_cases, make_dataset, make_test_loader
from model import make_model
from processor.build import make_extractor, make_query_mapper, make_ranking_options
from processor.evaluate import evaluate
from processor.query_maps import choose_hardest, find_first
from processor.results import VISUAL
from utils.runtime import make_runtime


@pytest.fixture
def world(make_tree, tiny_cfg):
    """The configuration, an extractor and the result of one direction, of an untrained network."""
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(), "TEST.NUM_MAPS", 2, "TEST.NUM_CLIPS", 2)
    dataset = make_dataset(cfg, with_train=False)
    model = make_model(cfg, 4, 2).eval()
    extractor = make_extractor(cfg, model, make_runtime("cpu", "fp32"))
    loader = partial(make_test_loader, cfg, cameras={0: 0, 4: 1})
    evaluation = evaluate(extractor, choose_cases(cfg, dataset), loader, make_ranking_options(cfg))
    return cfg, extractor, evaluation.cases[0]


def test_the_hardest_queries_are_of_different_people(world):
    _, _, result = world
    precisions = np.array([0.5, 0.1, 0.2, 0.9, 0.3, 0.4])
    ranking = replace(result.rankings[VISUAL], average_precisions=precisions)
    changed = replace(result, rankings={VISUAL: ranking})
    pids = [tracklet.pid for tracklet in result.case.query]
    assert pids == [20, 20, 21, 21, 22, 22]
    assert choose_hardest(changed, 2) == [1, 2]
    assert choose_hardest(changed, 5) == [1, 2, 4]
    assert choose_hardest(changed, 0) == []


def test_the_first_obeys_the_protocol(world):
    _, _, result = world
    distances = result.distances[VISUAL].matrix()
    assert find_first(result, 3) == int(distances[3].argmin())
    query, nearest = result.case.query[3], find_first(result, 3)
    gallery = list(result.case.gallery)
    gallery[nearest] = replace(gallery[nearest], pid=query.pid, camid=query.camid)
    changed = replace(result, case=replace(result.case, gallery=tuple(gallery)))
    assert find_first(changed, 3) != nearest


def test_maps_have_weights_and_pictures_of_both_tracklets(world):
    cfg, extractor, result = world
    maps = make_query_mapper(cfg, extractor, {0: 0, 4: 1})(result)
    assert list(maps) == choose_hardest(result, 2)
    for of_query in maps.values():
        assert sum(of_query.attention) == pytest.approx(1)
        assert len(of_query.attention) == len(of_query.frames) == cfg.INPUT.SEQ_LEN
        for picture in (*of_query.frames, of_query.match):
            assert picture.shape == (*cfg.INPUT.SIZE_TEST, 3)
            assert picture.dtype == np.uint8
    assert all(parameter.grad is None for parameter in extractor.model.parameters())


def test_a_compiled_network_is_not_mapped(world, tiny_cfg):
    _, extractor, result = world
    assert make_query_mapper(tiny_cfg("MODEL.COMPILE", True, "TEST.NUM_MAPS", 2), extractor, {})(result) == {}
