"""Soft-biometric masks by hand."""

import numpy as np
import pytest
import torch

from datasets.attributes import AGVPREID_SCHEME, UNKNOWN_CODES, AttributeScheme
from datasets.tracklet import Tracklet
from processor.attributes.heads import AttributeHead, AttributeHeads, ColumnScores
from processor.attributes.masks import MaskOptions, annotated_penalty, make_penalty, predicted_penalty
from processor.evaluation.features import FeatureSet
from processor.evaluation.results import ANNOTATED, NO_MASK, PREDICTED, SOFT

SCORES = ColumnScores(10, 40, 0.5, 0.8, 0.6, 0.2, 0.1, 2.0)


def attribute_penalty(query, gallery, scheme, columns, penalty):
    """All penalties of one weight, (Q, G)."""
    return annotated_penalty(query, gallery, scheme, dict.fromkeys(columns, penalty)).matrix().numpy()


def test_every_contradicting_known_column_adds_the_penalty(make_tracklet):
    query = [make_tracklet(1, gender=0, age=3), make_tracklet(2, gender=1, age=5)]
    gallery = [
        make_tracklet(3, gender=0, age=3),
        make_tracklet(4, gender=1, age=3),
        make_tracklet(5, gender=1, age=4),
    ]
    penalty = attribute_penalty(query, gallery, AGVPREID_SCHEME, ("gender", "age"), 100.0)
    np.testing.assert_array_equal(penalty, [[0, 100, 200], [200, 100, 100]])
    assert penalty.dtype == np.float32


def test_unknown_never_contradicts(make_tracklet):
    unknown = make_tracklet(1, gender=UNKNOWN_CODES["gender"])
    known = [make_tracklet(2, gender=0), make_tracklet(3, gender=1), unknown]
    assert not attribute_penalty([unknown], known, AGVPREID_SCHEME, ("gender",), 100.0).any()
    assert not attribute_penalty(known, [unknown], AGVPREID_SCHEME, ("gender",), 100.0).any()


def test_each_column_has_its_own_code_for_unknown(make_tracklet):
    """Age 2 is a known age although gender 2 is unknown."""
    query, gallery = [make_tracklet(1, age=2)], [make_tracklet(2, age=1)]
    assert attribute_penalty(query, gallery, AGVPREID_SCHEME, ("age",), 100.0).tolist() == [[100.0]]
    assert UNKNOWN_CODES["gender"] == 2


def test_every_column_has_a_weight_of_its_own(make_tracklet):
    query, gallery = [make_tracklet(1, gender=0, height=1)], [make_tracklet(2, gender=1, height=2)]
    penalty = annotated_penalty(query, gallery, AGVPREID_SCHEME, {"gender": 30.0, "height": 4.0})
    assert penalty.matrix().tolist() == [[34.0]]


def test_the_predicted_penalty_is_the_squared_hellinger_distance():
    """1 - sqrt(0.64 * 0.36) - sqrt(0.36 * 0.64) = 0.04; 1 - sqrt(0.64 * 1) = 0.2; 1 - sqrt(0.36 * 1) = 0.4."""
    query = {"gender": torch.tensor([[0.64, 0.36]])}
    gallery = {"gender": torch.tensor([[0.64, 0.36], [0.36, 0.64], [1.0, 0.0], [0.0, 1.0]])}
    penalty = predicted_penalty(query, gallery, 10.0).matrix()
    torch.testing.assert_close(penalty, torch.tensor([[0.0, 0.4, 2.0, 4.0]]), atol=1e-5, rtol=0)


def test_the_predicted_penalty_of_certain_codes_is_the_annotated_one(make_tracklet):
    codes = torch.tensor([0, 1, 1, 0])
    people = [make_tracklet(pid, beard=int(code)) for pid, code in enumerate(codes)]
    certain = {"beard": torch.nn.functional.one_hot(codes, 2).float()}
    predicted = predicted_penalty(certain, certain, 3.0).matrix()
    assert torch.equal(predicted, annotated_penalty(people, people, AGVPREID_SCHEME, {"beard": 3.0}).matrix())


def test_blocks_hold_the_bits_of_the_whole(make_tracklet):
    rng = np.random.default_rng(0)
    people = [make_tracklet(pid, gender=int(rng.integers(3)), age=int(rng.integers(9))) for pid in range(30)]
    penalty = annotated_penalty(people[:13], people, AGVPREID_SCHEME, {"gender": 73.1, "age": 51.7})
    whole = penalty.matrix()
    assert torch.equal(torch.cat([penalty.rows(slice(i, i + 2)) for i in range(0, 13, 2)]), whole)
    assert set(whole.unique().tolist()) <= {
        0.0,
        *np.float32([73.1, 51.7, np.float32(73.1) + np.float32(51.7)]).tolist(),
    }


@pytest.fixture
def sides(make_tracklet):
    """A query and a gallery of one tracklet each, which differ in gender; and their descriptors."""
    query = FeatureSet([make_tracklet(1, gender=0, beard=1)], torch.tensor([[2.0]]))
    return query, FeatureSet([make_tracklet(2, gender=1, beard=1)], torch.tensor([[-2.0]]))


@pytest.fixture
def heads():
    """One classifier, of beards: its logit is the descriptor, halved by the temperature."""
    head = AttributeHead((0, 1), torch.tensor([[0.0], [1.0]]), torch.zeros(2), temperature=2.0)
    return AttributeHeads({"beard": head}, {"beard": SCORES, "gender": SCORES}, has_sensitive=False)


def test_a_soft_mask_multiplies_by_the_reliability(sides, heads):
    """A column that could not be learned has none."""
    options = MaskOptions("soft", ("gender", "beard", "age"), 100.0, heads=heads)
    mask, penalty = make_penalty(*sides, AGVPREID_SCHEME, options)
    assert (mask, mask.annotated, penalty.matrix().tolist()) == (SOFT, True, [[60.0]])
    assert heads.reliabilities(("age", "beard")) == {"age": 0.0, "beard": 0.6}


def test_a_predicted_mask_reads_no_annotation(sides, heads, make_tracklet):
    p = 1 / (1 + np.exp(-1))  # of a beard, in the query; of none, in the gallery
    bare = [FeatureSet([make_tracklet(each.pids[0])], each.features) for each in sides]
    for query, gallery in (sides, bare):
        mask, penalty = make_penalty(
            query, gallery, None, MaskOptions("predicted", predicted_penalty=4.0, predictor=heads)
        )
        assert (mask, mask.annotated) == (PREDICTED, False)
        assert penalty.matrix().item() == pytest.approx(4 * (1 - 2 * np.sqrt(p * (1 - p))), rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        MaskOptions("none", ("gender",)),
        MaskOptions("annotated", ()),
        MaskOptions("soft", ("gender",)),
        MaskOptions("predicted", ("gender",)),
    ],
)
def test_without_columns_or_classifiers_there_is_no_mask(options, sides):
    assert make_penalty(*sides, AGVPREID_SCHEME, options) == (NO_MASK, None)


def test_the_annotated_mask_needs_annotations_on_both_sides(sides, make_tracklet):
    query, gallery = sides
    options = MaskOptions("annotated", ("gender",))
    assert make_penalty(query, gallery, AGVPREID_SCHEME, options)[0] == ANNOTATED
    bare = FeatureSet([make_tracklet(2)], gallery.features)
    assert make_penalty(query, bare, AGVPREID_SCHEME, options) == (NO_MASK, None)
    assert make_penalty(query, gallery, None, options) == (NO_MASK, None)


def test_codes_mean_what_the_data_set_says():
    """In AG-VPReID gender 2 is unknown; here it is a gender, and -1 is unknown."""
    scheme = AttributeScheme(("height", "gender"), (-1, -1))
    codes = ((0, 0), (0, 1), (0, 2), (0, -1))
    tracklets = [Tracklet("a", ("a.jpg",), pid, 0, "ground", None, row) for pid, row in enumerate(codes)]
    penalty = attribute_penalty(tracklets, tracklets, scheme, ("gender",), 1.0)
    assert penalty.tolist() == [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
