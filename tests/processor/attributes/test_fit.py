"""Classifiers of attributes learn what descriptors show, and are judged by people who were held out."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from datasets.attributes import AGVPREID_SCHEME, COLUMNS, UNKNOWN_CODES
from processor.attributes.fit import Parts, choose_temperature, find_annotated, split_people, train_head, train_heads
from processor.attributes.heads import (
    SENSITIVE,
    calibration_error,
    cohen_kappa,
    keep_allowed,
    predict_columns,
    score_column,
)
from processor.evaluation.features import FeatureSet

UNKNOWN = dict(UNKNOWN_CODES)


@pytest.fixture
def crowd(make_tracklet):
    """60 people with three tracklets each, whose descriptors show gender and hairstyle, but not the beard.

    Everybody's footwear is the same, and their height is unknown.
    """
    rng = np.random.default_rng(0)
    tracklets, features = [], []
    for pid in range(60):
        codes = {"gender": pid % 2, "hairstyle": (0, 2, 4)[pid % 3], "beard": int(rng.integers(2))}
        shown = np.concatenate([np.eye(2)[codes["gender"]], np.eye(5)[codes["hairstyle"]]])
        person = rng.normal(0, 0.1, 16)
        for name in "abc":
            tracklets.append(make_tracklet(pid, name=name, **{**UNKNOWN, **codes, "footwear": 1}))
            features.append(np.concatenate([shown, person]) + rng.normal(0, 0.1, 23))
    return FeatureSet(tracklets, F.normalize(torch.tensor(np.array(features), dtype=torch.float32)))


def test_parts_share_nobody_and_hold_everybody():
    pids = np.repeat(np.arange(10, 60), 3)
    parts = split_people(pids, seed=1)
    people = [set(pids[part.numpy()]) for part in (parts.fit, parts.calibration, parts.scores)]
    assert [len(part) for part in people] == [30, 10, 10]
    assert set.union(*people) == set(pids)
    assert (parts.fit.int() + parts.calibration.int() + parts.scores.int() == 1).all()
    assert not torch.equal(parts.fit, split_people(pids, seed=2).fit)


def test_what_descriptors_show_is_learned_and_what_they_do_not_is_not(crowd, caplog):
    heads, scores = train_heads(crowd, AGVPREID_SCHEME, seed=0)
    assert set(heads) == set(scores) == {"gender", "hairstyle", "beard"}
    assert set(keep_allowed(heads, False)) == set(heads) - set(SENSITIVE) == {"hairstyle", "beard"}
    for column in ("gender", "hairstyle"):
        own = [scores[column][name] for name in ("accuracy", "agreement", "num_people", "num_tracklets")]
        assert own == [1.0, 1.0, 12, 36]
        assert scores[column]["chance"] < 0.8
    assert scores["beard"]["agreement"] < 0.5
    assert heads["hairstyle"].codes == (0, 2, 4)
    probabilities = predict_columns(heads, crowd.features, crowd.tracklets)["hairstyle"]
    truth = torch.tensor([tracklet.attributes[COLUMNS.index("hairstyle")] for tracklet in crowd.tracklets])
    assert (torch.tensor([0, 2, 4])[probabilities.argmax(dim=1)] == truth).float().mean() > 0.98
    assert all(word in caplog.text for word in ("Not learned", "footwear", "height"))
    again, same_scores = train_heads(crowd, AGVPREID_SCHEME, seed=0)
    assert same_scores == scores
    assert all(torch.equal(head.weight, again[column].weight) for column, head in heads.items())


def test_a_temperature_lowers_the_calibration_error_of_overconfident_logits():
    """Labels are drawn from softmax(z), and the logits are 4 z: the best temperature is about 4."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 3, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    sure = 4 * logits
    temperature, _ = choose_temperature(sure, labels)
    assert temperature == pytest.approx(4, rel=0.15)
    right = sure.argmax(dim=1) == labels
    assert calibration_error(sure.softmax(dim=1), right) > 0.2
    assert calibration_error((sure / temperature).softmax(dim=1), right) < 0.05


def test_scores_by_hand():
    # Two answers at 0.9, one of them right, and two at 0.6, both right: (2 * 0.4 + 2 * 0.4) / 4.
    probabilities = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
    assert calibration_error(probabilities, torch.tensor([True, False, True, True])) == pytest.approx(0.4)
    assert calibration_error(torch.eye(2), torch.tensor([True, True])) == 0
    # Three of four agree; by chance 0.5 * 0.25 + 0.5 * 0.75 = 0.5 would.
    first, second = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    assert cohen_kappa(first, second) == pytest.approx((0.75 - 0.5) / (1 - 0.5))
    assert cohen_kappa(first, first) == 1
    assert cohen_kappa(torch.zeros(4), torch.zeros(4)) == 0
    # Two people: one of code 1, which is predicted, one of code 7, which cannot be.
    probabilities = torch.tensor([[0.1, 0.9], [0.1, 0.9]])
    scores = score_column((0, 1), probabilities, torch.tensor([1, 7]), torch.tensor([3, 4]), torch.tensor(1))
    assert (scores["accuracy"], scores["num_people"], scores["num_tracklets"]) == (0.5, 2, 2)


def test_a_calibration_code_that_nobody_was_fitted_on_is_left_out():
    features = torch.tensor([[-1.0], [-0.9], [1.0], [0.9], [-1.0], [1.0], [1.0]])
    codes = torch.tensor([2, 2, 5, 5, 2, 5, 9])
    fit = torch.tensor([True] * 4 + [False] * 3)
    head = train_head(features, codes, Parts(fit, ~fit, ~fit))
    assert head.codes == (2, 5)
    assert head.probabilities(features[4:6]).argmax(dim=1).tolist() == [0, 1]


def test_data_that_cannot_be_learned_from_are_refused(make_tracklet):
    def data(scheme, train):
        return SimpleNamespace(scheme=scheme, train=train)

    known = [make_tracklet(pid, gender=pid % 2) for pid in range(12)]
    unknown = [make_tracklet(1, **UNKNOWN), make_tracklet(2)]
    assert find_annotated(data(AGVPREID_SCHEME, known + unknown), "agvpreid") == (known, AGVPREID_SCHEME)
    for dataset, message in (
        (data(None, unknown), "DATASETS.NAMES mars has no annotated attributes"),
        (data(AGVPREID_SCHEME, known[:9] + unknown), "need at least 10 training people with known .* of mars .*has 9"),
    ):
        with pytest.raises(ValueError, match=message):
            find_annotated(dataset, "mars")
