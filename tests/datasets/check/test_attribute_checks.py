"""What the data check reports of attribute tables."""

import pytest

CASE1 = "case1_aerial_to_ground"


def test_attributes(make_tree, check, found):
    root = make_tree()
    path = root / "attributes/train.csv"
    header, _, *rows = path.read_text().splitlines()
    cells = rows[0].split(",")
    cells[1] = "3"
    path.write_text("\n".join([header, ",".join(cells), *rows[1:]]))
    (root / f"attributes/{CASE1}/query.csv").unlink()
    report = check(root)
    assert found(report) == {"attribute code", "people without attributes"}
    assert "gender holds code 3" in report.findings["attribute code"][0]
    assert report.findings["people without attributes"] == ["train: identity 1"]
    assert report.findings["no attribute table"] == [str(root / f"attributes/{CASE1}/query.csv")]
    assert report.attributes["train"].people_with_known_code["gender"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'id,gender\n1,"endless\n' + 200_000 * b"x", r"line 2: this row is not valid CSV"),
        ("id,gender\n1,0\n".encode("utf-16"), r"line 1: the file is not UTF-8 text"),
        (b"id,gender\n1,\xff\n", r"line 2: the file is not UTF-8 text"),
    ],
    ids=["endless field", "UTF-16", "broken UTF-8"],
)
def test_a_table_that_cannot_be_read(make_tree, check, found, content, message):
    root = make_tree()
    path = root / "attributes/train.csv"
    path.write_bytes(content)
    report = check(root)
    assert found(report) == {"attribute table", "loader"}
    (text,) = report.findings["attribute table"]
    assert text.startswith(f"{path}, {message}")
    assert report.can_train is False


def test_a_table_that_is_no_file_is_not_opened(make_tree, check):
    root = make_tree()
    path = root / "attributes/train.csv"
    path.unlink()
    path.symlink_to("nowhere")
    report = check(root)
    assert report.findings["attribute table"] == [f"{path}: it is not a regular file, nor a link to one."]
    assert report.can_train is False
