"""AG-VPReID and DetReIDX: splits, cases, frame names and attribute tables in folders."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from datasets.attributes import COLUMNS, UNKNOWN_CODES
from datasets.build import open_dataset
from datasets.readers import agvpreid
from datasets.readers import detreidx as detreidx_reader
from datasets.readers.agvpreid import parse_frame_name
from datasets.readers.case_folders import Sighting
from datasets.readers.names import last_integer
from datasets.tracklet import DEFAULT_OPTIONS, DatasetOptions
from utils.unknown import UNKNOWN

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


@pytest.mark.parametrize(
    ("parse", "name", "message"),
    [
        (parse_frame_name, "P81T2310171A2C2E152K7F7528.bmp", "a frame name like"),
        (parse_frame_name, "xP81T2310171A2C2E152K7F7528.jpg", "a frame name like"),
        (parse_frame_name, "P81T2310171A2C2E152K7F7528.jpg.part", "a frame name like"),
        (parse_frame_name, "P81T2310171C2A2E152K7F7528.jpg", "a frame name like"),
        (detreidx_reader.parse_frame_name, "12_01_02_2024_10_30_30_40.jpg", "PID_DD_MM_YYYY"),
        (detreidx_reader.parse_frame_name, f"12_01_02_2024_10_30_{10**30}_40_60_S1.jpg", "PID_DD_MM_YYYY"),
        (detreidx_reader.parse_frame_name, "12_01_02_2024_10_30_30_40_60_7.jpg", "PID_DD_MM_YYYY"),
        (detreidx_reader.parse_frame_name, "12_01_02_2024_10_30_30_40_60_S0.jpg", "PID_DD_MM_YYYY"),
    ],
)
def test_frame_names_outside_the_grammar(parse, name, message):
    with pytest.raises(ValueError, match=f"^{name}: expected {message}"):
        parse(name)


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
    with pytest.raises(ValueError, match=rf"{CASE1} is not a folder, nor a link to one"):
        read(root)
    (root / CASE1).unlink()
    (root / CASE2 / "gallery").rename(root / "moved_gallery")
    with pytest.raises(FileNotFoundError, match=rf"{CASE2}/gallery is not a folder"):
        read(root)
    (root / CASE2).rename(root / "moved2")
    with pytest.raises(FileNotFoundError, match=rf"{CASE1} is not a folder: set DATASETS\.ROOT_DIR"):
        read(root)


def test_a_copy_is_compared_with_the_nearer_version(root, monkeypatch):
    assert read(root).published is agvpreid.PUBLISHED
    for name in ("case1_aerial_to_ground/query tracklets", "case2_ground_to_aerial/query tracklets"):
        monkeypatch.setitem(agvpreid.PUBLISHED_FULL, name, 5)
    assert read(root).published is agvpreid.PUBLISHED_FULL


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


def mask(root, case):
    for side in ("query", "gallery"):
        for number, path in enumerate(sorted((root / case / side).glob("*/*"))):
            aerial = (case == CASE1) == (side == "query")
            path.rename(path.with_name(f"tracklet_{number}" if aerial else f"abc{number}eF"))


CODES_IN_NAME = "2_3_1_-1_0_1_0_2_4_5"
RAW = (2, 3, 1, -1, 0, 1, 0, 2, 4, 5)
SIDES = {
    "case1_aerial_to_ground": ("aerial", "ground"),
    "case2_ground_to_aerial": ("ground", "aerial"),
    "case3_aerial_to_aerial": ("aerial", "aerial"),
}


def aerial(number, altitude=30, session=1):
    return f"12_01_02_2024_10_30_{altitude}_40_60_Field_{CODES_IN_NAME}_walk_outdoor_{session}_{number}.jpg"


def ground(number):
    return f"12_01_02_{number}.jpg"


@pytest.fixture
def detreidx(tmp_path):
    add_tracklet(tmp_path, "train/12/12_1", [aerial(100), aerial(99), aerial(7)])
    add_tracklet(tmp_path, "train/12/12_2", [ground(1)])
    add_tracklet(tmp_path, "train/3/3_1", [aerial(1, altitude=120, session="S2")])
    for case, views in SIDES.items():
        for side, view in zip(("query", "gallery"), views, strict=True):
            names = [aerial(1, session=1 if side == "query" else 2)] if view == "aerial" else [ground(1)]
            add_tracklet(tmp_path, f"{case}/{side}/20/20_{side}", names)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 23 fields, as in the data set's README; then with a frame number, without a location, and from the ground.
        (f"12_01_02_2024_10_30_30_40_60_Field_{CODES_IN_NAME}_walk_outdoor_S1.jpg", (1, 30, 240201, 60, RAW)),
        (f"12_01_02_2024_10_30_30_40_60_Field_{CODES_IN_NAME}_walk_outdoor_S2_F17.jpg", (2, 30, 240201, 60, RAW)),
        (f"12_01_02_2024_10_30_30_40_60_Field_{CODES_IN_NAME}_walk_outdoor_2_0017.png", (2, 30, 240201, 60, RAW)),
        (f"12_01_02_2024_10_30_5_10_90_{CODES_IN_NAME}_walk_outdoor_S1.jpg", (1, 5, 240201, 90, RAW)),
        ("12_01_02_2024_10_30_5_10_90_1_3.jpg", (1, 5, 240201, 90, detreidx_reader.SCHEME.unknown)),
        ("12_01_02_0003.jpg", (0, UNKNOWN, UNKNOWN, UNKNOWN, detreidx_reader.SCHEME.unknown)),
    ],
)
def test_detreidx_frame_names(name, expected):
    assert detreidx_reader.parse_frame_name(name) == Sighting(*expected)


def test_detreidx_reads_the_tree(detreidx, caplog):
    dataset = open_dataset("detreidx", detreidx)
    assert [(t.key, t.camid, t.view, t.altitude, t.day, t.angle) for t in dataset.train] == [
        ("3/3_1", 2, "aerial", 120, 240201, 60),
        ("12/12_1", 1, "aerial", 30, 240201, 60),
        ("12/12_2", 0, "ground", None, None, None),
    ]
    assert [last_integer(Path(path).name) for path in dataset.train[1].frame_paths] == [7, 99, 100]
    assert list(dataset.cases) == ["case1", "case2", "case3"]
    for case in dataset.cases.values():
        assert ({t.view for t in case.query}, {t.view for t in case.gallery}) == tuple({v} for v in SIDES[case.name])
        assert (case.protocol, case.ranking_form) == ("vreid-xfd", "vreid-xfd")
    assert dataset.cases["case3"].title == "aerial to aerial"
    assert not warnings(caplog)


def test_detreidx_codes_have_a_scheme_of_their_own(detreidx):
    changed = aerial(2).replace(CODES_IN_NAME, CODES_IN_NAME.replace("2_3_1", "2_3_0"))
    add_tracklet(detreidx, "train/12/12_3", [aerial(1), changed])
    dataset = open_dataset("detreidx", detreidx)
    assert not set(detreidx_reader.SCHEME.columns) & set(COLUMNS)
    assert {case.scheme for case in dataset.cases.values()} == {detreidx_reader.SCHEME}
    other = (UNKNOWN,) * 10
    assert [tracklet.attributes for tracklet in dataset.train] == [RAW, RAW, other, other]
    case = dataset.cases["case1"]
    assert case.query[0].attributes == RAW
    assert case.gallery[0].attributes is None  # no name from the ground has codes


def test_detreidx_odd_tracklets(detreidx, caplog):
    add_tracklet(detreidx, "case1_aerial_to_ground/gallery/21/21_1", [aerial(1)])
    add_tracklet(detreidx, "train/12/12_3", [aerial(2, altitude=30), aerial(1, altitude=45)])
    add_tracklet(detreidx, "case3_aerial_to_aerial/gallery/20/20_query", [aerial(1)])
    odd = open_dataset("detreidx", detreidx).train[-1]
    assert odd.altitude is None
    assert [last_integer(Path(path).name) for path in odd.frame_paths] == [1, 2]  # whatever the altitude
    assert [text[:60] for text in sorted(warnings(caplog))] == [
        "case1_aerial_to_ground/gallery: 1 of 2 tracklets are not fro",
        "case3_aerial_to_aerial: 1 of 1 queries have the identity and",
        "train: 1 of 4 tracklets: an aerial tracklet without exactly ",
    ]
