"""Types of options take numbers in their range, and say what is wrong with others."""

import argparse

import pytest

from utils.arguments import at_least, list_overrides, real_number


def test_numbers_in_the_range():
    assert [at_least(0)("0"), at_least(1, 256)("256")] == [0, 256]
    assert [real_number(0)("2.5"), real_number()("-1e3")] == [2.5, -1000]


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (at_least(1, 256), "257", "must be an integer from 1 to 256, got '257'"),
        (at_least(0), "-1", "must be an integer from 0 up, got '-1'"),
        (at_least(0), "1.5", "must be an integer from 0 up, got '1.5'"),
        *((real_number(0), text, "must be a finite number from 0 up, got") for text in ("-1", "inf", "nan", "x")),
    ],
)
def test_others_are_refused(parse, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        parse(text)


def test_options_become_overrides():
    assert list_overrides({"OUTPUT_DIR": None, "TEST.WEIGHT": ""}) == ["TEST.WEIGHT", ""]
