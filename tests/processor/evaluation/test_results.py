"""Names of the methods that rank."""

from processor.evaluation.results import ANNOTATED, NO_MASK, PLAIN, RERANKED, VISUAL, Method


def test_the_plain_row_is_visual_and_has_no_slug():
    assert Method(PLAIN, NO_MASK) == VISUAL
    assert (str(VISUAL), VISUAL.heading, VISUAL.slug) == ("visual only", "visual only", "")


def test_only_the_heading_says_that_the_whole_query_set_is_used():
    """The name joins two evaluations, and stays what it was in earlier ones."""
    method = Method(RERANKED, ANNOTATED)
    assert str(method) == "re-ranked + mask (annotated attributes)"
    assert method.heading == f"{method} (uses the whole query set)"
    assert method.slug == "_reranked_annotated_attributes"
