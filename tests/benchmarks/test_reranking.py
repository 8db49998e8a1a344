"""benchmarks/reranking.py: the usual code that it measures against finds the same, and it runs (no time is tested)."""

from benchmarks.reranking import run

SMALL = ["--queries", "40", "--gallery", "90", "--width", "64", "--repeats", "1"]


def test_the_peer_finds_the_same_distances():
    figures = run(SMALL)
    assert figures["difference"] < 5e-7
    assert figures["ours"] > 0
    assert figures["usual"] > 0


def test_without_the_peer_only_ours_is_measured():
    figures = run([*SMALL, "--without_peer"])
    assert 0 < figures["prepared"] < figures["scored"]
    assert "usual" not in figures
