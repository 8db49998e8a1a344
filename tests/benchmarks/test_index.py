"""benchmarks/index.py opens what it generates, without listing anything (tests measure no time)."""

from benchmarks.index import run


def test_opens_what_it_generates():
    figures = run(["--frames", "300", "--tracklets", "60", "--listed", "2"])
    assert figures["tracklets"] == 60
    assert figures["frames"] == 60 * 6
    assert figures["rss"] >= figures["rss_before"] > 0
    assert figures["pss_workers"] > figures["index_workers"] > 0
    assert figures["files_per_second"] > 0
