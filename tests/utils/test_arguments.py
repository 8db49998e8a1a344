import argparse

import pytest

from utils.arguments import at_least


def test_integers_from_the_minimum_up():
    assert [at_least(0)(text) for text in ("0", "7")] == [0, 7]


@pytest.mark.parametrize(
    ("text", "message"), [("-1", "must be at least 0, got -1"), ("x", "must be an integer, got 'x'")]
)
def test_others_are_refused(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        at_least(0)(text)
