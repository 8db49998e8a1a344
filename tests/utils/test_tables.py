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


@pytest.mark.parametrize(
    ("rows", "align", "message"),
    [
        ([("x",)], "", "A row has 1 cells, but the table has 2 columns"),
        ([("x", "y")], "<", "for each of 2 columns, got '<'"),
        ([("x", "y")], "<^", r"one of '<' and '>' .* got '<\^'"),
    ],
)
def test_rows_and_alignment_must_fit_the_header(rows, align, message):
    with pytest.raises(ValueError, match=message):
        format_table(("a", "b"), rows, align)
