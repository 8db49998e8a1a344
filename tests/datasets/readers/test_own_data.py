"""The reader of a user's own data: what becomes of a table, and every mistake that folders can hold."""

import re
from pathlib import Path

import pytest
from PIL import Image

from datasets.build import open_dataset
from datasets.problems import Findings
from datasets.split import read_pids
from datasets.tracklet import DatasetOptions

TRAIN = ("a,1,1,train", "b,1,2,train")


@pytest.fixture
def build(tmp_path):
    """``build(*rows, header=..., frames=("1.jpg",))``: write a table and a folder for each path in it."""

    def write(*rows, header="path,person,camera,split", frames=("1.jpg",)):
        (tmp_path / "tracklets.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        for row in rows:
            add_frames(tmp_path / row.split(",")[0], *frames)
        return tmp_path

    return write


def add_frames(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (2, 4)).save(folder / name)


def sides_of(case):
    return [t.name for t in case.query], [t.name for t in case.gallery]


def test_one_search_between_cameras(build):
    root = build(
        *("t1,Émile,north,train", "t2,Émile,south,train", "q 1,bob,north,query+gallery", "g,bob,south,gallery"),
        "d,-1,,gallery",
        frames=("10.jpg", "2.png", "f.txt.JPG"),
    )
    (root / "g" / "notes.txt").write_text("")
    dataset = open_dataset("folder", root)
    assert [(t.name, t.pid, t.camid, t.view) for t in dataset.train] == [("t1", 1, 0, "ground"), ("t2", 1, 1, "ground")]
    (case,) = dataset.cases.values()
    assert list(dataset.cases) == ["case1"]
    assert (case.name, case.title, case.protocol) == ("search", "between cameras", "cross-camera")
    assert sides_of(case) == (["q%201"], ["q%201", "g", "d"])
    assert [(t.pid, t.camid) for t in case.gallery] == [(0, 0), (0, 1), (-1, -1)]
    assert [Path(path).name for path in case.query[0].frame_paths] == ["2.png", "10.jpg", "f.txt.JPG"]
    assert dataset.scheme is case.scheme is None


def test_two_views_make_two_directions(build):
    rows = (
        "t,1,,train,ground,,",
        "u,2,c,query+gallery,ground,,260427",
        "v,2,c,query+gallery,aerial,80,",
        "w,2,d,gallery,aerial,,",
    )
    dataset = open_dataset("folder", build(*rows, header="path,person,camera,split,view,altitude,day"))
    assert {key: (case.name, *sides_of(case)) for key, case in dataset.cases.items()} == {
        "case1": ("case1_aerial_to_ground", ["v"], ["u"]),
        "case2": ("case2_ground_to_aerial", ["u"], ["v", "w"]),
    }
    (query,) = dataset.cases["case2"].query
    assert (query.day, query.altitude) == (260427, None)
    assert dataset.cases["case1"].query[0].altitude == 80


def test_attributes_are_numbered_over_the_whole_table(build):
    rows = ("t,1,1,train,red,3", "u,2,1,test,blue,", "v,2,2,test,,10")
    dataset = open_dataset("folder", build(*rows, header="path,person,camera,split,attribute:shirt,attribute:age"))
    assert dataset.scheme == (("shirt", "age"), (-1, -1))
    assert [t.attributes for t in dataset.train] == [(1, 3)]
    assert [t.attributes for t in dataset.cases["case1"].gallery] == [(0, -1), (-1, 10)]
    words = {"shirt": {0: "blue", 1: "red"}, "age": {3: "3", 10: "10"}}
    assert dataset.cases["case1"].attribute_words == words


def test_words_of_people_and_cameras_travel_with_the_tracklets(build):
    root = build("t,p_057x,East,train", "u,007,4,test", "v,007,East,test", "d,,,gallery")
    dataset = open_dataset("folder", root)
    gallery = dataset.cases["case1"].gallery
    words = [("p_057x", "East"), ("007", "4"), ("007", "East"), (-1, -1)]
    assert [(t.person, t.camera) for t in (*dataset.train, *gallery)] == words
    assert [t.key for t in gallery] == ["007/u", "007/v", "-1/d"]
    assert dataset.camera_words == {0: "4", 1: "East"}
    (root / "people.txt").write_text("p_057x\n")
    assert read_pids(root / "people.txt", dataset.train) == {dataset.train[0].pid}


def test_training_folders_are_not_touched_without_training(build):
    root = build(*TRAIN, "v,2,1,test", "w,2,2,test")
    (root / "a" / "1.jpg").unlink()
    dataset = open_dataset("folder", root, DatasetOptions(with_train=False))
    assert dataset.train == ()
    assert [t.pid for t in dataset.cases["case1"].query] == [2, 2]
    with pytest.raises(ValueError, match=r"tracklets\.csv, line 2: .*a: this tracklet has no frames"):
        open_dataset("folder", root)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (TRAIN, "the table has 0 queries and 0 gallery tracklets"),
        (("u,2,1,test", "v,2,2,test"), "no tracklet has the split train"),
        ((*TRAIN, "u,2,1,query", "v,2,2,query"), "the table has 2 queries and 0 gallery tracklets"),
        ((*TRAIN, "u,2,,query+gallery"), "no gallery is left; give some tracklets the split gallery"),
    ],
)
def test_splits_that_are_missing(rows, message, build):
    with pytest.raises(ValueError, match=re.escape(message)):
        open_dataset("folder", build(*rows))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "line 6: {root}/nowhere is not a folder"),
        ("no*/x", "line 6: {root}/no*/x is not a folder"),
        ("nowhere/x*", "line 6: {root}/nowhere is not a folder; a path may have * only in its last part"),
        ("w/x*", "line 6: none of the 1 images in {root}/w is named x*"),
        ("w/*", "line 6: {root}/w/1.jpg belongs to the tracklet on line 5, too"),
    ],
)
def test_a_wrong_path_names_its_line(path, message, build):
    root = build(*TRAIN, "v,2,1,test", "w,2,2,test")
    with (root / "tracklets.csv").open("a") as table:
        table.write(f"{path},2,2,test\n")
    error = FileNotFoundError if "is not a folder" in message else ValueError
    with pytest.raises(error, match=re.escape(message.format(root=root))):
        open_dataset("folder", root)


def test_a_data_check_collects_all_faults(build):
    root = build("a,1,1,train", "b,1,2,train", "c,2,1,query", "d,2,2,gallery", "e,2,3,gallery")
    (root / "a/1.jpg").unlink()
    (root / "d/1.jpg").unlink()
    (root / "b").rename(root / "moved")
    findings = Findings()
    dataset = open_dataset("folder", root, problems=findings)
    assert [dataset.train, *sides_of(dataset.cases["case1"])] == [(), ["c"], ["e"]]
    assert [text.split(": ")[0] for places in findings.places.values() for text in places] == [
        f"{root}/tracklets.csv, line {line}" for line in (2, 5, 3)
    ]


@pytest.mark.parametrize(
    ("rows", "options", "protocol", "query", "gallery"),
    [
        (("t,1,,train", "u,2,,query+gallery", "v,2,,gallery"), {}, "all-cameras", "u", "v"),  # not found by itself
        ((*TRAIN, "u,2,,query+gallery", "v,2,1,query+gallery", "w,2,2,gallery"), {}, "cross-camera", "uv", "vw"),
        ((*TRAIN, "v,2,1,query+gallery", "w,2,2,gallery"), {"protocol": "all-cameras"}, "all-cameras", "v", "w"),
        ((*TRAIN, "u,2,1,test", "v,2,1,test", "w,2,2,test"), {}, "cross-camera", "uw", "uvw"),
    ],
    ids=["no cameras", "one unknown camera", "protocol chosen", "test divided"],
)
def test_queries_and_gallery_follow_from_cameras_and_protocol(build, rows, options, protocol, query, gallery):
    (case,) = open_dataset("folder", build(*rows), DatasetOptions(**options)).cases.values()
    assert (case.protocol, *sides_of(case)) == (protocol, list(query), list(gallery))
