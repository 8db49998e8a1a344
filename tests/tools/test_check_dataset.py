"""tools/check_dataset.py: every finding on a tree broken in that way, and a real sample that is sound."""

import json
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tools import check_dataset as doctor
from tools.check_dataset import BLOCKING, CHECKS, WARNING, main

CASE1, CASE2 = "case1_aerial_to_ground", "case2_ground_to_aerial"
TRACKLET = "train/1/c0n0"


@pytest.fixture
def check(tiny_cfg):
    """``check(root, *overrides, sample=0)``: the report on a tree, of which any share of frames may be bad."""

    def run(root, *opts, sample=0, num_workers=1):
        cfg = tiny_cfg("DATASETS.ROOT_DIR", root, "DATALOADER.MAX_BAD_FRACTION", 1, *opts)
        return doctor.check_dataset(cfg, sample, num_workers)

    return run


def frames_of(root, tracklet=TRACKLET):
    return sorted((root / tracklet).iterdir())


def found(report, *levels):
    return {check for check in report.findings if CHECKS[check][0] in (levels or (BLOCKING, WARNING))}


def test_a_sound_tree(make_tree, check):
    report = check(make_tree())
    assert report.can_train
    assert found(report) == set()
    counts = doctor.to_json(report)["splits"]
    assert list(counts) == ["train", *(f"{case}/{side}" for case in (CASE1, CASE2) for side in ("query", "gallery"))]
    assert counts["train"] == {
        "people": 4,
        "tracklets": 16,
        "frames": 96,
        "cameras": {0: 8, 4: 8},
        "altitudes": {80: 8},
        "people_on_several_days": 0,
    }
    assert report.attributes["train"]["people_with_known_code"]["gender"] == 4
    assert "train identities: 4 instead of 689" in report.findings["published counts"]
    assert report.not_checked == []


def test_the_real_sample(shared, check):
    report = check(shared / "data/pets09", sample=2)
    assert report.can_train
    assert report.findings["query without match"] == [f"{CASE2}/query: identity 7, 3 queries"]
    assert report.findings["one view"] == ["identity 9: only ground", "identity 10: only ground"]
    assert not found(report, BLOCKING)
    assert doctor.to_json(report)["splits"]["train"]["frames"] == 1140
    assert report.not_checked[0].startswith("whether 2930 frames can be decoded")


def test_damaged_frames_are_warnings(make_tree, check):
    root = make_tree()
    empty, truncated, gone, copy, *_ = frames_of(root)
    empty.write_bytes(b"")
    truncated.write_bytes(truncated.read_bytes()[:-200])
    gone.unlink()
    gone.symlink_to("nowhere.jpg")
    frames_of(root)[4].write_bytes(copy.read_bytes())
    report = check(root)
    assert found(report) == {"empty frame", "unreadable frame", "missing frame", "repeated frame"}
    assert report.findings["empty frame"] == [str(empty)]
    assert report.findings["missing frame"] == [str(gone)]
    assert str(truncated) in report.findings["unreadable frame"][0]
    assert copy.name in report.findings["repeated frame"][0]
    assert report.can_train


def test_a_tracklet_without_a_readable_frame_blocks(make_tree, check):
    root = make_tree()
    for frame in frames_of(root):
        frame.write_bytes(b"no image")
    report = check(root)
    assert report.findings["no readable frame"] == [str(root / TRACKLET)]
    assert report.can_train is False


def test_a_sample_of_the_frames(make_tree, check):
    root = make_tree()
    frames = frames_of(root)
    frames[2].write_bytes(b"no image")
    frames[3].write_bytes(b"")
    report = check(root, sample=2)  # the first and the last
    assert found(report) == {"empty frame"}
    num_frames = sum(tracklet.num_frames for tracklet in report.tracklets)
    num_unread = num_frames - 2 * len(report.tracklets) - 1
    assert report.not_checked == [
        f"whether {num_unread} frames can be decoded or are repeated (--sample 2); they are there and not empty"
    ]


def test_a_frame_of_two_people(make_tree, check):
    root = make_tree()
    mine, other = frames_of(root)[0], frames_of(root, "train/4/c0n0")[3]
    other.write_bytes(mine.read_bytes())
    report = check(root)
    assert found(report) == {"frame of two people"}
    assert report.findings["frame of two people"] == [f"{mine} and {other}"]
    shutil.copytree(root / TRACKLET, root / "train/4/copy")
    texts = check(root).findings["frame of two people"]
    assert len(texts) == 2  # frame 0 is shown with the first of the other's two, the five others with the copy
    assert texts[1].endswith(", and 4 more of these tracklets")


def test_a_frame_of_train_and_a_masked_test_person(make_tree, check):
    root = make_tree(masked=True)
    mine, other = frames_of(root)[0], frames_of(root, f"{CASE1}/query/20/tracklet_0")[0]
    other.write_bytes(mine.read_bytes())
    report = check(root)
    assert report.findings["frame of two people"] == [f"{mine} and {other}"]


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


def test_a_folder_that_cannot_be_listed(make_tree, check, monkeypatch):
    root = make_tree()
    listdir = os.listdir

    def refuse(path):
        if str(path).endswith(TRACKLET):
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    report = check(root)
    assert report.findings["unreachable folder"] == [f"{root / TRACKLET}: Permission denied"]
    assert report.can_train is False


def test_people(make_tree, check):
    root = make_tree(test=(1, 20))
    shutil.rmtree(root / "train/4/c4n0")
    shutil.rmtree(root / "train/4/c4n1")
    for name in ("c0n0", "c0n1", "c4n0"):
        shutil.rmtree(root / "train/6" / name)
    shutil.rmtree(root / CASE1 / "gallery/20")
    report = check(root)
    assert report.findings["people in train and test"] == ["identity 1"]
    assert report.findings["one view"] == ["identity 4: only ground", "identity 6: only aerial"]
    assert report.findings["one tracklet"] == ["identity 6"]
    assert report.findings["few tracklets"] == ["identity 6: 1"]
    assert report.findings["query without match"] == [f"{CASE1}/query: identity 20, 2 queries"]
    assert report.can_train


def test_short_tracklets_cameras_views_altitudes_and_strays(make_tree, check):
    root = make_tree()
    for frame in frames_of(root)[3:]:
        frame.unlink()
    for frame in frames_of(root, f"{CASE1}/query/20/c4n0"):
        frame.rename(frame.with_name(frame.name.replace("C4", "C2")))
    for frame in frames_of(root, "train/1/c4n0"):
        frame.rename(frame.with_name(frame.name.replace("A2", "A9")))
    (root / TRACKLET / "Thumbs.db").write_bytes(b"x")
    report = check(root)
    assert found(report) == {"short tracklet", "other view", "camera only in test", "altitude"}
    assert report.findings["short tracklet"] == ["train: identity 1, c0n0: 3 frames"]
    assert report.findings["other view"] == [f"{root / CASE1}/query/20/c4n0: from the ground"]
    assert report.findings["camera only in test"] == ["camera 2: 1 tracklets"]
    assert report.findings["altitude"] == [f"{root / 'train/1/c4n0'}: unknown"]
    assert report.findings["stray file"] == [str(root / TRACKLET / "Thumbs.db")]


def test_attributes(make_tree, check):
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
    assert report.attributes["train"]["people_with_known_code"]["gender"] == 2


def test_masked_identities(make_tree, check):
    root = make_tree(masked=True)
    frames = frames_of(root, f"{CASE1}/query/20/tracklet_0")
    frames[0].rename(frames[0].with_name("0001.jpg"))
    report = check(root)
    assert report.findings["masked identities"] == [CASE1, CASE2]
    assert report.findings["masked frame name"] == [f"{root / CASE1}/query/20/tracklet_0"]
    assert report.can_train
    assert not found(report)


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


def test_estimated_epoch(make_tree, check):
    report = check(make_tree(), "DATALOADER.NUM_WORKERS", 3)
    epoch = report.epoch
    assert epoch["frames_decoded"] == 96 + 4 * 36
    assert epoch["frames_per_epoch"] == epoch["batches_per_epoch"] * 4 * 4
    assert epoch["epoch_seconds"] == pytest.approx(
        epoch["frames_per_epoch"] / (3 * epoch["frames_per_second_per_core"])
    )
    assert "x 3 workers" in doctor.format_report(report)


def test_no_frame_cache_is_made(make_tree, check, tmp_path):
    report = check(make_tree(), "DATALOADER.CACHE_DIR", tmp_path / "cache")
    assert report.can_train
    assert not (tmp_path / "cache").exists()


def detreidx_name(camid, number, code=1, altitude=30):
    if camid == 0:
        return f"1_{number}.jpg"
    return f"1_01_02_2024_10_30_{altitude}_40_60_Field_{code}_-1_0_0_0_0_0_0_0_0_walk_outdoor_{camid}_{number}.jpg"


@pytest.fixture
def detreidx_tree(tmp_path):
    """Two training people and a test person, seen by a drone and from the ground."""
    rng = np.random.default_rng(0)

    def write(folder, camid, **options):
        path = tmp_path / folder
        path.mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / detreidx_name(camid, number, **options))
        return path

    for pid in (1, 2):
        write(f"train/{pid}/{pid}_a", 1, code=-1 if pid == 2 else 1)
        write(f"train/{pid}/{pid}_b", 0)
    for side, camid in (("query", 1), ("gallery", 0)):
        write(f"{CASE1}/{side}/3/3_{side}", camid)
    return SimpleNamespace(root=tmp_path, write=write)


@pytest.fixture
def check_detreidx(detreidx_tree, check):
    opts = ["DATASETS.NAMES", "detreidx", "SOLVER.STAGE2.IMS_PER_BATCH", 4, "TEST.MASK_ATTRIBUTES", "()"]
    return lambda *more: check(detreidx_tree.root, *opts, *more)


def test_detreidx_is_walked(detreidx_tree, check_detreidx):
    report = check_detreidx()
    assert report.can_train
    assert found(report) == set()
    assert doctor.to_json(report)["splits"]["train"]["altitudes"] == {30: 2}
    known = report.attributes["train"]["people_with_known_code"]
    assert (report.attributes["train"]["people"], known["attribute1"], known["attribute2"]) == (2, 1, 0)
    assert known["attribute3"] == 2
    assert report.attributes.keys() == {"train", f"{CASE1}/query"}

    root = detreidx_tree.root
    odd = root / "train/1/1_a" / detreidx_name(1, 9, altitude="high")
    odd.touch()
    (root / "train/1/1_b" / detreidx_name(2, 8)).touch()
    report = check_detreidx()
    (text,) = report.findings["frame name"]
    assert text.startswith(f"{odd}: expected integers as fields 7 to 9")
    assert report.findings["several cameras"] == [f"{root / 'train/1/1_b'}: cameras [0, 2]"]
    assert report.can_train is False


def test_masked_identities_of_another_data_set_are_declared(detreidx_tree, check_detreidx):
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


def test_a_query_that_may_find_itself(detreidx_tree, check_detreidx):
    root = detreidx_tree.root
    case3 = "case3_aerial_to_aerial"
    for side in ("query", "gallery"):
        shutil.copytree(root / f"{CASE1}/query", root / case3 / side)
    assert check_detreidx().findings["query in its gallery"] == [f"{case3}/query: identity 3, 3_query"]
    assert "query in its gallery" not in check_detreidx("TEST.PROTOCOL", "cross-camera").findings
    assert "query in its gallery" not in check_detreidx("DATASETS.IDENTITIES_MASKED", True).findings


def test_another_dataset_through_its_records(build_mars_tree, check):
    train = [(1, 1, 4), (1, 2, 4), (2, 1, 4), (2, 2, 4)]
    tree = build_mars_tree(train, [(3, 1, 4), (3, 2, 4)], query=[1])
    (tree.root / "bbox_train/0001" / tree.names["train"][0]).write_bytes(b"")
    report = check(tree.root, "DATASETS.NAMES", "mars", "SOLVER.STAGE2.IMS_PER_BATCH", 4)
    assert report.findings["empty frame"] == [str(tree.root / "bbox_train/0001" / tree.names["train"][0])]
    assert report.findings["frame of two people"]  # the generated frames are all black
    assert doctor.to_json(report)["splits"]["train"]["tracklets"] == 4
    assert any("differs from the published counts" in text for text in report.findings["loader's remark"])
    assert "not walked" in report.not_checked[-1]
    opts = ("DATASETS.NAMES", "mars", "SOLVER.STAGE2.IMS_PER_BATCH", 4)
    one, two = (doctor.to_json(check(tree.root, *opts, num_workers=workers)) for workers in (1, 2))
    assert {**one, "epoch": None} == {**two, "epoch": None}
    masked = check(tree.root, *opts, "DATASETS.IDENTITIES_MASKED", True)
    assert masked.findings["masked identities"] == ["mars"]


def test_more_bad_frames_than_training_tolerates(make_tree, check):
    root = make_tree()
    empty, garbled, *_ = frames_of(root)
    empty.write_bytes(b"")
    garbled.write_bytes(b"no image")
    report = check(root, "DATALOADER.MAX_BAD_FRACTION", 0.01)  # 2 of 96
    (text,) = report.findings["too many bad frames"]
    assert text == "2 of 96 training frames cannot be used, 2.08 %; the limit is 1 %"
    assert report.can_train is False
    report = check(root, "DATALOADER.MAX_BAD_FRACTION", 0.03)
    assert "too many bad frames" not in report.findings
    assert report.can_train


def test_a_sample_tells_that_bad_frames_are_probably_too_many(make_tree, check):
    root = make_tree()
    for tracklet in (TRACKLET, "train/4/c0n0"):
        frames_of(root, tracklet)[0].write_bytes(b"no image")
    opts = ["DATALOADER.MAX_BAD_FRACTION", 0.04]  # 2 of 96 are known to be bad; of the 32 decoded they are 6 %
    report = check(root, *opts, sample=2)
    (text,) = report.findings["probably too many bad frames"]
    assert text.startswith("about 6 of 96 training frames cannot be used, 6.25 %")
    assert report.can_train
    assert not check(root, *opts).findings["probably too many bad frames"]


def test_people_on_several_days(make_tree, check):
    root = make_tree()
    for frame in frames_of(root, "train/4/c4n1"):
        frame.rename(frame.with_name(frame.name.replace("T231017", "T231018")))
    report = check(root)
    assert doctor.to_json(report)["splits"]["train"]["people_on_several_days"] == 1
    assert "; 1 people on several days" in doctor.format_report(report)


def test_an_unknown_or_absent_dataset_blocks(tmp_path, check):
    assert "DATASETS.NAMES must be" in check(tmp_path, "DATASETS.NAMES", "x").findings["loader"][0]
    report = check(tmp_path / "nowhere", "DATASETS.NAMES", "mars")
    assert report.can_train is False
    assert report.published["queries"] == 1980


def test_processes_find_the_same(make_tree, check):
    root = make_tree()
    frames_of(root)[0].write_bytes(b"")
    one, two = (doctor.to_json(check(root, num_workers=workers)) for workers in (1, 2))
    assert {**one, "epoch": None} == {**two, "epoch": None}


def test_the_command(make_tree, tmp_path, tiny_opts, caplog):
    caplog.set_level("INFO")
    root = make_tree()
    words = ["--workers", "1", "--json", str(tmp_path / "out/report.json"), *tiny_opts, "DATASETS.ROOT_DIR", str(root)]
    assert main(words) == 0
    assert "Training can start: no blocking problem, 0 warning(s)." in caplog.text
    assert json.loads((tmp_path / "out/report.json").read_text())["can_train"] is True

    for number in range(7):
        (root / TRACKLET / f"{number}.jpg").write_bytes(b"")
    assert main(words) == 1
    assert "... and 2 more" in caplog.text
    assert "Training cannot start: 9 blocking problem(s)." in caplog.text  # 7 names, their share, the loader
    content = json.loads((tmp_path / "out/report.json").read_text())
    assert content["can_train"] is False
    (names,) = [finding for finding in content["findings"] if finding["check"] == "frame name"]
    assert (names["level"], names["count"], len(names["places"])) == ("blocking", 7, 7)


def test_a_bad_command_line(caplog):
    assert main(["DATASETS.ROOT", "x"]) == 1
    assert "Did you mean DATASETS.ROOT_DIR?" in caplog.text
    with pytest.raises(SystemExit):
        main(["--sample", "-1"])


def test_an_interruption_keeps_what_was_found(make_tree, tmp_path, tiny_opts, caplog, monkeypatch):
    caplog.set_level("INFO")
    root = make_tree()
    frames_of(root)[0].write_bytes(b"")
    examine, seen = doctor.examine, []

    def interrupt(job, size, sample):
        seen.append(job)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return examine(job, size, sample)

    monkeypatch.setattr(doctor, "examine", interrupt)
    path = tmp_path / "report.json"
    assert main(["--workers", "1", "--json", str(path), *tiny_opts, "DATASETS.ROOT_DIR", str(root)]) == 130
    content = json.loads(path.read_text())
    assert (content["complete"], content["can_train"]) == (False, None)
    assert content["splits"]["train"]["tracklets"] == 2
    assert "empty frame" in {finding["check"] for finding in content["findings"]}
    assert "Interrupted. No blocking problem so far." in caplog.text


def die(job, size, sample):
    os._exit(1)


def test_a_process_that_dies_blocks(make_tree, check, monkeypatch):
    monkeypatch.setattr(doctor, "examine", die)
    report = check(make_tree(), num_workers=2)
    assert "--workers 1 tells which" in report.findings["worker"][0]
    assert (report.complete, report.can_train) == (False, False)


def listen_to_ctrl_c():
    """A suite started in the background (CI) ignores SIGINT, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_the_processes(make_tree, tmp_path, tiny_opts):
    root = make_tree(tracklets=6, num_frames=20)
    path = tmp_path / "report.json"
    words = ["-m", "tools.check_dataset", "--workers", "2", "--json", str(path), *tiny_opts]
    words += ["INPUT.SIZE_TRAIN", "(1000, 1000)", "INPUT.SIZE_TEST", "(1000, 1000)", "DATASETS.ROOT_DIR", str(root)]
    process = subprocess.Popen(
        [sys.executable, *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=listen_to_ctrl_c,
    )
    seen = ""
    while "1/" not in seen:  # the bar has moved
        seen += process.stderr.read(1)
        assert process.poll() is None, seen
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert json.loads(path.read_text())["complete"] is False
