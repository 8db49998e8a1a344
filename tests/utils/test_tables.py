"""Plain-text tables."""

import pytest

from utils.tables import format_table, percent


def test_columns_are_as_wide_as_their_widest_cell():
    assert format_table(("split", "people", "note"), [("query", 7, "none"), ("gallery", 1234, "")], "<><").split(
        "\n"
    ) == [
        "split    people  note",
        "---------------------",
        "query         7  none",
        "gallery    1234",
    ]


def test_the_first_column_is_left_aligned_and_the_others_right_aligned_by_default():
    assert format_table(("a", "wide", "b"), [("name", 1, 22)]).split("\n")[2] == "name     1  22"


def test_no_name_steers_the_terminal():
    assert format_table(("a", "b"), [("\x1b[31mred\n", 1)]).split("\n")[2] == "\\x1b[31mred\\n  1"


@pytest.mark.parametrize(
    ("fraction", "sign", "text"),
    [
        (0.8916666, "", "89.17"),
        (1 / 32, "", "3.12"),  # 3.125 is a tie; JavaScript's toFixed would say 3.13
        (-0.00001, "+", "+0.00"),
        (0.012, "+", "+1.20"),
        (float("-inf"), "+", "-inf"),
    ],
)
def test_percent(fraction, sign, text):
    assert percent(fraction, sign) == text
