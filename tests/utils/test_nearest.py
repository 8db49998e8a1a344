"""The first entries of a ranking."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from utils.nearest import find_nearest


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, st.integers(0, 30), elements=st.sampled_from([0.0, 0.5, 1.0, np.inf])), st.integers(1, 32)
)
def test_the_nearest_are_the_first_of_a_stable_sort(distances, length):
    expected = sorted(range(len(distances)), key=list(distances).__getitem__)[:length]
    assert find_nearest(distances, length).tolist() == expected
