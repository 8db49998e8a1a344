"""Plain-text tables."""

import pytest

from utils.tables import format_table


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


def test_a_table_without_rows_is_its_header():
    assert format_table(("a", "b"), []) == "a  b\n----"


def test_rows_must_fit_the_header():
    with pytest.raises(ValueError, match="zip"):
        format_table(("a", "b"), [("x",)])
