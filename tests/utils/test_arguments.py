"""Types of options take numbers in their range, and say what is wrong with others."""

import argparse

import pytest

from utils.arguments import at_least, list_overrides, output_file, real_number


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


@pytest.mark.parametrize(
    ("name", "content", "is_replaced"),
    [
        ("a.csv", b"row,name\n1,x\n", True),
        ("a.csv", b"\xef\xbb\xbfrow, name\r\n", True),
        ("a.csv", b"", True),
        ("a.csv", b"method,direction\n", False),
        ("a.json", b"row,name\n", False),
        ("a.csv", b"\xff\0\0", False),
    ],
)
def test_a_file_of_another_kind_is_not_replaced(name, content, is_replaced, tmp_path):
    path, parse = tmp_path / name, output_file(".csv", beginning="row,name")
    assert parse(str(path)) == path  # to be made
    path.write_bytes(content)
    if is_replaced:
        assert parse(str(path)) == path
    else:
        with pytest.raises(argparse.ArgumentTypeError, match="exists, and is no .csv file that could be replaced"):
            parse(str(path))
