"""AG-VPReID, and what it shares with DetReIDX: splits, cases, frame names and attribute tables in folders."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from datasets.attributes import COLUMNS, UNKNOWN_CODES
from datasets.build import open_dataset
from datasets.readers.agvpreid import parse_frame_name
from datasets.readers.case_folders import Sighting
from datasets.readers.dataset import DEFAULT_OPTIONS, DatasetOptions
from datasets.readers.names import last_integer

CASE1, CASE2 = "case1_aerial_to_ground", "case2_ground_to_aerial"
WITHOUT_TRAIN = DatasetOptions(with_train=False)


def frame_names(camid, numbers, level=2):
    return [f"P1T2310171A{level}C{camid}E1K1F{number}.jpg" for number in numbers]


def add_tracklet(root, folder, names):
    path = Path(root, folder)
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (1, 1)).save(path / name)
    return path


def add_table(root, split, *pids):
    path = Path(root, "attributes", f"{split}.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join(["id", *COLUMNS]), *(",".join([str(pid), *["0"] * len(COLUMNS)]) for pid in pids)]
    path.write_text("\n".join(rows))


def read(root, options=DEFAULT_OPTIONS):
    return open_dataset("agvpreid", root, options)


@pytest.fixture
def root(tmp_path):
    add_tracklet(tmp_path, "train/12/b", frame_names(0, [1, 2]))
    add_tracklet(tmp_path, "train/12/a", frame_names(5, [100, 99, 7]))
    add_tracklet(tmp_path, "train/3/a", frame_names(4, [1], level=0))
    for case, query, gallery in ((CASE1, 5, 1), (CASE2, 1, 5)):
        add_tracklet(tmp_path, f"{case}/query/20/q", frame_names(query, [1, 2]))
        add_tracklet(tmp_path, f"{case}/gallery/20/g", frame_names(gallery, [1, 2]))
        add_tracklet(tmp_path, f"{case}/gallery/21/g", frame_names(gallery, [1]))
    return tmp_path


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_frame_names():
    assert parse_frame_name("P81T2310171A2C2E152K7F7528.jpg") == Sighting(2, day=231017)
    assert parse_frame_name("P81T2310171A3C5E152K7F7528.JPEG") == Sighting(5, 120, 231017)
    assert parse_frame_name("P81T1A9C4E1K1F1.png") == Sighting(4)
    for name in (
        "P81T2310171A2C2E152K7F7528.bmp",
        "xP81T2310171A2C2E152K7F7528.jpg",
        "P81T2310171A2C2E152K7F7528.jpg.part",
        "P81T2310171C2A2E152K7F7528.jpg",
        "P81T2310171A2C2E152K7F.jpg",
        "0001C1T0001F001.jpg",
    ):
        with pytest.raises(ValueError, match=f"^{name}: expected a frame name like"):
            parse_frame_name(name)


def test_reads_the_tree(root, caplog):
    for folder in (root, root / "train", root / "train/12", root / "train/12/a"):
        for name in ("Thumbs.db", ".DS_Store", "._P1T2310171A2C5E1K1F7.jpg", "notes.txt"):
            (folder / name).write_text("")
    dataset = read(root)
    assert [tracklet.key for tracklet in dataset.train] == ["3/a", "12/a", "12/b"]
    low, high, ground = dataset.train
    assert (low.camid, low.view, low.altitude) == (4, "aerial", 15)
    assert (high.camid, high.view, high.altitude) == (5, "aerial", 80)
    assert (ground.camid, ground.view, ground.altitude) == (0, "ground", None)
    assert [last_integer(Path(path).name) for path in high.frame_paths] == [7, 99, 100]
    assert all(Path(path).is_file() for path in high.frame_paths)
    assert list(dataset.cases) == ["case1", "case2"]
    case = dataset.cases["case2"]
    assert (case.name, case.title) == (CASE2, "ground to aerial")
    assert [tracklet.key for tracklet in case.query] == ["20/q"]
    assert [tracklet.key for tracklet in case.gallery] == ["20/g", "21/g"]
    assert not any(case.identities_masked for case in dataset.cases.values())
    assert not warnings(caplog)


def test_evaluation_never_touches_train(root):
    (root / "train/person").mkdir()
    add_table(root, "train", "x")
    with pytest.raises(ValueError, match="expected a folder name that is a number"):
        read(root)
    assert read(root, WITHOUT_TRAIN).train == ()
    (root / "train").rename(root / "moved")
    with pytest.raises(FileNotFoundError, match=r"train is not a folder: set DATASETS\.ROOT_DIR"):
        read(root)
    assert list(read(root, WITHOUT_TRAIN).cases) == ["case1", "case2"]


def test_one_case_is_enough_but_no_half_of_one(root, caplog):
    caplog.set_level(logging.INFO)
    (root / CASE1).rename(root / "moved")
    assert list(read(root).cases) == ["case2"]
    assert f"no folder {CASE1}, so this direction is left out" in caplog.text
    (root / CASE1).symlink_to("nowhere")
    with pytest.raises(ValueError, match=f"{CASE1} is not a folder, nor a link to one"):
        read(root)
    (root / CASE1).unlink()
    (root / CASE2 / "gallery").rename(root / "moved_gallery")
    with pytest.raises(FileNotFoundError, match=rf"{CASE2}/gallery is not a folder"):
        read(root)
    (root / CASE2).rename(root / "moved2")
    with pytest.raises(FileNotFoundError, match=rf"{CASE1} is not a folder: set DATASETS\.ROOT_DIR"):
        read(root)


def test_views_altitudes_and_days_that_are_odd(root, caplog):
    add_tracklet(root, f"{CASE1}/query/20/x", frame_names(2, [1]))
    add_tracklet(root, "train/12/c", frame_names(4, [1], level=7))
    add_tracklet(root, "train/12/d", [*frame_names(4, [1], level=2), *frame_names(4, [2], level=3)])
    add_tracklet(root, "train/12/e", ["P1T2310171A2C4E1K1F1.jpg", "P1T2310181A2C4E1K1F2.jpg"])
    add_tracklet(root, "train/12/f", ["P1T1A2C4E1K1F1.jpg"])
    dataset = read(root)
    assert [tracklet.view for tracklet in dataset.cases["case1"].query] == ["aerial", "ground"]
    assert [tracklet.altitude for tracklet in dataset.train[-4:]] == [None, None, 80, 80]
    assert [tracklet.day for tracklet in dataset.train[-4:]] == [231017, 231017, None, None]
    altitudes, views = warnings(caplog)
    assert altitudes.startswith("train: 2 of 7 tracklets")
    assert views.startswith(f"{CASE1}/query: 1 of 2 tracklets are not from the aerial")


def test_attributes_are_joined_by_pid(root, caplog):
    caplog.set_level(logging.INFO)
    add_table(root, "train", 99, 12)
    for side, pids in (("query", [20]), ("gallery", [21, 20])):
        add_table(root, f"{CASE1}/{side}", *pids)
    add_table(root, f"{CASE2}/query", 20)
    dataset = read(root)
    unknown = tuple(UNKNOWN_CODES.values())
    assert [tracklet.attributes for tracklet in dataset.train] == [unknown, (0,) * 15, (0,) * 15]
    assert dataset.cases["case2"].query[0].attributes == (0,) * 15
    assert [tracklet.attributes for tracklet in dataset.cases["case2"].gallery] == [None, None]
    (message,) = warnings(caplog)
    assert message.startswith("train: 1 of 2 identities are missing from the attribute table")
    (absent,) = [message for message in caplog.messages if "no attribute table" in message]
    assert absent.startswith(f"{CASE2}/gallery")
    (root / "attributes/train.csv").unlink()
    (root / "attributes/train.csv").symlink_to(root / "gone.csv")
    with pytest.raises(FileNotFoundError, match=r"attributes/train\.csv is not a file"):
        read(root)


def test_masked_copies(root, caplog):
    caplog.set_level(logging.INFO)
    mask(root, CASE1)
    assert [case.identities_masked for case in read(root).cases.values()] == [True, False]
    mask(root, CASE2)
    for path in (root / CASE1 / "query/20/tracklet_0").iterdir():
        path.unlink()
    add_tracklet(root, f"{CASE1}/query/20/tracklet_0", ["frame10.jpg", "frame9.jpg", "cover.jpg"])
    cases = read(root).cases
    assert all(case.identities_masked for case in cases.values())
    tracklet = cases["case1"].query[0]
    assert (tracklet.camid, tracklet.view, tracklet.altitude) == (-1, "aerial", None)
    assert [Path(path).name for path in tracklet.frame_paths] == ["cover.jpg", "frame9.jpg", "frame10.jpg"]
    assert cases["case1"].gallery[0].camid == 1  # a name that follows the grammar is still read
    assert f"{CASE1}/query: 1 of 1 tracklets: outside the naming scheme" in caplog.text
    add_tracklet(root, f"{CASE2}/gallery/21/other", frame_names(5, [1]))  # one plain name means not masked
    assert [case.identities_masked for case in read(root).cases.values()] == [True, False]


def test_a_copy_one_folder_deeper_or_spelt_otherwise_is_pointed_out(make_tree):
    root = make_tree("outer/AG-VPReID")
    with pytest.raises(FileNotFoundError, match=r"outer/train is not a folder: .* Did you mean .*outer/AG-VPReID\?"):
        read(root.parent)
    (root / "train").rename(root / "Train")
    with pytest.raises(FileNotFoundError, match=r"AG-VPReID/train is not a folder: .* Train is spelt otherwise\."):
        read(root)


@pytest.mark.parametrize(
    ("folder", "names", "message"),
    [
        ("train/person7/a", frame_names(0, [1]), r"train/person7: expected a folder name that is a number"),
        ("train/0012/c", frame_names(0, [1]), r"train/(0012|12) and .* are the same identity, 12"),
        ("train/40", [], r"train/40: this identity has no tracklet"),
        ("train/40/x", [], r"train/40/x: this tracklet has no frames"),
        (f"{CASE1}/query/20/x", ["0001.jpg"], r"query/20/x/0001\.jpg: expected a frame name like"),
        ("train/12/b", frame_names(3, [3]), r"train/12/b: the frames come from several cameras, \[0, 3\]"),
        ("train/12/c", frame_names(6, [1]), r"train/12/c: the data set has no camera 6"),
    ],
)
def test_odd_trees(root, folder, names, message):
    add_tracklet(root, folder, names)
    with pytest.raises(ValueError, match=message):
        read(root)


def mask(root, case):
    for side in ("query", "gallery"):
        for number, path in enumerate(sorted((root / case / side).glob("*/*"))):
            aerial = (case == CASE1) == (side == "query")
            path.rename(path.with_name(f"tracklet_{number}" if aerial else f"abc{number}eF"))
