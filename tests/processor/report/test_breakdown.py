"""Scores of groups of queries."""

import numpy as np
import pytest

from datasets.attributes import AttributeScheme
from datasets.tracklet import Case, Tracklet
from processor.evaluation.results import VISUAL, CaseResult, Evaluation
from processor.report.breakdown import break_down, format_breakdown
from utils.bootstrap import bootstrap_interval
from utils.distances import given_distances
from utils.metrics import PROTOCOLS, evaluate_ranking

SCHEME = AttributeScheme(("hat",), (2,))


def tracklet(pid, camid, name="a", view="ground", altitude=None, day=None, frames=8, hat=None):
    attributes = None if hat is None else (hat,)
    return Tracklet(name, ("frame.jpg",) * frames, pid, camid, view, altitude, attributes, day)


def evaluate(query, gallery, distmat, scheme=SCHEME, protocol="cross-camera"):
    ids = [[getattr(one, name) for one in side] for name in ("pid", "camid") for side in (query, gallery)]
    ranking = evaluate_ranking(np.array(distmat), *ids, protocol=PROTOCOLS[protocol])
    case = Case("case1", "a to b", tuple(query), tuple(gallery), protocol, scheme)
    return Evaluation([CaseResult(case, {VISUAL: given_distances(np.array(distmat))}, {VISUAL: ranking})])


def groups(evaluation, name):
    """(value, number of queries, R1, mAP) of each group of a property."""
    rows = [row for row in break_down(evaluation) if row["property"] == name]
    return [(row["value"], row["num_queries"], row["R1"], row["mAP"]) for row in rows]


def test_ground_queries_are_grouped_by_what_they_and_their_matches_are():
    query = [
        tracklet(1, 10, day=230101, frames=8, hat=0),
        tracklet(1, 9, "b", day=230102, frames=100, hat=1),
        tracklet(2, 9, day=230103, frames=9, hat=2),
        tracklet(3, -1, frames=40),
        tracklet(7, 9, hat=0),  # has no match: not counted
    ]
    gallery = [
        tracklet(1, 4, view="aerial", altitude=120, day=230101),
        tracklet(1, 9, view="aerial", altitude=30, day=230102),  # left out of the ranking of the second query
        tracklet(2, 4, view="aerial", altitude=15, day=230103),
        tracklet(3, 4, view="aerial", day=230103),
    ]
    # Average precisions: 1; 1/2; 1; 1/4.
    distmat = [[0, 1, 2, 3], [1, 2, 0, 3], [2, 3, 0, 1], [0, 1, 2, 3], [0, 1, 2, 3]]
    evaluation = evaluate(query, gallery, distmat)
    assert groups(evaluation, "query camera") == [("9", 2, 0.5, 0.75), ("10", 1, 1, 1)]
    assert groups(evaluation, "query camera to gallery camera") == [
        ("9 to 4", 2, 0.5, 0.75),
        ("10 to 4", 1, 1, 1),
        ("10 to 9", 1, 1, 1),  # the first query has matches in two cameras
    ]
    assert groups(evaluation, "altitude") == [("15 m", 1, 1, 1), ("30, 120 m", 1, 1, 1), ("120 m", 1, 0, 0.5)]
    assert groups(evaluation, "day of the true matches") == [
        ("the same", 1, 1, 1),
        ("the same and others", 1, 1, 1),
        ("another", 1, 0, 0.5),
    ]
    assert groups(evaluation, "frames of the query") == [
        ("8 to 8", 1, 1, 1),
        ("9 to 9", 1, 1, 1),
        ("40 to 40", 1, 0, 0.25),
        ("100 to 100", 1, 0, 0.5),
    ]
    assert groups(evaluation, "hat") == [("0", 1, 1, 1), ("1", 1, 0, 0.5)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pair_of_cameras_ranks_the_gallery_of_the_second_alone(protocol):
    """Matches in camera 0 come first, in camera 1 last; person 2 is not seen there, and the last has no camera."""
    query = [tracklet(1, 4), tracklet(2, 4), tracklet(3, 5)]
    gallery = [tracklet(pid, camid) for pid, camid in ((1, 0), (2, 0), (1, 1), (3, 1), (9, 1), (3, -1))]
    distmat = [[0, 1, 5, 3, 4, 9], [1, 0, 9, 9, 9, 9], [1, 1, 2, 3, 4, 0]]
    evaluation = evaluate(query, gallery, distmat, protocol=protocol)
    trapezoidal = PROTOCOLS[protocol].average_precision == "trapezoidal"
    assert groups(evaluation, "query camera to gallery camera") == [
        ("4 to 0", 2, 1, 1),
        ("4 to 1", 1, 0, (0 + 1 / 3) / 2 if trapezoidal else 1 / 3),
        ("5 to 1", 1, 0, (0 + 1 / 2) / 2 if trapezoidal else 1 / 2),
    ]


def test_every_group_has_its_interval_in_data_and_text():
    query = [tracklet(pid, 4) for pid in (1, 1, 2, 3)]
    gallery = [tracklet(pid, 0) for pid in (1, 2, 3)]
    rows = break_down(evaluate(query, gallery, [[0, 1, 1], [1, 0, 0], [1, 0, 1], [0, 1, 1]], scheme=None))
    low, high = bootstrap_interval(np.array([1.0, 0, 1, 0]), np.array([1, 1, 2, 3]))
    for row in rows:
        assert (row["num_queries"], row["num_people"], row["R1"]) == (4, 3, 0.5)
        assert (row["R1_low"], row["R1_high"]) == (low, high)
    cells = format_breakdown(rows).splitlines()[2].split()[-6:]
    assert cells[:2] + cells[4:] == ["50.00", f"{100 * low:.2f}-{100 * high:.2f}", "4", "3"]


def test_aerial_queries_are_grouped_by_their_own_altitude():
    query = [tracklet(1, 4, view="aerial", altitude=80), tracklet(2, 4, view="aerial", altitude=15)]
    evaluation = evaluate(query, [tracklet(1, 0), tracklet(2, 0)], [[0, 1], [0, 1]], scheme=None)
    assert groups(evaluation, "altitude") == [("15 m", 1, 0, 0.5), ("80 m", 1, 1, 1)]
    assert groups(evaluation, "day of the true matches") == []
    assert groups(evaluation, "frames of the query") == [("8 to 8", 2, 0.5, 0.75)]
