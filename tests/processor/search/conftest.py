"""Fixtures of the search's tests."""

import numpy as np
import pytest

from processor.described import DescribedTracklets

ORIGIN = {"weights": "a1", "transform": "288x144"}


@pytest.fixture
def describe():
    """``describe(a=angle, ...)``: tracklets whose features are points of the unit circle, by degrees."""

    def build(words=None, origin=ORIGIN, pictures=None, **degrees):
        angles = np.deg2rad(np.array(list(degrees.values()), dtype=np.float64))
        features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        cameras = np.arange(len(degrees)) - 1
        pictures = pictures or [f"{key}.jpg" for key in degrees]
        return DescribedTracklets(list(degrees), features, cameras, pictures, words, origin)

    return build
