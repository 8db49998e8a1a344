import re

import pytest

from datasets.attributes import COLUMNS, UNKNOWN_CODES, read_attributes

HEADER = ",".join(("id", *COLUMNS))
ROW = dict.fromkeys(COLUMNS, 1)


def write(path, *rows, header=HEADER):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def line(pid, **changes):
    return ",".join(str(value) for value in (pid, *(ROW | changes).values()))


def test_reads_codes_in_the_order_of_columns(tmp_path):
    table = read_attributes(write(tmp_path / "a.csv", line(7, gender=0, accessories=5), "", line(3), line(3)))
    assert table == {7: (0, *[1] * 13, 5), 3: (1,) * 15}


def test_column_order_extra_columns_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path):
    header = ",".join(["note", *reversed(COLUMNS), "id"])
    row = ",".join(["by eye", *(str(min(i, 1)) for i in range(14, -1, -1)), "9"])
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{header}\r\n{row}\r\n".encode())
    assert read_attributes(path) == {9: (0, *[1] * 14)}


def test_codes_out_of_range_become_unknown_with_one_warning_each(tmp_path, caplog):
    rows = line(1, footwear=9), line(2, footwear=9), line(3, footwear=-2), line(4, footwear=6)
    path = write(tmp_path / "a.csv", *rows)
    table = read_attributes(path)
    assert {codes[COLUMNS.index("footwear")] for codes in table.values()} == {UNKNOWN_CODES["footwear"]}
    minus_one, nine = caplog.messages
    assert f"{path}: footwear holds code -2, which is not in 0..6, in 1 row(s)" in minus_one
    assert "code 9" in nine
    assert "2 row(s)" in nine


# Column, code and number of rows of each code that the tables do not explain.
TRAIN = "footwear 9 6, head_accessories 5 1, lower_body_clothing 12 2, upper_body_clothing 13 1"
GALLERY = "footwear 9 26, gender 3 4, hairstyle 6 1, lower_body_clothing 12 18"


@pytest.mark.parametrize(
    ("name", "num_people", "odd_codes"), [("train", 689, TRAIN), ("case2_ground_to_aerial/gallery", 1309, GALLERY)]
)
def test_published_tables(shared, caplog, name, num_people, odd_codes):
    table = read_attributes(shared / "data" / "agvpreid_meta" / "attributes" / f"{name}.csv")
    assert len(table) == num_people
    for column, codes in zip(COLUMNS, zip(*table.values(), strict=True), strict=True):
        assert 0 <= min(codes) <= max(codes) <= UNKNOWN_CODES[column]
    pattern = r"\.csv: (\w+) holds code (\d+), .* in (\d+) row"
    found = [" ".join(re.search(pattern, message).groups()) for message in caplog.messages]
    assert sorted(found) == odd_codes.split(", ")


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (HEADER.replace("age", "years"), line(1), r"the header has no column 'age'"),
        ("", "", r"column 'id'"),
        (HEADER, line(1) + "\n" + line(1, gender=0), r"line 3: id 1 was given other attributes"),
        (HEADER, line("x"), r"line 2: id must be an integer of 64 bits, got 'x'"),
        (HEADER, line(1, age="9" * 5000), r"line 2: age must be an integer of 64 bits, got '9{60}'\.\.\."),
        (HEADER + ",note", line(1) + ',"two\nlines"\n' + line("x") + ",", r"line 4: id must be an integer"),
    ],
)
def test_bad_tables(tmp_path, header, rows, message):
    with pytest.raises(ValueError, match=r"a\.csv.*" + message):
        read_attributes(write(tmp_path / "a.csv", rows, header=header))
