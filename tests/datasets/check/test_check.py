"""The data check as a whole: sound copies, every fault of the readers at once, and its worker processes."""

import os
import shutil
from dataclasses import replace

from datasets.check import check as check_module
from datasets.check.report import report_as_dict
from datasets.problems import BLOCKING

CASE1, CASE2 = "case1_aerial_to_ground", "case2_ground_to_aerial"
TRACKLET = "train/1/c0n0"


def test_a_sound_tree(make_tree, check, found):
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


def test_the_real_sample(shared, check, found):
    report = check(shared / "data/pets09", sample=2)
    assert report.can_train
    assert report.problems.places["query without match"] == [f"{CASE2}/query: identity 7, 3 queries"]
    assert report.problems.places["one view"] == ["identity 9: only ground", "identity 10: only ground"]
    assert not found(report, BLOCKING)
    assert report_as_dict(report)["splits"]["train"]["frames"] == 1140
    assert report.not_checked[0].startswith("whether 2930 frames can be decoded")


def test_all_blocking_problems_are_found_at_once(make_tree, check, frames_of, found):
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


def test_masked_identities(make_tree, check, frames_of, found):
    root = make_tree(masked=True)
    frames = frames_of(root, f"{CASE1}/query/20/tracklet_0")
    frames[0].rename(frames[0].with_name("0001.jpg"))
    report = check(root)
    assert report.problems.places["masked identities"] == [CASE1, CASE2]
    assert report.problems.places["masked frame name"] == [f"{root / CASE1}/query/20/tracklet_0"]
    assert report.can_train
    assert not found(report)


def test_masked_identities_of_another_data_set_are_declared(detreidx_tree, check_detreidx, found):
    root = detreidx_tree.root
    shutil.copytree(root / f"{CASE1}/query/3", root / f"{CASE2}/gallery/1")  # a number that training has, too
    detreidx_tree.write(f"{CASE2}/query/5/5_a", 0)
    report = check_detreidx("DATASETS.IDENTITIES_MASKED", True)
    assert report.problems.places["masked identities"] == [CASE1, CASE2]
    assert found(report) == set()
    assert found(check_detreidx()) == {"frame of two people", "query without match", "people in train and test"}
    (root / f"{CASE1}/query/3/3_query/1_1_02_2024_10_30_30_40_60_S1.jpg").touch()
    report = check_detreidx("DATASETS.IDENTITIES_MASKED", True)
    assert len(report.problems.places["frame name"]) == 1  # the loader does not tolerate it either
    assert report.can_train is False


def test_frames_that_lead_nowhere_and_pipes_are_not_opened(make_tree, check, frames_of, found):
    root = make_tree()
    gone, loop, pipe, device, *_ = frames_of(root)
    for path, target in ((gone, "nowhere.jpg"), (loop, loop.name), (device, "/dev/zero")):
        path.unlink()
        path.symlink_to(target)
    pipe.unlink()
    os.mkfifo(pipe)
    (root / TRACKLET / "nowhere.txt").symlink_to("nowhere")  # not named as a frame: the loader does not look at it
    report = check(root)
    assert found(report) == {"unusable entry", "short tracklet"}  # each once, and not as a frame to be replaced
    assert [text.split(" ")[0] for text in report.problems.places["unusable entry"]] == [
        str(path) for path in (gone, loop, pipe, device)
    ]
    assert report.problems.places["stray file"] == [str(root / TRACKLET / "nowhere.txt")]
    assert report.can_train is False


def test_a_folder_that_cannot_be_listed(make_tree, check, monkeypatch):
    root = make_tree()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith(TRACKLET):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = check(root)
    assert report.problems.places["unreachable folder"] == [f"{root / TRACKLET}: Permission denied"]
    assert report.can_train is False


def test_a_data_set_in_tables(build_mars_tree, check, found):
    train = [(1, 1, 4), (1, 2, 4), (2, 1, 4), (2, 2, 4)]
    tree = build_mars_tree(train, [(3, 1, 4), (3, 2, 4)], query=[1])
    first, *_, last = (tree.root / f"bbox_train/{name[:4]}/{name}" for name in tree.names["train"])
    last.write_bytes(b"")
    (tree.root / "bbox_train/0001/notes.txt").touch()
    opts = ("DATASETS.NAMES", "mars", "SOLVER.STAGE2.IMS_PER_BATCH", 4)
    report = check(tree.root, *opts)
    assert report.problems.places["empty frame"] == [str(last)]
    assert report.problems.places["frame of two people"]  # the generated frames are all black
    assert report.problems.places["stray file"] == [str(tree.root / "bbox_train/0001/notes.txt")]
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


def test_missing_parts(make_tree, check):
    root = make_tree()
    shutil.rmtree(root / CASE2)
    report = check(root)
    assert report.problems.places["missing direction"] == [str(root / CASE2)]
    assert report.can_train
    shutil.rmtree(root / "train")
    shutil.rmtree(root / CASE1)
    report = check(root)
    missing = [text.split(" ")[0] for text in report.problems.places["missing folder"]]
    assert missing == [str(root / place) for place in ("train", CASE1)]
    assert report.can_train is False


def test_attributes(make_tree, check, found):
    root = make_tree()
    path = root / "attributes/train.csv"
    header, _, row, *rows = path.read_text().splitlines()
    pid, _, *codes = row.split(",")
    path.write_text("\n".join([header, ",".join([pid, "3", *codes]), *rows]))
    (root / f"attributes/{CASE1}/query.csv").unlink()
    report = check(root)
    assert found(report) == {"attribute code", "people without attributes"}
    assert "gender holds code 3" in report.problems.places["attribute code"][0]
    assert report.problems.places["people without attributes"] == ["train: identity 1"]
    assert report.problems.places["no attribute table"] == [str(root / f"attributes/{CASE1}/query.csv")]


def test_codes_in_frame_names(check_detreidx, found):
    report = check_detreidx()
    assert report.can_train
    assert found(report) == set()
    content = report_as_dict(report)
    assert content["splits"]["train"]["altitudes"] == {30: 2}
    assert {split: counts["with_attributes"] for split, counts in content["splits"].items()} == {
        "train": 4,
        f"{CASE1}/query": 1,
        f"{CASE1}/gallery": 0,
    }


def test_held_out_people_and_batches(make_tree, check):
    root = make_tree()
    (text,) = check(root, "SOLVER.STAGE2.IMS_PER_BATCH", 10).problems.places["batches"]
    assert "5 identities" in text
    report = check(root, "DATASETS.VALIDATION_FRACTION", 0.5, sample=2)
    people = {split: counts["people"] for split, counts in report_as_dict(report)["splits"].items()}
    assert (people["train"], people[f"validation_{CASE1}/query"]) == (2, 2)


def test_damaged_frames_are_warnings(make_tree, check, frames_of, found):
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


def test_a_sample_of_the_frames(make_tree, check, frames_of, found):
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
    assert len(results.digests) == 0
