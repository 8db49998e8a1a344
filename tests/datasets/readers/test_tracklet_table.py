"""The table of a user's own tracklets: what is read, and the line and the remedy of every mistake."""

import re

import pytest

from datasets.readers.tracklet_table import (
    TableRow,
    choose_queries,
    draw_split,
    make_tracklets,
    read_table,
    write_table,
)


@pytest.fixture
def write(tmp_path):
    def build(*lines):
        path = tmp_path / "tracklets.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return build


def test_all_columns_in_any_order(write):
    path = write(
        "split,person,attribute:shirt color,path,camera,view,altitude,day",
        "",
        'train, Anna Müller ,red,"a, b/1/",north,aerial,80,2026-04-27',
        "gallery,-1,,x,-1,ground,,",
        ",, ,,,,,",  # as spreadsheets leave below a table
    )
    table = read_table(path)
    assert table.attributes == ("shirt color",)
    assert table.rows == (
        TableRow(3, "a, b/1", "Anna Müller", "north", "aerial", 80, 260427, "train", ("red",)),
        TableRow(4, "x", "", "", "ground", None, None, "gallery", ("",)),
    )


def test_what_is_written_is_read_again(tmp_path):
    rows = (
        TableRow(2, "a b/*_[1].jpg", "1", "", "aerial", None, 30201, "train", ("x",)),
        TableRow(3, '=with "quotes", too', "@2", "+c", "ground", 15, None, "query+gallery", ("",)),
    )
    write_table(tmp_path / "sub/t.csv", rows, ("bag",))
    table = read_table(tmp_path / "sub/t.csv")
    assert (table.rows, table.attributes) == (rows, ("bag",))


def test_columns_that_say_nothing_are_not_written(tmp_path):
    write_table(tmp_path / "t.csv", [TableRow(2, "a", "1", split="train")])
    assert (tmp_path / "t.csv").read_text() == "path,person,camera,split\na,1,,train\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,person"], "has a header, but no tracklet below it"),
        (["path;person;camera", "a;1;2"], "line 1: the columns must be separated by commas"),
        (["path,persn", "a,1"], "line 1: there is no column 'persn'; the columns are path, person"),
        (["path,person,person", "a,1,2"], "line 1: the column 'person' is there 2 times"),
        (["path,camera", "a,1"], "line 1: the column person is missing"),
        (["path,person,attribute:hat,attribute:Hat", "a,1,x,y"], "are two spellings of one column"),
        (["path,person", "a,9.87654E+16"], "line 2: person 9.87654E+16 is a rounded number; write all digits"),
        (["path,person", "a,1", "b"], "line 3: expected 2 values as in the header, got 1"),
        (["path,person", " ,1"], "line 2: path is empty"),
        (["path,person,view", "a,1,drone"], "line 2: view must be one of ground, aerial, got 'drone'"),
        (["path,person,split", "a,1,val"], "line 2: split must be one of train, query, gallery, query+gallery, test"),
        (["path,person,split", "a,,query"], "line 2: an unknown person cannot be in query; set split to gallery"),
        (["path,person,altitude", "a,1,high"], "line 2: altitude must be an integer of 64 bits, got 'high'"),
        (["path,person", "a,1\x1b[2J"], r"line 2: person has control characters: '1\x1b[2J'; rename it"),
        (["path,person,day", "a,1,2026-02-30"], "line 2: day must be a date such as"),
        (["path,person", "a,7", "b,007"], "line 3: person '007' here and '7' in "),
        (["path,person,camera", "a,7,East", "b,8,east"], "line 3: camera 'east' here and 'East' in "),
        (["path,person,attribute:hat", "a,7,Red", "b,8,red"], "line 3: hat 'red' here and 'Red' in"),
        (["path,person,day", "a,1,May 1"], "line 2: day must be a date such as 2026-04-27 or 260427, got 'May 1'"),
        (["path,person", "a/b,1", "a/./b/,1"], "line 3: 'a/b' stands on line 2 already"),
        (["path,person,split", "a,1,train", "b,1,test"], "line 3: person '1' is in test here and in train on line 2"),
    ],
)
def test_a_mistake_names_file_line_and_remedy(lines, message, write):
    path = write(*lines)
    with pytest.raises(ValueError, match=re.escape(f"{path}") + ".*" + re.escape(message)):
        read_table(path)


def rows_of(*tracklets, split="test"):
    """Rows of 'path person camera' texts; ``.`` is unknown."""
    words = [["" if word == "." else word for word in text.split()] for text in tracklets]
    return [TableRow(line, *row, split=split) for line, row in enumerate(words, start=2)]


def choose(rows):
    return choose_queries(rows, make_tracklets(rows))


@pytest.mark.parametrize(
    ("tracklets", "splits"),
    [
        (("x10 a 1", "x9 a 1", "x a 2", "y b 1"), ["gallery", "query+gallery", "query+gallery", "gallery"]),
        (("x10 a .", "x9 a ."), ["gallery", "query"]),  # without cameras, a query is a query only
    ],
)
def test_test_tracklets_become_queries_and_gallery_in_natural_order(tracklets, splits):
    assert [row.split for row in choose(rows_of(*tracklets))] == splits
    others = rows_of("x a 1", split="train") + rows_of("y b 2", split="query")
    assert choose(others) == others


def test_people_train_or_are_tested():
    rows = rows_of(*(f"{person}{camera} p{person} {camera}" for person in range(10) for camera in "12"), "u . 1")
    drawn = draw_split(rows, 0.4, seed=1)
    assert [(row.line, row.path, row.person) for row in drawn] == [(row.line, row.path, row.person) for row in rows]
    train = {row.person for row in drawn if row.split == "train"}
    assert len(train) == 6
    assert not train & {row.person for row in drawn if row.split != "train"}
    assert drawn[-1].split == "gallery"
    # The draw of version 0.1.0: a table that is drawn again stays the same.
    assert sorted(train) == ["p1", "p2", "p3", "p5", "p6", "p9"]
