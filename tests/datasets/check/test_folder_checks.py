"""What the data check finds in the folders of a copy, above its frames."""

import json
import os
import shutil

from datasets.check import BLOCKING, format_report, report_as_dict

CASE1, CASE2 = "case1_aerial_to_ground", "case2_ground_to_aerial"
TRACKLET = "train/1/c0n0"


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
    assert found(report, BLOCKING) == {
        "frame name",
        "several cameras",
        "unknown camera",
        "empty folder",
        "identity folder",
        "missing folder",
        "attribute table",
        "loader",
    }
    example = "P81T2310171A2C2E152K7F7528.jpg (DATASETS.NAMES agvpreid)"
    (text,) = report.findings["frame name"]
    assert text == f"{root / TRACKLET / 'me.jpg'}: expected a frame name like {example}."
    assert report.findings["several cameras"] == [f"{root / 'train/1/c0n1'}: cameras [0, 1]"]
    assert report.findings["unknown camera"] == [f"{root / 'train/4/c0n0'}: camera 7"]
    assert len(report.findings["identity folder"]) == 3
    assert report.findings["missing folder"] == [str(root / CASE2 / "query")]
    assert len(report.findings["loader"]) == 1


def test_missing_parts(make_tree, check, tmp_path):
    assert check(tmp_path / "nowhere").findings["missing folder"] == [str(tmp_path / "nowhere")]
    root = make_tree()
    shutil.rmtree(root / CASE2)
    report = check(root)
    assert report.findings["missing direction"] == [str(root / CASE2)]
    assert report.can_train
    shutil.rmtree(root / "train")
    shutil.rmtree(root / CASE1)
    report = check(root)
    assert report.findings["missing folder"] == [str(root / CASE1), str(root / CASE2), str(root / "train")]
    assert report.can_train is False


def test_masked_identities(make_tree, check, frames_of, found):
    root = make_tree(masked=True)
    frames = frames_of(root, f"{CASE1}/query/20/tracklet_0")
    frames[0].rename(frames[0].with_name("0001.jpg"))
    report = check(root)
    assert report.findings["masked identities"] == [CASE1, CASE2]
    assert report.findings["masked frame name"] == [f"{root / CASE1}/query/20/tracklet_0"]
    assert report.can_train
    assert not found(report)


def test_detreidx_is_walked(detreidx_tree, check_detreidx, found):
    report = check_detreidx()
    assert report.can_train
    assert found(report) == set()
    assert report_as_dict(report)["splits"]["train"]["altitudes"] == {30: 2}
    known = report.attributes["train"].people_with_known_code
    assert (report.attributes["train"].people, known["attribute1"], known["attribute2"]) == (2, 1, 0)
    assert known["attribute3"] == 2
    assert report.attributes.keys() == {"train", f"{CASE1}/query"}

    root = detreidx_tree.root
    odd = root / "train/1/1_a" / detreidx_tree.frame_name(1, 9, altitude="high")
    odd.touch()
    (root / "train/1/1_b" / detreidx_tree.frame_name(2, 8)).touch()
    report = check_detreidx()
    (text,) = report.findings["frame name"]
    assert text.startswith(f"{odd}: expected integers as fields 7 to 9")
    assert report.findings["several cameras"] == [f"{root / 'train/1/1_b'}: cameras [0, 2]"]
    assert report.can_train is False


def test_masked_identities_of_another_data_set_are_declared(detreidx_tree, check_detreidx, found):
    root = detreidx_tree.root
    shutil.copytree(root / f"{CASE1}/query/3", root / f"{CASE2}/gallery/1")  # a number that training has, too
    detreidx_tree.write(f"{CASE2}/query/5/5_a", 0)
    report = check_detreidx("DATASETS.IDENTITIES_MASKED", True)
    assert report.findings["masked identities"] == [CASE1, CASE2]
    assert found(report) == set()
    plain = check_detreidx()
    assert found(plain) == {"frame of two people", "query without match", "people in train and test"}
    (root / f"{CASE1}/query/3/3_query/1_1_02_2024_10_30_30_40_60_S1.jpg").touch()
    report = check_detreidx("DATASETS.IDENTITIES_MASKED", True)
    assert len(report.findings["frame name"]) == 1  # the loader does not tolerate it either
    assert report.can_train is False


def test_links_to_nothing_and_pipes_in_place_of_folders(make_tree, check, found):
    root = make_tree()
    (root / "train/8").symlink_to("nowhere")
    (root / "train/1/gone").symlink_to("nowhere")
    os.mkfifo(root / "train/4/pipe")
    shutil.rmtree(root / CASE2)
    (root / CASE2).symlink_to("nowhere")
    report = check(root)
    assert found(report) == {"unusable entry", "loader"}
    folder, *entries = report.findings["unusable entry"]
    assert folder == f"{root / CASE2} is not a folder, nor a link to one."
    assert [text.split(" ")[0] for text in entries] == [
        str(root / place) for place in ("train/8", "train/1/gone", "train/4/pipe")
    ]
    assert report.can_train is False


def test_files_in_place_of_folders(make_tree, check, found):
    root = make_tree()
    (root / "train/notes.txt").touch()
    (root / "train/1/frame.jpg").touch()
    report = check(root)
    assert found(report) == set()
    assert report.findings["stray file"] == [str(root / "train/notes.txt"), str(root / "train/1/frame.jpg")]
    (root / "train/12").touch()
    report = check(root)
    assert found(report) == {"unusable entry", "loader"}
    assert report.findings["unusable entry"] == [f"{root}/train/12 is a file, but a folder is expected here."]
    assert report.findings["loader"] == report.findings["unusable entry"]
    assert report.can_train is False


def test_names_that_cannot_be_used(make_tree, check, found):
    root = make_tree()
    not_utf8 = os.path.join(os.fsencode(root), b"train/1/caf\xe9")
    os.rename(root / TRACKLET, not_utf8)
    (root / "train/1/c0n1").rename(root / "train/1/c0 n1")
    (root / f"train/{10**19}").mkdir()
    os.rename(os.path.join(not_utf8, os.listdir(not_utf8)[0]), os.path.join(not_utf8, b"\xff.jpg"))
    report = check(root)
    assert found(report) == {"identity folder", "tracklet name", "frame name", "loader"}
    (text,) = report.findings["identity folder"]
    assert f"{root}/train/{10**19}: an identity number must be at most" in text
    spaced, not_encoded = report.findings["tracklet name"]
    assert spaced.startswith(f"{root}/train/1/c0 n1: ")
    assert not_encoded.startswith(f"{root}/train/1/caf\\xe9: ")
    assert report.findings["frame name"][0].startswith(f"{root}/train/1/caf\\xe9/\\xff.jpg: expected a frame name")
    format_report(report).encode()  # any terminal and file takes it
    assert json.loads(json.dumps(report_as_dict(report), ensure_ascii=False).encode())["can_train"] is False
