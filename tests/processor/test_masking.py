"""The soft-biometric mask by hand."""

import numpy as np

from datasets.attributes import AGVPREID_SCHEME, UNKNOWN_CODES, AttributeScheme
from datasets.tracklet import Tracklet
from processor.masking import attribute_penalty


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


def test_only_the_columns_asked_for_count(make_tracklet):
    query, gallery = [make_tracklet(1, gender=0, height=1)], [make_tracklet(2, gender=1, height=2)]
    assert attribute_penalty(query, gallery, AGVPREID_SCHEME, ("height",), 7.0).tolist() == [[7.0]]
    assert attribute_penalty(query, gallery, AGVPREID_SCHEME, (), 7.0).tolist() == [[0.0]]


def test_codes_mean_what_the_data_set_says():
    """In AG-VPReID gender 2 is unknown; here it is a gender, and -1 is unknown."""
    scheme = AttributeScheme(("height", "gender"), (-1, -1))
    codes = ((0, 0), (0, 1), (0, 2), (0, -1))
    tracklets = [Tracklet("a", ("a.jpg",), pid, 0, "ground", None, row) for pid, row in enumerate(codes)]
    penalty = attribute_penalty(tracklets, tracklets, scheme, ("gender",), 1.0)
    assert penalty.tolist() == [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
