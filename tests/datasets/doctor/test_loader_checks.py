"""What the data check reports of the loader, of batches and of attribute tables."""

import pytest

from datasets.doctor import to_json

CASE1 = "case1_aerial_to_ground"
TRACKLET = "train/1/c0n0"


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


@pytest.mark.parametrize("break_it", [False, True])
def test_batches_that_do_not_fit(make_tree, check, break_it):
    root = make_tree()
    if break_it:  # the check does without the loader
        (root / TRACKLET / "me.jpg").write_bytes(b"")
    report = check(root, "SOLVER.STAGE2.IMS_PER_BATCH", 10)
    assert ("loader" in report.findings) == break_it
    (text,) = report.findings["batches"]
    assert "5 identities a batch, but training has only 4" in text
    assert report.can_train is False


def test_another_dataset_through_its_records(build_mars_tree, check):
    train = [(1, 1, 4), (1, 2, 4), (2, 1, 4), (2, 2, 4)]
    tree = build_mars_tree(train, [(3, 1, 4), (3, 2, 4)], query=[1])
    (tree.root / "bbox_train/0001" / tree.names["train"][0]).write_bytes(b"")
    report = check(tree.root, "DATASETS.NAMES", "mars", "SOLVER.STAGE2.IMS_PER_BATCH", 4)
    assert report.findings["empty frame"] == [str(tree.root / "bbox_train/0001" / tree.names["train"][0])]
    assert report.findings["frame of two people"]  # the generated frames are all black
    assert to_json(report)["splits"]["train"]["tracklets"] == 4
    assert any("differs from the published counts" in text for text in report.findings["loader's remark"])
    assert "not walked" in report.not_checked[-1]
    opts = ("DATASETS.NAMES", "mars", "SOLVER.STAGE2.IMS_PER_BATCH", 4)
    one, two = (to_json(check(tree.root, *opts, num_workers=workers)) for workers in (1, 2))
    assert {**one, "epoch": None} == {**two, "epoch": None}
    masked = check(tree.root, *opts, "DATASETS.IDENTITIES_MASKED", True)
    assert masked.findings["masked identities"] == ["mars"]


def test_an_unknown_or_absent_dataset_blocks(tmp_path, check):
    assert "DATASETS.NAMES must be" in check(tmp_path, "DATASETS.NAMES", "x").findings["loader"][0]
    report = check(tmp_path / "nowhere", "DATASETS.NAMES", "mars")
    assert report.can_train is False
    assert report.published["queries"] == 1980


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
