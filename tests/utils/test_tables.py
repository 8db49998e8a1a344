"""Plain-text tables."""

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
