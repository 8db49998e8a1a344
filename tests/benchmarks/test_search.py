"""benchmarks/search.py: every step is measured (tests measure no time)."""

import pytest

from benchmarks.search import main


def test_every_step_is_measured():
    pytest.importorskip("search.lance_table")
    figures = main(["--tracklets", "400", "--width", "16", "--queries", "5"])
    assert figures["recall"] == 1  # a table so small has no index
    assert all(figures[name] > 0 for name in ("exact", "approximate", "load", "index"))
