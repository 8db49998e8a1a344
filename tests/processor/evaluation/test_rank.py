"""Features to rankings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from datasets.attributes import AGVPREID_SCHEME
from datasets.build import make_dataset
from processor.build import make_ranking_options
from processor.evaluation import rank as evaluate
from processor.evaluation.features import FeatureSet
from processor.evaluation.rank import compute_distances, score_distances
from processor.evaluation.results import ANNOTATED, ATTRIBUTES_ALONE, PLAIN, RERANKED, VISUAL, Method
from processor.report.tables import collect_results, format_results, score_methods
from utils.metrics import CROSS_CAMERA
from utils.pictures import UnreadableFrameError
from utils.processes import Processes
from utils.reranking import re_rank

MASKED = Method(PLAIN, ANNOTATED)
ALONE = Method(ATTRIBUTES_ALONE, ANNOTATED)


class Colour(nn.Module):
    """Describe a clip by its mean colours above and below: perfect on the generated people."""

    def forward(self, clips, camids):
        return torch.cat([half.mean(dim=(1, 3, 4)) for half in clips.chunk(2, dim=3)], dim=1)


def matrices(*args):
    """The whole matrix of each method."""
    return {method: distances.matrix().numpy() for method, distances in compute_distances(*args).items()}


def test_names_of_methods_by_which_evaluations_are_joined():
    method = Method(RERANKED, ANNOTATED)
    assert str(ALONE) == "attributes alone (annotated attributes)"
    assert (str(VISUAL), VISUAL.slug) == ("visual only", "")
    assert (str(method), method.slug) == ("re-ranked + mask (annotated attributes)", "_reranked_annotated_attributes")


@pytest.fixture
def sides(make_tracklet):
    """A query man, and a gallery where a woman is nearest and he is second."""
    query = FeatureSet([make_tracklet(1, 4, gender=0)], torch.tensor([[1.0, 0.0]]))
    people = [make_tracklet(2, 0, gender=1), make_tracklet(1, 0, gender=0), make_tracklet(3, 0, gender=0)]
    return query, FeatureSet(people, torch.tensor([[0.9, 0.0], [0.7, 0.0], [0.0, 0.0]]))


def test_distances_are_squared_euclidean_and_the_mask_is_added(tiny_cfg, sides):
    distmats = matrices(*sides, AGVPREID_SCHEME, make_ranking_options(tiny_cfg()))
    assert list(distmats) == [VISUAL, MASKED, ALONE]
    np.testing.assert_allclose(distmats[VISUAL], [[0.01, 0.09, 1.0]], rtol=1e-5)
    np.testing.assert_allclose(distmats[MASKED], [[100.01, 0.09, 1.0]], rtol=1e-5)
    np.testing.assert_array_equal(distmats[ALONE], [[100, 0, 0]])
    distances = compute_distances(*sides, AGVPREID_SCHEME, make_ranking_options(tiny_cfg()))
    rankings = score_distances(distances, *sides, CROSS_CAMERA)
    assert {method: (ranking.cmc[0], ranking.mAP) for method, ranking in rankings.items()} == {
        VISUAL: (0.0, 0.5),
        MASKED: (1.0, 1.0),
        ALONE: (0.0, pytest.approx(2 / 3)),  # the true match shares the first two ranks
    }


def test_reranking_is_reported_beside_the_visual_ranking(tiny_cfg, make_tracklet):
    people = [make_tracklet(i, gender=i % 2) for i in range(6)]
    query, gallery = FeatureSet(people[:2], torch.randn(2, 4)), FeatureSet(people, torch.randn(6, 4))
    cfg = tiny_cfg("TEST.RE_RANKING", True, "TEST.RE_RANKING_K1", 3, "TEST.RE_RANKING_K2", 2)
    distmats = matrices(query, gallery, AGVPREID_SCHEME, make_ranking_options(cfg))
    assert list(distmats) == [VISUAL, Method(RERANKED), MASKED, Method(RERANKED, ANNOTATED), ALONE]
    expected = re_rank(query.features, gallery.features, k1=3, k2=2, lambda_value=0.3)
    np.testing.assert_allclose(distmats[Method(RERANKED)], expected)
    np.testing.assert_array_equal(
        np.round(distmats[Method(RERANKED, ANNOTATED)] - distmats[Method(RERANKED)]),
        100 * np.array([[0, 1] * 3, [1, 0] * 3]),
    )


def test_unreadable_tracklets_are_left_out_and_named_once(make_tree, tiny_cfg, run_evaluation, caplog):
    """One query and one gallery tracklet cannot be read, and one query has no match; the rest is ranked as ever."""
    root = make_tree(train=(), test=(20, 21, 22, 23))
    for folder in ("query/20/c4n1", "gallery/21/c0n0"):
        for path in (root / "case1_aerial_to_ground" / folder).iterdir():
            path.write_bytes(b"damaged")
    (root / "case1_aerial_to_ground/gallery/23").rename(root / "away")
    cfg = tiny_cfg("DATASETS.ROOT_DIR", root, "TEST.NUM_CLIPS", 2, "TEST.IMS_PER_BATCH", 1)
    case = make_dataset(cfg, with_train=False).cases["case1"]
    evaluation = run_evaluation(cfg, Colour(), [case])
    (result,) = evaluation.cases
    assert [query.key for query in result.case.query] == [t.key for t in case.query if t.key != "20/c4n1"]
    assert [entry.key for entry in result.case.gallery] == [t.key for t in case.gallery if t.key != "21/c0n0"]
    assert torch.isfinite(result.distances[VISUAL].matrix()).all()
    ranking = result.rankings[VISUAL]
    assert (ranking.num_valid_queries, ranking.num_unmatched, ranking.mAP) == (5, 2, 1.0)
    named = [text.partition(" tracklets are")[0] for text in caplog.messages if "left out" in text]
    assert named == ["aerial to ground: query: 1 of 8", "aerial to ground: gallery: 1 of 6"]
    assert "took their place" not in caplog.text
    assert result.num_left_out == 2
    text = "2 tracklets are left out, because none of their frames can be read; 16 frames of clips could not be read"
    assert f"\naerial to ground: {text}\n" in format_results(evaluation, score_methods(evaluation))
    results = collect_results(evaluation, {}, ())
    assert results["unreadable_tracklets_left_out"] == {"aerial to ground": 2}
    assert results["unreadable_frames"] == {"aerial to ground": 16}
    assert results["remarks"] == [f"aerial to ground: {text}"]


def test_features_of_no_frame_or_no_number_are_refused(make_tree, tiny_cfg, run_evaluation):
    class Broken(Colour):
        def forward(self, clips, camids):
            return super().forward(clips, camids) * torch.nan

    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree())
    case = make_dataset(cfg).cases["case1"]
    with pytest.raises(ValueError, match=rf"{case.title}: The features hold NaN or infinity"):
        run_evaluation(cfg, Broken(), [case])
    for tracklet in case.gallery:
        for path in tracklet.frame_paths:
            Path(path).write_bytes(b"damaged")
    with pytest.raises(UnreadableFrameError, match=r"gallery: no frame of any of the 6 tracklets can be read"):
        run_evaluation(cfg, Colour(), [case])


@pytest.mark.parametrize(
    ("empty", "message"),
    [
        ("query", "There are no tracklets to compute aerial to ground: query of."),
        ("gallery", "There are no tracklets to compute aerial to ground: gallery of."),
        ("matches", "aerial to ground: No query has a true match: none of the 6 queries shares its identity with"),
    ],
)
def test_a_direction_without_a_scored_query_is_refused(empty, message, trained_run, tiny_cfg, run_evaluation):
    cfg = tiny_cfg("DATASETS.ROOT_DIR", trained_run.root)
    case = make_dataset(cfg).cases["case1"]
    strangers = tuple(replace(tracklet, pid=tracklet.pid + 1000) for tracklet in case.gallery)
    changed = {"gallery": strangers} if empty == "matches" else {empty: ()}
    with pytest.raises(ValueError, match=message):
        run_evaluation(cfg, Colour(), [replace(case, **changed)])


@pytest.mark.parametrize(
    ("expansion", "sides", "groups", "expected"),
    [
        ("average", "gallery", "camera", ("mutual neighbours (gallery)", "camera-normalised (gallery)")),
        ("weighted", "both", "view", ("mutual neighbours", "view-normalised")),
    ],
)
def test_rankings_beside_the_visual_one_say_whether_they_use_other_queries(
    expansion, sides, groups, expected, tiny_cfg, make_tracklet
):
    names = ("QUERY_EXPANSION", "MUTUAL_NEIGHBOURS", "CAMERA_NORMALIZATION", "NORMALIZATION_GROUPS")
    values = (expansion, sides, sides, groups)
    cfg = tiny_cfg(*(word for name, value in zip(names, values, strict=True) for word in (f"TEST.{name}", value)))
    people = [make_tracklet(i, i % 2) for i in range(8)]
    query, gallery = (FeatureSet(people, features) for features in torch.randn(2, 8, 4))
    query.features[1] = query.features[0] + 0.01  # mutual neighbours
    whole = compute_distances(query, gallery, None, make_ranking_options(cfg))
    assert [str(method) for method in whole] == ["visual only", f"query expansion ({expansion})", *expected]
    if sides == "gallery":
        slugs = "_query_expansion_average", "_mutual_neighbours_gallery", "_camera_normalised_gallery"
        assert tuple(method.slug for method in whole) == ("", *slugs)
    one = FeatureSet(query.tracklets[:1], query.features[:1])
    for method, alone in compute_distances(one, gallery, None, make_ranking_options(cfg)).items():
        changes = not torch.allclose(alone.matrix(), whole[method].matrix()[:1], atol=1e-5)
        assert changes == method.ranking.uses_query_set
    assert any(method.ranking.uses_query_set for method in whole) == (sides == "both")


@pytest.mark.parametrize("sides", ["gallery", "both"])
def test_another_process_takes_from_process_0_what_takes_long(sides, tiny_cfg, make_tracklet, monkeypatch):
    class Main(Processes):
        def run_on_main(self, function):
            sent.append(function())
            return sent[-1]

    class Other(Processes):
        def run_on_main(self, function):
            return sent.pop(0)

    def refuse(*args):
        raise AssertionError("computed in every process")

    sent = []
    opts = ("TEST.RE_RANKING", True, "TEST.QUERY_EXPANSION", "average", "TEST.MUTUAL_NEIGHBOURS", sides)
    options = make_ranking_options(tiny_cfg(*opts))
    features = FeatureSet([make_tracklet(i) for i in range(6)], torch.randn(6, 4))
    expected = matrices(features, features, None, options, Main(0, 2))
    assert [each.dtype for each in sent[1:]] == [torch.int64] * (3 if sides == "both" else 2)  # numbers, no features
    for name in ("find_neighbourhoods", "find_nearest"):
        monkeypatch.setattr(evaluate, name, refuse)
    found = matrices(features, features, None, options, Other(1, 2))
    assert list(found) == list(expected)
    assert all(np.array_equal(found[method], expected[method]) for method in expected)
    assert not sent
