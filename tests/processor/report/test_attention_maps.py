"""Attention maps mean something: what they mark matters to the similarity more than a random choice does."""

import numpy as np
import pytest
import torch

from configs import get_cfg
from datasets.build import choose_cases, make_dataset, make_test_loader
from demo.crowd import render_person
from model import make_model
from processor.build import make_extractor
from processor.report.attention_maps import explain_pair, find_tracklet, overlay
from utils.runtime import make_runtime

NUM_PAIRS = 8
NUM_DRAWS = 5


@pytest.fixture
def extractor():
    """The demo's encoder, pre-trained; what is above it is as training finds it."""
    cfg = get_cfg("configs/demo.yml")
    model = make_model(cfg, num_classes=2, num_cameras=0).eval()
    return make_extractor(cfg, model, make_runtime("cpu", "fp32"))


def synthetic_pairs():
    for person in range(NUM_PAIRS):
        frames = torch.from_numpy(render_person(person, seed=77, size=(64, 32))[0]).permute(0, 1, 2, 5, 3, 4)
        ground, aerial = frames[:, :2].flatten(1, 2)  # (4, C, H, W) each
        yield ground, aerial


def real_pairs(root):
    cfg = get_cfg("configs/demo.yml", ["DATASETS.ROOT_DIR", str(root), "DATASETS.EVAL_CASE", "case1"])
    (case,) = choose_cases(cfg, make_dataset(cfg, with_train=False))
    pairs = [(query, other) for query in case.query for other in case.gallery if query.pid == other.pid]
    for place in np.random.default_rng(0).permutation(len(pairs))[:NUM_PAIRS]:
        clips = make_test_loader(cfg, pairs[place]).dataset
        yield clips[0]["clips"], clips[1]["clips"]


def drop_after_erasing(extractor, query, gallery, importance):
    """How much the similarity falls when the fifth of the patches with the highest importance is the mean colour."""
    T, rows, columns = importance.shape
    highest = importance.flatten(1).topk(round(0.2 * rows * columns), dim=1).indices
    erased = torch.zeros(T, rows * columns).scatter_(1, highest, 1).view(T, 1, rows, columns)
    patch = query.shape[-1] // columns
    erased = erased.repeat_interleave(patch, -2).repeat_interleave(patch, -1)
    clean, other = extractor.transform(torch.stack([query, gallery]))
    with torch.inference_mode():
        before, target, after = extractor.model(torch.stack([clean, other, clean * (1 - erased)]))
    return (torch.cosine_similarity(before, target, dim=0) - torch.cosine_similarity(after, target, dim=0)).item()


@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_erasing_what_a_map_marks_lowers_the_similarity_more_than_erasing_at_random(kind, extractor, request):
    root = request.getfixturevalue("shared") / "data" / "pets09" if kind == "real" else None
    by_map, by_chance = [], []
    for query, gallery in synthetic_pairs() if root is None else real_pairs(root):
        maps = explain_pair(extractor, query, gallery).query_maps
        by_map.append(drop_after_erasing(extractor, query, gallery, maps))
        draws = [drop_after_erasing(extractor, query, gallery, torch.rand(maps.shape)) for _ in range(NUM_DRAWS)]
        by_chance.append(np.mean(draws))
    assert np.mean(by_map) > 2 * np.mean(by_chance)
    assert np.mean(np.array(by_map) > by_chance) > 0.8


def test_both_sides_change_places_with_the_clips_and_mirror_images_are_turned_back(extractor):
    query, gallery = next(synthetic_pairs())
    one, other = explain_pair(extractor, query, gallery), explain_pair(extractor, gallery, query)
    torch.testing.assert_close(one.query_maps, other.gallery_maps, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(one.gallery_weights, other.query_weights)
    mirrored = explain_pair(extractor, query.flip(-1), gallery.flip(-1))
    torch.testing.assert_close(mirrored.query_maps.flip(-1), one.query_maps, rtol=1e-3, atol=1e-6)


def test_the_similarity_is_that_of_the_test_descriptors(extractor):
    query, gallery = next(synthetic_pairs())
    clips = extractor.transform(torch.stack([query, gallery]))
    with torch.inference_mode():
        descriptors = extractor.describe(clips, torch.tensor([-1, -1]))
    expected = torch.cosine_similarity(*descriptors, dim=0).item()
    assert explain_pair(extractor, query, gallery).similarity == pytest.approx(expected, abs=1e-5)


def test_an_overlay_colours_only_what_is_relevant():
    frame = np.full((8, 4, 3), 90, np.uint8)
    assert np.array_equal(overlay(frame, np.zeros((4, 2))), frame)
    one = np.zeros((4, 2))
    one[0, 0] = 1
    covered = overlay(frame, one)
    assert np.array_equal(covered[4:], frame[4:])
    assert covered[0, 0].tolist() == [204, 189, 53]  # 0.3 * 90 + 0.7 * viridis's yellow (253.2, 231.1, 36.7)


def test_an_unknown_key_names_the_nearest(make_tracklet):
    tracklets = [make_tracklet(1, name="abc"), make_tracklet(2, name="xyz")]
    assert find_tracklet("2/xyz", tracklets, "--query") == 1
    with pytest.raises(ValueError, match=r"--query 1/abd: there is no such tracklet. The nearest keys: 1/abc"):
        find_tracklet("1/abd", tracklets, "--query")
