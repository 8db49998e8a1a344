"""benchmarks/search.py: its features are clustered, and every step is measured (tests measure no time)."""

import numpy as np
import pytest

from benchmarks.search import main, make_features


def test_a_persons_features_are_nearer_than_others():
    features = make_features(60, 64, per_person=3)  # row and row + 20 are of one person
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    cosines = features @ features.T
    same = np.arange(60)[:, None] % 20 == np.arange(60) % 20
    assert cosines[same & ~np.eye(60, dtype=bool)].mean() > cosines[~same].mean() + 0.3


def test_every_step_is_measured():
    pytest.importorskip("search.lance_table")
    figures = main(["--tracklets", "400", "--width", "16", "--queries", "5"])
    assert figures["recall"] == 1  # a table so small has no index
    assert all(figures[name] > 0 for name in ("exact", "approximate", "load", "index"))
