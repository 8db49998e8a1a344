"""benchmarks/cutting.py cuts what it generates (tests measure no time)."""

from benchmarks.cutting import run


def test_cuts_what_it_generates():
    figures = run(["--frames", "30"])[30]
    assert figures["peak"] >= figures["before"] > 0
    assert figures["seconds"] > 0
