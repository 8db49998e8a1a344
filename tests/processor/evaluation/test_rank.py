"""Features to rankings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from datasets.attributes import AGVPREID_SCHEME
from datasets.build import make_dataset
from datasets.clips.decoding import UnreadableFrameError
from datasets.tracklet import Case
from processor.build import make_ranking_options
from processor.evaluation import rank as evaluate
from processor.evaluation.features import FeatureSet
from processor.evaluation.rank import compute_distances, score_distances
from processor.evaluation.results import ANNOTATED, ATTRIBUTES_ALONE, PLAIN, RERANKED, VISUAL, Method
from processor.report.tables import collect_results, format_results, score_methods
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


def test_the_mask_changes_the_ranking_before_it_is_scored(tiny_cfg, sides):
    rankings = score_distances(compute_distances(*sides, AGVPREID_SCHEME, make_ranking_options(tiny_cfg())), *sides)
    assert (rankings[VISUAL].cmc[0], rankings[VISUAL].mAP) == (0.0, 0.5)
    assert (rankings[MASKED].cmc[0], rankings[MASKED].mAP) == (1.0, 1.0)


def test_attributes_alone_rank_equal_attributes_as_tied(tiny_cfg, sides):
    """The true match shares the first two ranks with another man: rank 1.5, average precision 1 / 1.5."""
    rankings = score_distances(compute_distances(*sides, AGVPREID_SCHEME, make_ranking_options(tiny_cfg())), *sides)
    assert (rankings[ALONE].cmc[0], rankings[ALONE].mAP) == (0.0, pytest.approx(2 / 3))
    assert rankings[ALONE].first_ranks.tolist() == [1.5]


def test_no_columns_no_mask(tiny_cfg, sides):
    assert list(
        compute_distances(*sides, AGVPREID_SCHEME, make_ranking_options(tiny_cfg("TEST.MASK_ATTRIBUTES", "()")))
    ) == [VISUAL]


def test_the_penalty_is_the_configs(tiny_cfg, sides):
    distmats = matrices(*sides, AGVPREID_SCHEME, make_ranking_options(tiny_cfg("TEST.MASK_PENALTY", 2.5)))
    np.testing.assert_allclose(distmats[MASKED] - distmats[VISUAL], [[2.5, 0, 0]])


@pytest.mark.parametrize("bare", ["query", "gallery"])
def test_without_attributes_only_visual_rows(bare, tiny_cfg, sides, make_tracklet):
    query, gallery = sides
    if bare == "query":
        query = FeatureSet([make_tracklet(1, 4)], query.features)
    else:
        gallery = FeatureSet([*gallery.tracklets[:2], make_tracklet(3, 0)], gallery.features)
    assert list(compute_distances(query, gallery, AGVPREID_SCHEME, make_ranking_options(tiny_cfg()))) == [VISUAL]


def test_a_data_set_without_a_scheme_is_not_masked(tiny_cfg, sides):
    assert list(compute_distances(*sides, None, make_ranking_options(tiny_cfg()))) == [VISUAL]


def test_reranking_is_reported_beside_the_visual_ranking(tiny_cfg, make_tracklet):
    people = [make_tracklet(i, gender=i % 2) for i in range(6)]
    query, gallery = FeatureSet(people[:2], torch.randn(2, 4)), FeatureSet(people, torch.randn(6, 4))
    cfg = tiny_cfg("TEST.RE_RANKING", True, "TEST.RE_RANKING_K1", 3, "TEST.RE_RANKING_K2", 2)
    distmats = matrices(query, gallery, AGVPREID_SCHEME, make_ranking_options(cfg))
    assert [str(method) for method in distmats] == [
        "visual only",
        "re-ranked",
        "visual only + mask (annotated attributes)",
        "re-ranked + mask (annotated attributes)",
        "attributes alone (annotated attributes)",
    ]
    assert [method.slug for method in distmats] == [
        "",
        "_reranked",
        "_annotated_attributes",
        "_reranked_annotated_attributes",
        "_attributes_alone_annotated_attributes",
    ]
    expected = re_rank(query.features, gallery.features, k1=3, k2=2, lambda_value=0.3)
    np.testing.assert_allclose(distmats[Method(RERANKED)], expected)
    np.testing.assert_array_equal(
        np.round(distmats[Method(RERANKED, ANNOTATED)] - distmats[Method(RERANKED)]),
        100 * np.array([[0, 1] * 3, [1, 0] * 3]),
    )


def test_both_directions_of_files_and_overall(make_tree, tiny_cfg, run_evaluation):
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree())
    cases = list(make_dataset(cfg).cases.values())
    # The second direction gets fewer queries: overall must weigh by them.
    cases[1] = replace(cases[1], query=cases[1].query[:1])
    evaluation = run_evaluation(cfg, Colour(), cases, {0: 0, 4: 1})
    assert [len(result.case.query) for result in evaluation.cases] == [6, 1]
    assert evaluation.methods() == [VISUAL, MASKED, ALONE]
    assert [result.rankings[VISUAL].cmc[0] for result in evaluation.cases] == [1.0, 1.0]
    assert evaluation.overall(VISUAL).num_valid_queries == 7


def test_overall_weighs_directions_by_valid_queries(make_tree, tiny_cfg, run_evaluation):
    class Guess(nn.Module):
        def forward(self, clips, camids):
            return torch.rand(len(clips), 3)

    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(test=(20, 21, 22, 23, 24)))
    cases = list(make_dataset(cfg).cases.values())
    cases[1] = Case(cases[1].name, cases[1].title, cases[1].query[:3], cases[1].gallery)
    evaluation = run_evaluation(cfg, Guess(), cases)
    first, second = (result.rankings[VISUAL] for result in evaluation.cases)
    overall = evaluation.overall(VISUAL)
    assert first.mAP != second.mAP
    assert overall.mAP == pytest.approx((10 * first.mAP + 3 * second.mAP) / 13)
    assert overall.cmc[0] == pytest.approx((10 * first.cmc[0] + 3 * second.cmc[0]) / 13)


def test_a_method_need_not_rank_every_direction(make_tree, tiny_cfg, run_evaluation):
    root = make_tree()
    (root / "attributes/case2_ground_to_aerial/gallery.csv").unlink()
    cfg = tiny_cfg("DATASETS.ROOT_DIR", root)
    evaluation = run_evaluation(cfg, Colour(), list(make_dataset(cfg).cases.values()))
    assert list(evaluation.cases[0].rankings) == [VISUAL, MASKED, ALONE]
    assert evaluation.methods() == [VISUAL, MASKED, ALONE]
    assert evaluation.ranked_by(VISUAL) == evaluation.cases
    assert evaluation.ranked_by(MASKED) == evaluation.cases[:1]


def test_masked_identities_are_ranked_but_not_scored(make_tree, tiny_cfg, run_evaluation):
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree(masked=True))
    dataset = make_dataset(cfg)
    assert all(case.identities_masked for case in dataset.cases.values())
    evaluation = run_evaluation(cfg, Colour(), list(dataset.cases.values()))
    assert all(not result.rankings and result.distances[VISUAL].shape == (6, 6) for result in evaluation.cases)


@pytest.mark.parametrize(("num_workers", "num_clips"), [(0, 1), (1, 2)])
def test_unreadable_tracklets_are_left_out_and_named_once(
    num_workers, num_clips, make_tree, tiny_cfg, run_evaluation, tmp_path, caplog
):
    """One query and one gallery tracklet cannot be read, and one query has no match; the rest is ranked as ever."""
    root = make_tree(test=(20, 21, 22, 23))
    for folder in ("query/20/c4n1", "gallery/21/c0n0"):
        for path in (root / "case1_aerial_to_ground" / folder).iterdir():
            path.write_bytes(b"damaged")
    (root / "case1_aerial_to_ground/gallery/23").rename(root / "away")
    opts = ("DATALOADER.NUM_WORKERS", num_workers, "TEST.NUM_CLIPS", num_clips, "TEST.IMS_PER_BATCH", 1)
    cfg = tiny_cfg("DATASETS.ROOT_DIR", root, *opts)
    case = make_dataset(cfg).cases["case1"]
    evaluation = run_evaluation(cfg, Colour(), [case])
    (result,) = evaluation.cases
    assert [query.key for query in result.case.query] == [t.key for t in case.query if t.key != "20/c4n1"]
    assert [entry.key for entry in result.case.gallery] == [t.key for t in case.gallery if t.key != "21/c0n0"]
    assert result.distances[VISUAL].shape == (7, 5)
    assert torch.isfinite(result.distances[VISUAL].matrix()).all()
    ranking = result.rankings[VISUAL]
    assert (ranking.num_valid_queries, ranking.num_unmatched, ranking.mAP) == (5, 2, 1.0)
    named = [text for text in caplog.messages if "left out" in text]
    reason = "tracklets are left out, because none of their frames can be read"
    assert named == [
        f"aerial to ground: query: 1 of 8 {reason}: 20/c4n1",
        f"aerial to ground: gallery: 1 of 6 {reason}: 21/c0n0",
    ]
    assert "took their place" not in caplog.text
    assert "replaces it" not in caplog.text
    assert result.num_left_out == 2
    line = "left out of aerial to ground, because none of their frames can be read: 2 tracklets"
    assert line in format_results(evaluation, score_methods(evaluation))
    assert collect_results(evaluation, {}, ())["unreadable_tracklets_left_out"] == {"aerial to ground": 2}


def test_a_side_without_a_readable_frame_is_an_error(make_tree, tiny_cfg, run_evaluation):
    root = make_tree()
    for path in (root / "case1_aerial_to_ground/gallery").rglob("*.jpg"):
        path.write_bytes(b"damaged")
    cfg = tiny_cfg("DATASETS.ROOT_DIR", root)
    with pytest.raises(UnreadableFrameError, match=r"gallery: no frame of any of the 6 tracklets can be read"):
        run_evaluation(cfg, Colour(), [make_dataset(cfg).cases["case1"]])


def test_features_that_are_not_numbers_are_refused(make_tree, tiny_cfg, run_evaluation):
    class Broken(Colour):
        def forward(self, clips, camids):
            return super().forward(clips, camids) * torch.nan

    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree())
    case = make_dataset(cfg).cases["case1"]
    message = (
        rf"{case.title}: the features of 6 of 6 tracklets, such as {case.query[0].key}, hold NaN or infinity: "
        "the weights are damaged, or their training diverged. Use an earlier checkpoint."
    )
    with pytest.raises(ValueError, match=message):
        run_evaluation(cfg, Broken(), [case])


@pytest.mark.parametrize(
    ("empty", "message"),
    [
        ("query", "There are no tracklets to compute aerial to ground: query of."),
        ("gallery", "There are no tracklets to compute aerial to ground: gallery of."),
        ("matches", "aerial to ground: No query has a true match: none of the 6 queries shares its identity with"),
    ],
)
def test_a_direction_without_a_scored_query_is_refused(empty, message, make_tree, tiny_cfg, run_evaluation):
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree())
    case = make_dataset(cfg).cases["case1"]
    strangers = tuple(replace(tracklet, pid=tracklet.pid + 1000) for tracklet in case.gallery)
    changed = replace(case, **({"gallery": strangers} if empty == "matches" else {empty: ()}))
    with pytest.raises(ValueError, match=message):
        run_evaluation(cfg, Colour(), [changed])


def test_evaluation_restores_training_mode(make_tree, tiny_cfg, run_evaluation):
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree())
    model = Colour().train()
    run_evaluation(cfg, model, [make_dataset(cfg).cases["case1"]])
    assert model.training


def test_a_copy_with_one_masked_case_scores_the_open_one(make_tree, tiny_cfg, run_evaluation):
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree())
    masked, scored = make_dataset(cfg).cases.values()
    masked = replace(masked, identities_masked=True)
    evaluation = run_evaluation(cfg, Colour(), [masked, scored])
    assert [result.case for result in evaluation.masked()] == [masked]
    assert [result.case for result in evaluation.scored()] == [scored]
    assert not evaluation.cases[0].rankings
    assert evaluation.cases[0].distances.keys() == evaluation.cases[1].distances.keys() == {VISUAL, MASKED, ALONE}
    assert evaluation.overall(VISUAL).mAP == evaluation.cases[1].rankings[VISUAL].mAP == 1


@pytest.mark.parametrize(
    ("expansion", "sides", "groups", "expected"),
    [
        (
            "average",
            "gallery",
            "camera",
            ("query expansion (average)", "mutual neighbours (gallery)", "camera-normalised (gallery)"),
        ),
        ("weighted", "both", "view", ("query expansion (weighted)", "mutual neighbours", "view-normalised")),
    ],
)
def test_rankings_beside_the_visual_one_say_whether_they_use_other_queries(
    expansion, sides, groups, expected, tiny_cfg, make_tracklet
):
    cfg = tiny_cfg(
        *("TEST.QUERY_EXPANSION", expansion, "TEST.MUTUAL_NEIGHBOURS", sides, "TEST.CAMERA_NORMALIZATION", sides),
        *("TEST.NORMALIZATION_GROUPS", groups),
    )
    generator = torch.Generator().manual_seed(0)
    query, gallery = (
        FeatureSet([make_tracklet(i, i % 2) for i in range(8)], torch.randn(8, 4, generator=generator))
        for _ in range(2)
    )
    query.features[1] = query.features[0] + 0.01  # mutual neighbours
    whole = compute_distances(query, gallery, None, make_ranking_options(cfg))
    assert [str(method) for method in whole] == ["visual only", *expected]
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
    for name in ("find_neighbourhoods", "expand_queries", "add_mutual_neighbours"):
        monkeypatch.setattr(evaluate, name, refuse)
    found = matrices(features, features, None, options, Other(1, 2))
    assert list(found) == list(expected)
    assert all(np.array_equal(found[method], expected[method]) for method in expected)
    assert not sent


def test_a_block_of_any_ranking_is_that_part_of_the_whole(tiny_cfg, make_tracklet):
    people = [make_tracklet(i, gender=i % 2) for i in range(6)]
    side = FeatureSet(people, torch.randn(6, 4))
    options = make_ranking_options(tiny_cfg("TEST.RE_RANKING", True, "TEST.QUERY_EXPANSION", "average"))
    distances = compute_distances(side, side, AGVPREID_SCHEME, options)
    assert len(distances) == 7
    for whole in distances.values():
        block = whole.rows(slice(2, 5))
        assert torch.equal(block, whole.matrix()[2:5])
        assert (block.dtype, block.device) == (torch.float32, side.features.device)
