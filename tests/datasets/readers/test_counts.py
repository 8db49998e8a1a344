"""Counts of a copy against published ones."""

from datasets.readers.counts import PublishedCounts, compare_counts

PUBLISHED = PublishedCounts({"people": 3, "queries": 5, "frames": 7}, lower_bounds=frozenset({"frames"}))


def test_equal_counts_more_than_a_bound_and_unknown_names_do_not_differ():
    assert PUBLISHED.differing({"people": 3, "queries": 5, "frames": 8, "cameras": 1}) == {}
    assert PUBLISHED.differing({}) == {}


def test_differing_counts():
    found = {"frames": 6, "people": 4, "queries": 4}
    assert PUBLISHED.differing(found) == {"frames": "at least 7", "people": "3", "queries": "5"}


def test_the_warning_names_what_differs(caplog):
    compare_counts("Toy", {"people": 3, "queries": 5}, PUBLISHED)
    assert not caplog.text
    compare_counts("Toy", {"people": 4, "queries": 5}, PUBLISHED)
    assert "Toy: this copy differs from the published counts: people 4 instead of 3." in caplog.text
