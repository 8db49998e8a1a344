"""Paths in arrays behave as tuples of strings."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from datasets.readers.packed_paths import PackedPaths, pack_tracklets

PATHS = ("/data/a/1.jpg", "/data/a/10.jpg", "/data/caf\u00e9/2.jpg", os.fsdecode(b"/data/\xff.jpg"))


def test_packed_paths_are_a_sequence():
    packed = PackedPaths.pack(iter(PATHS))
    assert packed == PATHS
    plain = PATHS
    assert plain == packed  # from either side
    assert packed != PATHS[:3]
    assert packed != PackedPaths.pack(reversed(PATHS))
    assert packed != list(PATHS)
    assert hash(packed) == hash(PATHS)
    assert [packed[0], packed[-1], len(packed)] == [PATHS[0], PATHS[-1], 4]
    assert PATHS[2] in packed
    with pytest.raises(IndexError):
        packed[4]
    assert repr(packed) == "<4 frames of /data/a>"
    assert not PackedPaths.pack([])


@pytest.mark.parametrize(
    "part",
    [slice(1, 3), slice(None), slice(2, None), slice(-2, None), slice(3, 1), slice(4, 9), slice(None, None, -1)],
    ids=str,
)
def test_slices(part):
    assert PackedPaths.pack(PATHS)[part] == PATHS[part]
    assert PackedPaths.pack(PATHS)[1:][part] == PATHS[1:][part]


def test_a_slice_shares_its_memory():
    packed = PackedPaths.pack(PATHS)
    part = packed[1:3]
    assert np.shares_memory(packed._content, part._content)
    assert np.shares_memory(packed._offsets, part._offsets)


def test_pickling_sends_a_slices_own_paths():
    packed = PackedPaths.pack(f"/data/{number:06d}.jpg" for number in range(10_000))
    parts = [packed[start : start + 100] for start in range(0, 10_000, 100)]
    assert max(len(pickle.dumps(part)) for part in parts) < 4000
    content = pickle.dumps(parts)
    assert len(content) < 2 * (packed._content.nbytes + packed._offsets.nbytes)
    assert pickle.loads(content) == parts
    assert pickle.loads(pickle.dumps(packed[5:5])) == ()


def test_packed_tracklets_equal_the_plain_ones(make_tracklet):
    plain = (make_tracklet(1, num_frames=3), make_tracklet(2, name="b", num_frames=1, gender=1))
    packed = pack_tracklets(plain)
    assert packed == plain
    assert packed[0].frame_paths._content is packed[1].frame_paths._content
    assert [Path(path).name for path in packed[0].frame_paths] == ["0.jpg", "1.jpg", "2.jpg"]
