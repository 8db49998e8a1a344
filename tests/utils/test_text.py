"""Small text files and integers are read with errors that name the line; names sort by their numbers."""

import csv
import os

import pytest

from utils.text import (
    escape_controls,
    format_csv,
    format_table,
    natural_key,
    parse_integer,
    percent,
    read_csv,
    read_lines,
    read_text,
    read_word,
    spelling,
)


def write(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_of_every_system(tmp_path, end):
    assert read_lines(write(tmp_path, b"\xef\xbb\xbfone" + end + "zwölf".encode() + end)) == ["one", "zwölf", ""]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a\nb\n".encode("utf-16"), 1),  # with a byte order mark
        ("a\nb\n".encode("utf-16-be"), 1),
        (b"a\nb\nStra\xdfe\n", 3),
        (b"a\nb\0\n", 2),
    ],
)
def test_other_encodings_name_file_and_line(tmp_path, content, line):
    with pytest.raises(ValueError, match=rf"list\.txt, line {line}: the file is not UTF-8 text"):
        read_text(write(tmp_path, content))


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "nowhere", "."):
        with pytest.raises(FileNotFoundError, match="is not a file"):
            read_text(tmp_path / name)


@pytest.mark.parametrize("text", ["", "x", "1.5", "1_0", "٣", "1 2", str(2**63), "9" * 10_000])
def test_integers_of_64_bits(text):
    values = (2**63 - 1, -(2**63), "3.0", "-1.0", "-1")
    assert [parse_integer(f" {value} ", "") for value in values] == [2**63 - 1, -(2**63), 3, -1, -1]
    with pytest.raises(ValueError, match="^a must .*, got") as error:
        parse_integer(text, "a")
    assert len(str(error.value)) < 150


@pytest.mark.parametrize(
    ("text", "word"),
    [(" 3.0 ", "3"), ("007.", "007"), ("1.5", "1.5"), ("Anna 1", "Anna 1"), ("2.0b", "2.0b")]
    + [("1.200000000000000000e+02", "120"), ("1.25e+01", "12.5"), ("+", "+"), ("nanny", "nanny"), ("-2", "-2")]
    + [(text, "") for text in ("", "-1", "-1.0", "nan", "NaN", "None", "NA", "N/A", "null", "<NA>", "unknown", " ")]
    + [(text, "") for text in ("#N/A", "n.a.", "(null)", "-", "\u2014", "?", "None.", "-nan", "\u00a0", "-1.0e+00")]
    + [(text, "") for text in ("\u200b", "nan\u200b", "'nan'", "\uff2e\uff21", "\u22121", "\uff0d\uff11", "-1\u200b")]
    + [(text, "") for text in ("UNK", r"\N", "#REF!", "#VALUE!", "-1.#IND", "1.#QNAN", "[None]", "not available")]
    + [("1E+02", "100"), ("value", "value"), ("n", "n")],
)
def test_words_of_data_frames(text, word):
    assert read_word(text) == word


@pytest.mark.parametrize(
    "words",
    [("120", "0120"), ("East", "east "), ("cam 4", "cam04"), ("Jos\u00e9", "Jose\u0301"), ("\uff17", "7"), ("0", "00")]
    + [("1.50", "01.5"), ("1.0", "1"), ("site 01.5", "site 1.5")]
    + [("\u0667", "7"), ("+7", "7"), ("#7", "7"), ("7,0", "7"), ("7,5", "7.5"), ("'7", "7"), ('"7"', "7")]
    + [("a_1", "a-1"), ("a.1", "a 01"), ("x.", "x"), ("1e2", "100"), ("1.5E+1", "15")],
)
def test_two_spellings_of_one_word(words):
    assert spelling(words[0]) == spelling(words[1])


@pytest.mark.parametrize(
    "words",
    [("1", "10", "100"), ("1.05", "1.5", "1.005", "15"), ("10.0.1", "10.1", "cam1.10"), ("a1_1", "a11", "a1_11")]
    + [("1 1", "11"), ("-5", "5"), ("A-", "A", "A+"), ("cam.0", "cam"), ("0e1", "0e2", "0"), ("e1", "e2")],
)
def test_different_words(words):
    assert len(set(map(spelling, words))) == len(words)


def test_rows_of_csv_know_their_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfa,"b\r\nc"\r\n\r\n"d ""e""", f\r\n')
    assert read_csv(path) == (["a", "b\r\nc"], [(4, {"a": 'd "e"', "b\r\nc": " f"})])
    path.write_text('a,b\n"c"d,e\n')
    with pytest.raises(ValueError, match=r"a\.csv, line 2: this row is not valid CSV"):
        read_csv(path)
    limit = csv.field_size_limit()
    path.write_text(f"a\n{'x' * 10**6}\n")
    assert len(read_csv(path)[1][0][1]["a"]) == 10**6  # such as the ranking of a large gallery
    assert csv.field_size_limit() == limit


def test_natural_order():
    names = ["f10.jpg", "f2.jpg", "f02.jpg", "f", "f1_10", "f1_9", "g1", "10", "9", "", "f" + "9" * 5000]
    ordered = ["", "9", "10", "f", "f1_9", "f1_10", "f02.jpg", "f2.jpg", "f10.jpg", "f" + "9" * 5000, "g1"]
    assert sorted(names, key=natural_key) == ordered


# ---- CSV


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-x", "'-x"),
        ("+4 9", "'+4 9"),
        ("＝cmd", "'＝cmd"),
        ("'=x", "''=x"),
        ("-1.5e-3", "-1.5e-3"),
        ("+7", "+7"),
        ("-inf", "-inf"),
        ("'quoted'", "'quoted'"),
        ("p_057x", "p_057x"),
        ("a,b", '"a,b"'),
    ],
)
def test_no_cell_is_a_formula_and_words_come_back(word, written, tmp_path):
    table = format_csv([["word", "n"], [word, None]])
    assert table == f"word,n\n{written},\n"
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    assert read_csv(tmp_path / "t.csv")[1] == [(2, {"word": word, "n": ""})]


def test_control_characters_are_escaped():
    table = format_csv([["\t=1", "\r=1", "\x1b[31mred\x9b", "a\nb", "\u202edcba", -1, 0.5, "é\u3000x"]])
    assert table == "\\t=1,\\r=1,\\x1b[31mred\\x9b,a\\nb,\\u202edcba,-1,0.5,é\u3000x\n"
    assert escape_controls("a\n\x07", kept="\n") == "a\n\\x07"


# ---- tables


def test_columns_are_as_wide_as_their_widest_cell_and_no_name_steers_the_terminal():
    table = format_table(("split", "people", "note"), [("query", 7, "none"), ("gallery", 1234, "")], "<><")
    assert table.split("\n") == [
        "split    people  note",
        "---------------------",
        "query         7  none",
        "gallery    1234",
    ]
    # By default, the first column is left-aligned.
    assert format_table(("a", "wide", "b"), [("\x1b[31mred\n", 1, 22)]).split("\n")[2] == "\\x1b[31mred\\n     1  22"


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
