"""Attention maps mean something: what they mark matters to the similarity more than a random choice does."""

import numpy as np
import pytest
import torch

from configs import get_cfg
from demo.pretraining import render_person
from model import make_model
from processor.build import make_extractor, make_query_mapper
from processor.report.maps import PairExplanation, draw_pair, explain_pair, overlay_clip
from utils.runtime import make_runtime


@pytest.fixture
def extractor():
    """The demo's encoder, pre-trained; what is above it is as training finds it."""
    cfg = get_cfg("configs/demo.yml")
    model = make_model(cfg, num_classes=2, num_cameras=0).eval()
    return make_extractor(cfg, model, make_runtime("cpu", "fp32"))


def synthetic_pairs():
    for person in range(8):
        frames = torch.from_numpy(render_person(person, seed=77, size=(64, 32))[0]).permute(0, 1, 2, 5, 3, 4)
        ground, aerial = frames[:, :2].flatten(1, 2)  # (4, C, H, W) each
        yield ground, aerial


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


def test_erasing_what_a_map_marks_lowers_the_similarity_more_than_erasing_at_random(extractor):
    by_map, by_chance = [], []
    for query, gallery in synthetic_pairs():
        maps = explain_pair(extractor, query, gallery).maps[0]
        by_map.append(drop_after_erasing(extractor, query, gallery, maps))
        draws = [drop_after_erasing(extractor, query, gallery, torch.rand(maps.shape)) for _ in range(5)]
        by_chance.append(np.mean(draws))
    assert np.mean(by_map) > 2 * np.mean(by_chance)
    assert np.mean(np.array(by_map) > by_chance) > 0.8


def test_both_sides_change_places_with_the_clips_mirror_images_are_turned_back_and_descriptors_compared(extractor):
    query, gallery = next(synthetic_pairs())
    one, other = explain_pair(extractor, query, gallery), explain_pair(extractor, gallery, query)
    torch.testing.assert_close(one.maps, other.maps.flip(0), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(one.weights, other.weights.flip(0))
    mirrored = explain_pair(extractor, query.flip(-1), gallery.flip(-1))
    torch.testing.assert_close(mirrored.maps.flip(-1), one.maps, rtol=1e-3, atol=1e-6)
    with torch.inference_mode():
        clips = extractor.transform(torch.stack([query, gallery]))
        descriptors = extractor.describe(clips, torch.tensor([-1, -1]))
    assert one.similarity == pytest.approx(torch.cosine_similarity(*descriptors, dim=0).item(), abs=1e-5)


def test_an_overlay_colours_only_what_is_relevant():
    clip, maps = torch.full((2, 3, 8, 4), 90, dtype=torch.uint8), torch.zeros(2, 4, 2)
    assert all((frame == 90).all() for frame in overlay_clip(clip, maps))
    maps[0, 0, 0] = 7
    covered, other = overlay_clip(clip, maps)
    assert (covered[4:] == 90).all()
    assert (other == 90).all()
    assert covered[0, 0].tolist() == [204, 189, 53]  # 0.3 * 90 + 0.7 * viridis's yellow (253.2, 231.1, 36.7)


def test_a_key_with_dollar_signs_is_drawn_as_it_is(make_tracklet, tmp_path):
    explanation = PairExplanation(0.5, torch.ones(2, 1, 2, 2), torch.ones(2, 1))
    tracklet = make_tracklet(0, name="$\\x$")
    draw_pair(explanation, torch.zeros(2, 1, 3, 8, 4, dtype=torch.uint8), [tracklet] * 2, "run$", tmp_path / "pair.png")
    assert (tmp_path / "pair.png").is_file()


def test_maps_have_weights_and_pictures_of_both_tracklets(run, collect, tiny_cfg):
    cfg = tiny_cfg("TEST.NUM_MAPS", 2, "TEST.NUM_CLIPS", 2)
    untrained = make_extractor(cfg, make_model(cfg, 4, 2).eval(), make_runtime("cpu", "fp32"))
    direction = collect(run(("case1",)))[0]
    maps = make_query_mapper(cfg, untrained, {0: 0, 4: 1})(direction)
    assert list(maps) == [query.index for query in direction.hardest_people(2)]
    for of_query in maps.values():
        assert sum(of_query.weights) == pytest.approx(1)
        assert len(of_query.weights) == len(of_query.frames) == cfg.INPUT.SEQ_LEN
        for picture in (*of_query.frames, of_query.match):
            assert (picture.shape, picture.dtype) == ((*cfg.INPUT.SIZE_TEST, 3), np.uint8)
    assert all(parameter.grad is None for parameter in untrained.model.parameters())
    compiled = tiny_cfg("MODEL.COMPILE", True, "TEST.NUM_MAPS", 2)
    assert make_query_mapper(compiled, untrained, {})(direction) == {}
