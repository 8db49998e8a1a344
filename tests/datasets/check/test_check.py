"""The data check as a whole: sound copies, all faults of readers, frames and comparisons, and its worker processes."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from datasets.check import check as check_module
from datasets.check.report import Examined, Report, format_report, report_as_dict
from datasets.problems import BLOCKING, CHECKS, WARNING
from datasets.tracklet import DataSet

CASE1, CASE2 = "case1_aerial_to_ground", "case2_ground_to_aerial"
TRACKLET = "train/1/c0n0"


@pytest.fixture
def check(tiny_cfg):
    """``check(root, *overrides, sample=0, num_workers=1)``: the report on a tree; any share of frames may be bad."""

    def run(root, *opts, sample=0, num_workers=1):
        cfg = tiny_cfg("DATASETS.ROOT_DIR", root, "DATALOADER.MAX_BAD_FRACTION", 1, *opts)
        return check_module.check_dataset(cfg, sample, num_workers)

    return run


def frames_of(root, tracklet=TRACKLET):
    return sorted((root / tracklet).iterdir())


def found(report, *levels):
    """The checks that found something; without levels, those that are more than remarks."""
    return {check for check in report.problems.places if CHECKS[check].level in (levels or (BLOCKING, WARNING))}


def test_a_sound_tree(make_tree, check):
    report = check(make_tree())
    assert report.can_train
    assert found(report) == set()
    content = report_as_dict(report)
    splits = ["train", *(f"{case}/{side}" for case in (CASE1, CASE2) for side in ("query", "gallery"))]
    assert list(content["splits"]) == splits
    assert content["splits"]["train"] == {
        "people": 4,
        "tracklets": 16,
        "with_attributes": 16,
        "frames": 96,
        "cameras": {0: 8, 4: 8},
        "altitudes": {80: 8},
    }
    assert "train identities: 4 instead of 689" in report.problems.places["published counts"]
    assert report.not_checked == []


def test_all_blocking_problems_are_found_at_once(make_tree, check):
    root = make_tree()
    (root / TRACKLET / "me.jpg").write_bytes(frames_of(root)[0].read_bytes())
    first, second, *_ = frames_of(root, "train/1/c0n1")
    first.rename(first.with_name(first.name.replace("C0", "C1")))
    for frame in frames_of(root, "train/4/c0n0"):
        frame.rename(frame.with_name(frame.name.replace("C0", "C7")))
    for frame in frames_of(root, "train/4/c0n1"):
        frame.unlink()
    (root / "train/person").mkdir()
    (root / "train/77").mkdir()
    shutil.copytree(root / "train/6", root / "train/06")
    shutil.rmtree(root / CASE2 / "query")
    (root / f"attributes/{CASE1}/query.csv").write_text("id,gender\n20,1\n")
    report = check(root)
    assert report.can_train is False
    places = report.problems.places
    assert {name: len(places[name]) for name in found(report, BLOCKING)} == {
        "frame name": 1,
        "several cameras": 1,
        "unknown camera": 1,
        "empty folder": 1,
        "identity folder": 3,
        "missing folder": 1,
        "attribute table": 1,
    }
    assert places["frame name"][0].startswith(f"{root / TRACKLET / 'me.jpg'}: expected a frame name like")
    assert str(root / "train/1/c0n1") in places["several cameras"][0]
    assert str(root / "train/4/c0n0") in places["unknown camera"][0]
    assert str(root / CASE2 / "query") in places["missing folder"][0]


def test_masked_identities_are_declared_and_not_compared(make_tree, check):
    root = make_tree(masked=True, test=(1, 20, 21))  # training has person 1, too
    report = check(root)
    assert report.problems.places["masked identities"] == [CASE1, CASE2]
    assert found(report) == set()
    mine, other, same = (
        frames_of(root, f"{CASE1}/{name}")[0]
        for name in ("query/1/tracklet_0", "query/20/tracklet_2", "gallery/20/abc0cD")
    )
    for path in (other, same):
        path.write_bytes(mine.read_bytes())
    assert check(root).problems.places["frame of two people"] == [f"{mine} and {other}"]


def test_frames_that_lead_nowhere_and_pipes_are_not_opened(make_tree, check):
    root = make_tree()
    gone, loop, pipe, device, *_ = frames_of(root)
    for path, target in ((gone, "nowhere.jpg"), (loop, loop.name), (device, "/dev/zero")):
        path.unlink()
        path.symlink_to(target)
    pipe.unlink()
    os.mkfifo(pipe)
    report = check(root)
    assert found(report) == {"unusable entry", "short tracklet"}  # each once, and not as a frame to be replaced
    assert [text.split(" ")[0] for text in report.problems.places["unusable entry"]] == [
        str(path) for path in (gone, loop, pipe, device)
    ]
    assert report.can_train is False


def test_a_data_set_in_tables(build_mars_tree, check):
    train = [(1, 1, 4), (1, 2, 4), (2, 1, 4), (2, 2, 4)]
    tree = build_mars_tree(train, [(3, 1, 4), (3, 2, 4)], query=[1])
    first, *_, last = (tree.root / f"bbox_train/{name[:4]}/{name}" for name in tree.names["train"])
    last.write_bytes(b"")
    opts = ("DATASETS.NAMES", "mars", "SOLVER.STAGE2.IMS_PER_BATCH", 4)
    report = check(tree.root, *opts)
    assert report.problems.places["empty frame"] == [str(last)]
    assert report.problems.places["frame of two people"]  # the generated frames are all black
    assert report_as_dict(report)["splits"]["train"]["tracklets"] == 4
    assert "train tracklets: 4 instead of 8298" in report.problems.places["published counts"]
    one, two = (report_as_dict(check(tree.root, *opts, num_workers=workers)) for workers in (1, 2))
    assert one == two
    masked = check(tree.root, *opts, "DATASETS.IDENTITIES_MASKED", True)
    assert masked.problems.places["masked identities"] == ["mars"]

    (tree.root / "info/train_name.txt").write_text("\n".join(tree.names["train"]))
    for name in (first, tree.root / "bbox_train/0002" / tree.names["train"][8]):
        name.unlink()
    (tree.root / "bbox_test").rename(tree.root / "moved")
    report = check(tree.root, *opts)
    assert len(report.problems.places["loader"]) == 2  # the first frames of two tracks
    assert str(tree.root / "bbox_test") in report.problems.places["missing folder"][0]


def die(split, tracklet, size, sample):
    os._exit(1)


def test_a_process_that_dies_blocks(make_tree, tiny_cfg, monkeypatch):
    monkeypatch.setattr(check_module, "examine_tracklet", die)
    report = check_module.check_dataset(tiny_cfg("DATASETS.ROOT_DIR", make_tree()), num_workers=2)
    assert "--workers 1 shows which" in report.problems.places["worker"][0]
    assert (report.complete, report.can_train) == (False, False)


def test_held_out_people_and_batches(make_tree, check):
    root = make_tree()
    (text,) = check(root, "SOLVER.STAGE2.IMS_PER_BATCH", 10).problems.places["batches"]
    assert "5 identities" in text
    report = check(root, "DATASETS.VALIDATION_FRACTION", 0.5, sample=2)
    people = {split: counts["people"] for split, counts in report_as_dict(report)["splits"].items()}
    assert (people["train"], people[f"validation_{CASE1}/query"]) == (2, 2)


def test_damaged_frames_are_warnings(make_tree, check):
    root = make_tree()
    empty, truncated, copy, other, *_ = frames_of(root)
    empty.write_bytes(b"")
    truncated.write_bytes(truncated.read_bytes()[:-200])
    other.write_bytes(copy.read_bytes())
    report = check(root)
    assert found(report) == {"empty frame", "unreadable frame", "repeated frame"}
    assert report.problems.places["empty frame"] == [str(empty)]
    assert str(truncated) in report.problems.places["unreadable frame"][0]
    assert copy.name in report.problems.places["repeated frame"][0]
    assert report.can_train


def test_a_sample_of_the_frames(make_tree, check):
    root = make_tree()
    frames = frames_of(root)
    frames[2].write_bytes(b"no image")
    frames[3].write_bytes(b"")
    report = check(root, sample=2)  # the first and the last
    assert found(report) == {"empty frame"}
    num_unread = sum(each.num_frames for each in report.examined) - 2 * len(report.examined) - 1
    assert report.not_checked == [
        f"whether {num_unread} frames can be decoded or are repeated (--sample 2); they exist and are not empty"
    ]


def test_special_files_that_a_table_lists_as_frames(tmp_path, make_tracklet):
    paths = [tmp_path / f"{name}.jpg" for name in ("pipe", "device", "dead_link", "missing", "folder")]
    pipe, device, dead_link, missing, folder = paths
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    dead_link.symlink_to("nowhere.jpg")
    folder.mkdir()
    tracklet = replace(make_tracklet(1), frame_paths=tuple(map(str, paths)))
    results = check_module.examine_tracklet("train", tracklet, (8, 8), sample=0)
    assert results.problems == [
        ("unreadable frame", f"{pipe}: it is not a regular file"),
        ("unreadable frame", f"{device}: it is not a regular file"),
        ("missing frame", str(dead_link)),
        ("missing frame", str(missing)),
        ("unreadable frame", f"{folder}: it is not a regular file"),
        ("no readable frame", str(tmp_path)),
    ]
    assert not results.digests.any()


def test_a_frame_of_two_people(make_tree, check):
    root = make_tree()
    mine, other = frames_of(root)[0], frames_of(root, "train/4/c0n0")[3]
    other.write_bytes(mine.read_bytes())
    report = check(root)
    assert found(report) == {"frame of two people"}
    assert report.problems.places["frame of two people"] == [f"{mine} and {other}"]
    shutil.copytree(root / TRACKLET, root / "train/4/copy")
    texts = check(root).problems.places["frame of two people"]
    assert len(texts) == 2  # frame 0 is shown with the first of the other's two, the five others with the copy
    assert texts[1].endswith(", and 4 more of these tracklets")


def test_people(make_tree, check):
    root = make_tree(test=(1, 20))
    shutil.rmtree(root / "train/4/c4n0")
    shutil.rmtree(root / "train/4/c4n1")
    for name in ("c0n0", "c0n1", "c4n0"):
        shutil.rmtree(root / "train/6" / name)
    shutil.rmtree(root / CASE1 / "gallery/20")
    report = check(root)
    places = report.problems.places
    assert places["people in train and test"] == ["identity 1"]
    assert places["one view"] == ["identity 4: only ground", "identity 6: only aerial"]
    assert places["one tracklet"] == ["identity 6"]
    assert places["few tracklets"] == ["identity 6: 1"]
    assert places["query without match"] == [f"{CASE1}/query: identity 20, 2 queries"]
    assert report.can_train


def test_short_tracklets_cameras_views_and_altitudes(make_tree, check):
    root = make_tree()
    for frame in frames_of(root)[3:]:
        frame.unlink()
    for frame in frames_of(root, f"{CASE1}/query/20/c4n0"):
        frame.rename(frame.with_name(frame.name.replace("C4", "C2")))
    for frame in frames_of(root, "train/1/c4n0"):
        frame.rename(frame.with_name(frame.name.replace("A2", "A9")))
    report = check(root)
    assert found(report) == {"short tracklet", "other view", "camera only in test", "altitude"}
    places = report.problems.places
    assert places["short tracklet"] == ["train: identity 1, c0n0: 3 frames"]
    assert places["other view"] == [f"{root / CASE1}/query/20/c4n0: from the ground"]
    assert places["camera only in test"] == ["camera 2: 1 tracklets"]
    assert places["altitude"] == [str(root / "train/1/c4n0")]


def test_more_bad_frames_than_training_tolerates(make_tree, check):
    root = make_tree()
    empty, garbled, *_ = frames_of(root)
    empty.write_bytes(b"")
    garbled.write_bytes(b"no image")
    report = check(root, "DATALOADER.MAX_BAD_FRACTION", 0.01)  # 2 of 96
    (text,) = report.problems.places["too many bad frames"]
    assert text == "2 of 96 training frames cannot be used, 2.08 %; the limit is 1 %"
    assert report.can_train is False
    assert check(root, "DATALOADER.MAX_BAD_FRACTION", 0.03).can_train


# ---- the report


def test_the_last_line_says_whether_training_can_start(tmp_path):
    report = Report("agvpreid", str(tmp_path))

    def last_line():
        return format_report(report).splitlines()[-1]

    report.problems.add("short tracklet", *"abc")
    report.problems.add("one view", "identity 3: only ground")
    report.problems.add("published counts", "a remark")
    assert last_line() == "Training can start; blocking problems: 0, warnings: 4."
    report.complete = False
    assert last_line().startswith("The check was interrupted. Nothing blocks training so far; blocking problems: 0, ")
    report.problems.add("loader", "refused")
    assert last_line() == "The check was interrupted. Training cannot start; blocking problems: 1, warnings: 4."


def test_published_counts_stand_beside_those_of_a_split(tmp_path, make_tracklet):
    counts = {"train identities": 3, "test/query tracklets": 5, "cameras": 2}
    report = Report("toy", str(tmp_path), dataset=DataSet("Toy", (), {}, published=counts))
    report.examined = [Examined(split, make_tracklet(1), np.empty(0)) for split in ("train", "test/query")]
    lines = format_report(report).splitlines()
    assert any(line.startswith("train") and " 1 [3] " in line for line in lines)
    assert any(line.startswith("test/query") and " 1 [5] " in line for line in lines)
    assert "Published counts: train identities 3, test/query tracklets 5, cameras 2." in lines
    assert report_as_dict(report)["published"] == counts


def test_findings_are_grouped_by_level_and_shortened(tmp_path):
    report = Report("mars", str(tmp_path))
    report.problems.add("published counts", "x")
    report.problems.add("empty frame", *map(str, range(7)))
    report.problems.add("loader", "refused")
    text = format_report(report)
    assert text.index("Blocking problems:") < text.index("Warnings:") < text.index("Remarks:")
    assert "  empty frame (7): " in text
    assert "    ... and 2 more" in text
    found = [(finding["check"], finding["count"]) for finding in report_as_dict(report)["findings"]]
    assert found == [("loader", 1), ("empty frame", 7), ("published counts", 1)]
