"""The data check as a whole: sound copies, and its worker processes."""

import os

from datasets import DATASETS
from datasets.check import BLOCKING, dataset_check, report_as_dict
from datasets.readers.agvpreid import AGVPReID
from datasets.readers.counts import PublishedCounts

CASE1, CASE2 = "case1_aerial_to_ground", "case2_ground_to_aerial"


def test_a_sound_tree(make_tree, check, found):
    report = check(make_tree())
    assert report.can_train
    assert found(report) == set()
    counts = report_as_dict(report)["splits"]
    assert list(counts) == ["train", *(f"{case}/{side}" for case in (CASE1, CASE2) for side in ("query", "gallery"))]
    assert counts["train"] == {
        "people": 4,
        "tracklets": 16,
        "frames": 96,
        "cameras": {0: 8, 4: 8},
        "altitudes": {80: 8},
        "people_on_several_days": 0,
    }
    assert report.attributes["train"].people_with_known_code["gender"] == 4
    assert "train identities: 4 instead of 689" in report.findings["published counts"]
    assert report.not_checked == []


def test_the_real_sample(shared, check, found):
    report = check(shared / "data/pets09", sample=2)
    assert report.can_train
    assert report.findings["query without match"] == [f"{CASE2}/query: identity 7, 3 queries"]
    assert report.findings["one view"] == ["identity 9: only ground", "identity 10: only ground"]
    assert not found(report, BLOCKING)
    assert report_as_dict(report)["splits"]["train"]["frames"] == 1140
    assert report.not_checked[0].startswith("whether 2930 frames can be decoded")


class Toy(AGVPReID):
    published = PublishedCounts({"train identities": 5, "train tracklets": 3}, frozenset({"train tracklets"}))


def test_a_new_data_set_needs_a_row_in_the_registry_only(make_tree, check, monkeypatch):
    monkeypatch.setitem(DATASETS, "toy", Toy)
    report = check(make_tree(), "DATASETS.NAMES", "toy")
    assert report.can_train
    assert report.findings["published counts"] == ["train identities: 4 instead of 5"]
    assert report.attributes["train"].people_with_known_code["gender"] == 4
    assert report.not_checked == []  # its folders were walked


def test_processes_find_the_same(make_tree, check, frames_of):
    root = make_tree()
    frames_of(root)[0].write_bytes(b"")
    one, two = (report_as_dict(check(root, num_workers=workers)) for workers in (1, 2))
    assert {**one, "epoch": None} == {**two, "epoch": None}


def die(job, size, sample):
    os._exit(1)


def test_a_process_that_dies_blocks(make_tree, check, monkeypatch):
    monkeypatch.setattr(dataset_check, "examine", die)
    report = check(make_tree(), num_workers=2)
    assert "--workers 1 shows which" in report.findings["worker"][0]
    assert (report.complete, report.can_train) == (False, False)
