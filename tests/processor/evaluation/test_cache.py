"""Features that an evaluation keeps for the next one."""

import logging
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from processor.build import make_feature_cache
from processor.evaluation import cache as feature_cache
from processor.evaluation.cache import SOURCES, FeatureCache, hash_code, hash_frames, hash_weights
from processor.evaluation.features import FeatureSet
from utils.checkpoint import read_checkpoint
from utils.processes import ALONE
from utils.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")


@pytest.fixture
def tracklets(make_tracklet):
    return [make_tracklet(pid) for pid in range(4)]


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "features", {"weights": "a", "settings": "b"}, ALONE)


def returns(features):
    return Mock(return_value=features)


def test_features_come_back_with_their_bits_and_are_computed_once(cache, tracklets, caplog):
    caplog.set_level(logging.INFO)
    features = torch.randn(4, 3)
    compute = returns(FeatureSet(tracklets, features))
    assert torch.equal(cache.fetch("query", tracklets, compute).features, features)
    assert "read from" not in caplog.text
    again = cache.fetch("query", tracklets, compute)
    assert torch.equal(again.features, features)
    assert (again.tracklets, again.num_left_out) == (tracklets, 0)
    compute.assert_called_once()
    assert f"4 features were read from {cache.folder / 'query.safetensors'}" in caplog.text


def test_features_of_unreadable_frames_are_not_kept(cache, tracklets, caplog):
    """The frames may be readable next time."""
    broken = FeatureSet(tracklets[1:], torch.zeros(3, 3), num_left_out=1, num_unreadable=2)
    assert cache.fetch("query", tracklets, returns(broken)) is broken
    assert not cache.folder.exists()
    assert "2 of their frames could not be read" in caplog.text


@pytest.mark.parametrize("changed", ["weights", "settings", "tracklets and frames"])
def test_what_has_changed_is_named_and_replaced(changed, cache, tracklets, caplog):
    caplog.set_level(logging.INFO)
    cache.fetch("query", tracklets, returns(FeatureSet(tracklets, torch.zeros(4, 3))))
    if changed == "tracklets and frames":
        tracklets = [*tracklets[:3], replace(tracklets[3], frame_paths=("another.jpg",))]
    else:
        cache = replace(cache, origin={**cache.origin, changed: "other"})
    compute = returns(FeatureSet(tracklets, torch.ones(4, 3)))
    assert cache.fetch("query", tracklets, compute).features.sum() == 12
    assert f"query.safetensors is of other {changed}: the features are computed again" in caplog.text
    assert cache.fetch("query", tracklets, compute).features.sum() == 12
    compute.assert_called_once()
    assert [path.name for path in cache.folder.iterdir()] == ["query.safetensors"]


def test_a_damaged_file_is_computed_again(cache, tracklets, caplog):
    features = torch.randn(4, 3)
    compute = returns(FeatureSet(tracklets, features))
    cache.fetch("query", tracklets, compute)
    path = cache.folder / "query.safetensors"
    content = path.read_bytes()
    for damaged in (content[:-3], content[:-3] + b"\0\0\0", b"", b"not tensors"):
        caplog.clear()
        path.write_bytes(damaged)
        cache.fetch("query", tracklets, compute)
        assert f"Kept features are not used: {path}" in caplog.text
        assert torch.equal(read_checkpoint(path)["model"]["features"], features)
    assert compute.call_count == 5


def test_hashes_change_with_what_they_are_of(tracklets, monkeypatch):
    assert hash_frames(tracklets) != hash_frames(tracklets[::-1])
    assert hash_frames(tracklets) != hash_frames([replace(tracklets[0], camid=9), *tracklets[1:]])
    torch.manual_seed(0)
    model = nn.BatchNorm1d(2)
    before = hash_weights(model)
    assert hash_weights(model) == before
    model.running_mean += 1
    assert hash_weights(model) != before
    hashes = set()
    for sources in (SOURCES, *(SOURCES[:index] + SOURCES[index + 1 :] for index in range(len(SOURCES)))):
        monkeypatch.setattr(feature_cache, "SOURCES", sources)
        hashes.add(hash_code())
    assert len(hashes) == 1 + len(SOURCES)  # each is there, and counts


def test_only_keys_that_change_features_change_the_origin(tiny_cfg, tmp_path):
    def origin(*opts, cameras=None):
        return make_feature_cache(tiny_cfg(*opts), nn.Linear(2, 2), RUNTIME, cameras or {}, tmp_path).origin

    torch.manual_seed(0)
    plain = {**origin(), "weights": ""}
    for opts in (("TEST.RE_RANKING", True), ("TEST.PROTOCOL", "all-cameras"), ("TEST.MASK_PENALTY", 1.0)):
        assert {**origin(*opts), "weights": ""} == plain
    for opts in (("TEST.FLIP", False), ("TEST.NUM_CLIPS", 3), ("TEST.NECK_FEAT", "after"), ("MODEL.POOLING", "mean")):
        assert {**origin(*opts), "weights": ""} != plain
    assert {**origin(cameras={4: 0}), "weights": ""} != plain
    assert make_feature_cache(tiny_cfg("TEST.KEEP_FEATURES", False), nn.Linear(2, 2), RUNTIME, {}, tmp_path) is None
