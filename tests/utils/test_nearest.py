"""The first entries of a ranking."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from utils import distances
from utils.distances import SquaredDistances
from utils.nearest import find_nearest, iterate_nearest


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, st.integers(0, 30), elements=st.sampled_from([0.0, 0.5, 1.0, np.inf])), st.integers(1, 32)
)
def test_the_nearest_are_the_first_of_a_stable_sort(distances, length):
    expected = sorted(range(len(distances)), key=list(distances).__getitem__)[:length]
    assert find_nearest(distances, length).tolist() == expected


def test_queries_come_one_by_one_whatever_the_blocks(monkeypatch):
    query, gallery = torch.randn(7, 4), torch.randn(9, 4)
    expected = torch.cdist(query.double(), gallery.double()).argsort(dim=1)[:, :3].tolist()
    for block in (1 << 20, 18, 1):
        monkeypatch.setattr(distances, "_BLOCK_ELEMENTS", block)
        nearest = list(iterate_nearest(SquaredDistances(query, gallery), 3))
        assert [row.tolist() for row in nearest] == expected
