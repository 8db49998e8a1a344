"""Soft-biometric masks by hand."""

import numpy as np
import pytest
import torch

from datasets.attributes import AGVPREID_SCHEME, UNKNOWN_CODES, AttributeScheme
from datasets.tracklet import Tracklet
from processor.attributes.masks import annotated_penalty, predicted_penalty
from processor.build import make_ranking_options
from processor.evaluation.features import FeatureSet


def features_of(tracklets):
    return FeatureSet(tracklets, torch.zeros(len(tracklets), 1))


def penalties(query, gallery, weights, scheme=AGVPREID_SCHEME):
    """All annotated penalties, (Q, G)."""
    return annotated_penalty(features_of(query), features_of(gallery), scheme, weights).matrix()


def test_every_contradicting_column_that_is_known_on_both_sides_adds_the_penalty(make_tracklet, caplog):
    query = [make_tracklet(1, gender=0, age=3), make_tracklet(2, gender=1, age=5)]
    gallery = [make_tracklet(pid, gender=gender, age=age) for pid, gender, age in ((3, 0, 3), (4, 1, 3), (5, 1, 4))]
    penalty = penalties(query, gallery, {"gender": 100.0, "age": 30.0})
    assert penalty.tolist() == [[0, 100, 130], [130, 30, 30]]
    assert penalty.dtype == torch.float32
    annotated, bare = features_of(query), features_of([make_tracklet(2)])
    assert annotated_penalty(annotated, bare, AGVPREID_SCHEME, {"gender": 1.0}) is None
    assert annotated_penalty(annotated, annotated, None, {"gender": 1.0}) is None
    assert "The data have no annotated attributes" in caplog.text


def test_unknown_never_contradicts_and_each_column_has_its_own_code_for_it(make_tracklet):
    """Age 2 is a known age although gender 2 is unknown."""
    unknown = make_tracklet(1, gender=UNKNOWN_CODES["gender"], age=2)
    known = [make_tracklet(2, gender=0, age=1), make_tracklet(3, gender=1, age=1), unknown]
    assert UNKNOWN_CODES["gender"] == 2
    assert penalties([unknown], known, {"gender": 100.0, "age": 1.0}).tolist() == [[1, 1, 0]]
    assert not penalties(known, [unknown], {"gender": 100.0}).any()


def test_the_predicted_penalty_is_the_squared_hellinger_distance(make_tracklet):
    """1 - sqrt(0.64 * 0.36) - sqrt(0.36 * 0.64) = 0.04; 1 - sqrt(0.64 * 1) = 0.2; 1 - sqrt(0.36 * 1) = 0.4."""
    query = features_of([make_tracklet(1)])
    gallery = features_of([make_tracklet(pid) for pid in range(4)])
    probabilities = {1: torch.tensor([[0.64, 0.36]])}
    probabilities[4] = torch.tensor([[0.64, 0.36], [0.36, 0.64], [1.0, 0.0], [0.0, 1.0]])
    penalty = predicted_penalty(query, gallery, None, lambda side: {"gender": probabilities[len(side.pids)]}, 10.0)
    torch.testing.assert_close(penalty.matrix(), torch.tensor([[0.0, 0.4, 2.0, 4.0]]), atol=1e-5, rtol=0)


def test_the_predicted_penalty_of_certain_codes_is_the_annotated_one(make_tracklet):
    codes = torch.tensor([0, 1, 1, 0])
    people = [make_tracklet(pid, beard=int(code)) for pid, code in enumerate(codes)]
    certain = {"beard": torch.nn.functional.one_hot(codes, 2).float()}
    predicted = predicted_penalty(features_of(people), features_of(people), None, lambda side: certain, 3.0).matrix()
    assert torch.equal(predicted, penalties(people, people, {"beard": 3.0}))


def test_blocks_hold_the_bits_of_the_whole(make_tracklet):
    rng = np.random.default_rng(0)
    people = [make_tracklet(pid, gender=int(rng.integers(3)), age=int(rng.integers(9))) for pid in range(30)]
    sides = features_of(people[:13]), features_of(people)
    penalty = annotated_penalty(*sides, AGVPREID_SCHEME, {"gender": 73.1, "age": 51.7})
    whole = penalty.matrix()
    assert torch.equal(torch.cat([penalty.rows(slice(i, i + 2)) for i in range(0, 13, 2)]), whole)
    both = np.float32(73.1) + np.float32(51.7)
    assert set(whole.unique().tolist()) <= {0.0, *np.float32([73.1, 51.7, both]).tolist()}


@pytest.mark.parametrize(("kind", "columns"), [("none", ("age",)), ("annotated", ()), ("soft", ("age",))])
def test_without_columns_or_classifiers_there_is_no_mask(kind, columns, tiny_cfg, make_tracklet):
    people = features_of([make_tracklet(1, age=1)])
    options = make_ranking_options(tiny_cfg("TEST.MASK", kind, "TEST.MASK_ATTRIBUTES", columns))
    assert options.penalise(people, people, AGVPREID_SCHEME) is None


def test_codes_mean_what_the_data_set_says():
    """In AG-VPReID gender 2 is unknown; here it is a gender, and -1 is unknown."""
    scheme = AttributeScheme(("height", "gender"), (-1, -1))
    codes = ((0, 0), (0, 1), (0, 2), (0, -1))
    tracklets = [Tracklet("a", ("a.jpg",), pid, 0, "ground", None, row) for pid, row in enumerate(codes)]
    penalty = penalties(tracklets, tracklets, {"gender": 1.0}, scheme)
    assert penalty.tolist() == [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
