"""What the data check reports of the loader and of batches."""

import pytest

from datasets.check import report_as_dict

TRACKLET = "train/1/c0n0"


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
    assert report_as_dict(report)["splits"]["train"]["tracklets"] == 4
    assert any("differs from the published counts" in text for text in report.findings["loader's remark"])
    assert "not walked" in report.not_checked[-1]
    opts = ("DATASETS.NAMES", "mars", "SOLVER.STAGE2.IMS_PER_BATCH", 4)
    one, two = (report_as_dict(check(tree.root, *opts, num_workers=workers)) for workers in (1, 2))
    assert {**one, "epoch": None} == {**two, "epoch": None}
    masked = check(tree.root, *opts, "DATASETS.IDENTITIES_MASKED", True)
    assert masked.findings["masked identities"] == ["mars"]


def test_an_unknown_or_absent_dataset_blocks(tmp_path, check):
    assert "DATASETS.NAMES must be" in check(tmp_path, "DATASETS.NAMES", "x").findings["loader"][0]
    report = check(tmp_path / "nowhere", "DATASETS.NAMES", "mars")
    assert report.can_train is False
    assert report.published.counts["queries"] == 1980
