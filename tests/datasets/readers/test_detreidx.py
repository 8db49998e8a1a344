import logging
from pathlib import Path

import pytest
from PIL import Image

from datasets.attributes import COLUMNS
from datasets.build import open_dataset
from datasets.readers.case_folders import Sighting
from datasets.readers.dataset import DatasetOptions
from datasets.readers.detreidx import SCHEME, parse_frame_name
from datasets.readers.names import last_integer
from utils.unknown import UNKNOWN

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


def add_tracklet(root, folder, names):
    path = Path(root, folder)
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (1, 1)).save(path / name)


def read(root, **options):
    return open_dataset("detreidx", root, DatasetOptions(**options))


@pytest.fixture
def root(tmp_path):
    add_tracklet(tmp_path, "train/12/12_1", [aerial(100), aerial(99), aerial(7)])
    add_tracklet(tmp_path, "train/12/12_2", [ground(1)])
    add_tracklet(tmp_path, "train/3/3_1", [aerial(1, altitude=120, session="S2")])
    for case, views in SIDES.items():
        for side, view in zip(("query", "gallery"), views, strict=True):
            names = [aerial(1, session=1 if side == "query" else 2)] if view == "aerial" else [ground(1)]
            add_tracklet(tmp_path, f"{case}/{side}/20/20_{side}", names)
    return tmp_path


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 23 fields, as in the data set's README; then with a frame number, without a location, and from the ground.
        (f"12_01_02_2024_10_30_30_40_60_Field_{CODES_IN_NAME}_walk_outdoor_S1.jpg", (1, 30, 240201, RAW)),
        (f"12_01_02_2024_10_30_30_40_60_Field_{CODES_IN_NAME}_walk_outdoor_S2_F17.jpg", (2, 30, 240201, RAW)),
        (f"12_01_02_2024_10_30_30_40_60_Field_{CODES_IN_NAME}_walk_outdoor_2_0017.png", (2, 30, 240201, RAW)),
        (f"12_01_02_2024_10_30_5_10_90_{CODES_IN_NAME}_walk_outdoor_S1.jpg", (1, 5, 240201, RAW)),
        ("12_01_02_2024_10_30_5_10_90_1_3.jpg", (1, 5, 240201, SCHEME.unknown)),
        ("12_01_02_0003.jpg", (0, UNKNOWN, UNKNOWN, SCHEME.unknown)),
    ],
)
def test_frame_names(name, expected):
    assert parse_frame_name(name) == Sighting(*expected)


def test_reads_the_tree(root, caplog):
    dataset = read(root)
    assert [(t.key, t.camid, t.view, t.altitude, t.day) for t in dataset.train] == [
        ("3/3_1", 2, "aerial", 120, 240201),
        ("12/12_1", 1, "aerial", 30, 240201),
        ("12/12_2", 0, "ground", None, None),
    ]
    assert [last_integer(Path(path).name) for path in dataset.train[1].frame_paths] == [7, 99, 100]
    assert list(dataset.cases) == ["case1", "case2", "case3"]
    for case in dataset.cases.values():
        assert ({t.view for t in case.query}, {t.view for t in case.gallery}) == tuple({v} for v in SIDES[case.name])
        assert (case.protocol, case.ranking_form) == ("vreid-xfd", "vreid-xfd")
    assert dataset.cases["case3"].title == "aerial to aerial"
    assert not warnings(caplog)
    assert {case.protocol for case in read(root, protocol="cross-camera").cases.values()} == {"cross-camera"}


def test_codes_have_a_scheme_of_their_own(root):
    changed = aerial(2).replace(CODES_IN_NAME, CODES_IN_NAME.replace("2_3_1", "2_3_0"))
    add_tracklet(root, "train/12/12_3", [aerial(1), changed])
    dataset = read(root)
    assert not set(SCHEME.columns) & set(COLUMNS)
    assert {case.scheme for case in dataset.cases.values()} == {SCHEME}
    other = (UNKNOWN,) * 10
    assert [tracklet.attributes for tracklet in dataset.train] == [RAW, RAW, other, other]
    case = dataset.cases["case1"]
    assert case.query[0].attributes == RAW
    assert case.gallery[0].attributes is None  # no name from the ground has codes


def test_odd_tracklets(root, caplog):
    add_tracklet(root, "case1_aerial_to_ground/gallery/21/21_1", [aerial(1)])
    add_tracklet(root, "train/12/12_3", [aerial(2, altitude=30), aerial(1, altitude=45)])
    add_tracklet(root, "case3_aerial_to_aerial/gallery/20/20_query", [aerial(1)])
    masked = read(root, identities_masked=True)
    assert all(case.identities_masked for case in masked.cases.values())
    assert not any("find themselves" in text for text in warnings(caplog))
    caplog.clear()
    odd = read(root).train[-1]
    assert odd.altitude is None
    assert [last_integer(Path(path).name) for path in odd.frame_paths] == [1, 2]  # whatever the altitude
    assert [text[:60] for text in sorted(warnings(caplog))] == [
        "case1_aerial_to_ground/gallery: 1 of 2 tracklets are not fro",
        "case3_aerial_to_aerial: 1 of 1 queries have the identity and",
        "train: 1 of 4 tracklets: an aerial tracklet without exactly ",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "12_01_02_2024_10_30_30_40.jpg",
        f"12_01_02_2024_10_30_{10**30}_40_60_S1.jpg",
        "12_1_Feb_2024_10_30_30_40_60_S1.jpg",
        "12_01_02_2024_10_30_30_40_60_7.jpg",
        "12_01_02_2024_10_30_30_40_60_S0.jpg",
    ],
)
def test_frame_names_outside_the_grammar(name):
    with pytest.raises(ValueError, match=f"^{name}: expected PID_DD_MM_YYYY.* the session as last field"):
        parse_frame_name(name)
