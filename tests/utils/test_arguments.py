import argparse

import pytest

from utils.arguments import at_least, real_number


def test_integers_from_the_minimum_up():
    assert [at_least(0)(text) for text in ("0", "7")] == [0, 7]


def test_integers_up_to_the_maximum():
    assert [at_least(1, 256)(text) for text in ("1", "256")] == [1, 256]
    with pytest.raises(argparse.ArgumentTypeError, match="must be at most 256, got 257"):
        at_least(1, 256)("257")


@pytest.mark.parametrize(
    ("text", "message"), [("-1", "must be at least 0, got -1"), ("x", "must be an integer, got 'x'")]
)
def test_others_are_refused(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        at_least(0)(text)


def test_finite_numbers_from_the_minimum_up():
    assert [real_number(0)(text) for text in ("0", "2.5")] == [0, 2.5]
    assert real_number()("-1e3") == -1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-1", "must be a finite number of at least 0, got -1"),
        ("nan", "must be a finite number of at least 0, got nan"),
        ("inf", "must be a finite number of at least 0, got inf"),
        ("x", "must be a number, got 'x'"),
    ],
)
def test_other_numbers_are_refused(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        real_number(0)(text)
