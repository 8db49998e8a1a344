"""Describing folders of tracklets: what is found, and what is said about the rest."""

import itertools
import re

import pytest
from PIL import Image

from datasets.readers.describe import compile_pattern, describe_folders, format_counts, format_description
from datasets.readers.names import is_hidden
from datasets.readers.own_data import list_frames

CAMERAS = "{person}/cam{camera}_{tracklet}"
PEOPLE = ("Anna Müller", "bob", "carla", "李")


@pytest.fixture
def build(tmp_path):
    """``build(form)``: write two frames of two tracklets of four people in two cameras."""

    def write(form, people=PEOPLE, cameras=("1", "2"), tracklets=("1", "10"), frames=("9", "10")):
        for person, camera, tracklet, frame in itertools.product(people, cameras, tracklets, frames):
            path = tmp_path / form.format(person=person, camera=camera, tracklet=tracklet, frame=frame)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (2, 4)).save(path)
        return tmp_path

    return write


def describe(root, pattern=""):
    return describe_folders(root, root / "tracklets.csv", pattern)


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("{person}/cam{camera}_{tracklet}", "anna b/cam1_2_x", {"person": "anna b", "camera": "1", "tracklet": "2_x"}),
        ("/{camera}/{person}_*/", "c.1/7_8", {"camera": "c.1", "person": "7"}),
        ("{person}/{person}C{camera}", "1/1C2", {"person": "1", "camera": "2"}),
        ("{person}/{person}C{camera}", "1/2C2", None),
        ("{person}/{view}{altitude}", "a/aerial80", {"person": "a", "view": "aerial", "altitude": "80"}),
        ("{person}/{day}", "a/2026-04-27", {"person": "a", "day": "2026-04-27"}),
        ("{person}", "a/b", None),
        ("{person}_f{frame}", "a_f12.jpg", {"person": "a", "frame": "12.jpg"}),
    ],
)
def test_a_pattern_reads_whole_paths(pattern, path, fields):
    match = compile_pattern(pattern).fullmatch(path)
    assert (match.groupdict() if match else None) == fields


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("{person}/{camera}-{tracklet}/{frame}.jpg", "{person}/{camera}"),
        ("{person}/{camera}/{tracklet}/{frame}.jpg", "{person}/{camera}/{tracklet}"),
    ],
)
def test_the_usual_patterns(build, form, pattern):
    description = describe(build(form))
    assert description.source == f"{pattern} (as usual; --pattern gives another)"
    assert len(description.table.rows) == 16


def test_folders_in_natural_order(build):
    root = build("{person}/cam{camera}_{tracklet}/{frame}.jpg")
    (root / "bob" / "loop").symlink_to(root, target_is_directory=True)
    description = describe(root, CAMERAS)
    rows = description.table.rows
    assert description.source == f"{CAMERAS} (as given)"
    assert [row.path for row in rows[:5]] == [
        *(f"Anna Müller/cam{name}" for name in ("1_1", "1_10", "2_1", "2_10")),
        "bob/cam1_1",
    ]
    assert [row.line for row in rows] == list(range(2, 18))
    assert {row.person for row in rows} == set(PEOPLE)
    frames = list_frames(root, description.table, description.table.rows)
    assert set(map(len, frames.values())) == {2}
    assert format_counts(rows, frames).splitlines()[-1].split() == ["all", "4", "2", "16", "32"]
    assert description.unread == []


def test_frames_that_share_a_folder_are_read_by_their_names(build):
    root = build("all/x[1]_{person}_c{camera}_t{tracklet}_f{frame}.jpg")
    description = describe(root, "all/x[1]_{person}_c{camera}_t{tracklet}_f{frame}")
    rows = description.table.rows
    assert [row.path for row in rows[:2]] == ["all/x[[]1]_Anna Müller_c1_t1_f*", "all/x[[]1]_Anna Müller_c1_t10_f*"]
    assert len(rows) == 16
    assert set(map(len, list_frames(root, description.table, rows).values())) == {2}


def test_what_is_not_read_is_listed(build):
    root = build("{person}/cam{camera}_{tracklet}/{frame}.jpg")
    (root / "bob" / "cam1_11").mkdir()
    (root / ".hidden").mkdir()
    (root / "info").mkdir()
    (root / "info" / "map.png").write_bytes(b"")
    (root / "bob" / "cam1_1" / "11.webp").write_bytes(b"")
    (root / "bob" / "cam1_\x07").mkdir()
    (root / "bob" / "cam1_\x07" / "1.jpg").write_bytes(b"")
    description = describe(root, CAMERAS)
    assert len(description.table.rows) == 16
    assert description.unread == [
        "bob/cam1_1/11.webp: pictures are read from .jpg, .jpeg, .png files only.",
        "bob/cam1_11: this folder has no images.",
        "bob/cam1_\\x07: rename it; this name has unprintable characters.",
        "info: the pattern {person}/cam{camera}_{tracklet} does not fit this name.",
    ]
    text = format_description(description, list_frames(root, description.table, description.table.rows))
    assert "  this folder has no images (1): bob/cam1_11" in text


def test_system_folders_distractors_and_people_of_several_sites_are_noted(build):
    root = build("site_{camera}/{person}/{tracklet}/{frame}.jpg", people=("0000", "7"))
    (root / "site_1/7/1/@eaDir").mkdir()
    (root / "site_1/7/1/@eaDir/1.jpg").write_bytes(b"")
    description = describe(root, "*/{person}/{tracklet}")
    assert description.unread == ["@eaDir: left by an operating system or a network drive."]
    notes = "\n".join(description.notes)
    assert "stands below site_1/ and site_2/ and is one person" in notes
    assert "person 0000: false detections in sets named as Market-1501; --distractors 0000" in notes
    several = describe_folders(root, root / "tracklets.csv", "{person:site_*/*}/{tracklet}", ["Site 1/0"])
    assert {row.person for row in several.table.rows} == {"", "site_1/7", "site_2/0000", "site_2/7"}
    with pytest.raises(ValueError, match="--distractors: no person is called '77'"):
        describe_folders(root, root / "tracklets.csv", "*/{person}/{tracklet}", ["0", "77"])


def test_more_cameras_than_people_are_noted(build):
    description = describe(build("{camera}/{person}/{frame}.jpg"))
    assert description.notes == ["2 people in 4 cameras: if names mean something else, say so by --pattern"]


@pytest.mark.parametrize(
    ("name", "is_left"),
    [(name, True) for name in ("@Recently-Snapshot", "~$1.jpg", "RECYCLER", "FOUND.001", "Network Trash Folder")]
    + [(name, True) for name in (".snapshot", "._1.jpg", "Folder.jpg", "System Volume Information", "~snapshot")]
    + [(name, False) for name in ("#12", "found.jpg", "recycles", "0001.jpg", "person@home")],
)
def test_what_systems_leave_is_no_data(name, is_left):
    assert is_hidden(name) == is_left


def test_fields_of_a_pattern_reach_the_table(build):
    root = build("train/aerial80/{person}/cam{camera}/260427_{tracklet}/{frame}.jpg", people=("-1", "7"))
    rows = describe(root, "{split}/{view}{altitude}/{person}/cam{camera}/{day}_*").table.rows
    assert {(row.split, row.view, row.altitude, row.person, row.day) for row in rows} == {
        ("train", "aerial", 80, "", 260427),
        ("train", "aerial", 80, "7", 260427),
    }


@pytest.mark.parametrize(
    ("form", "pattern", "message"),
    [
        ("{frame}.jpg", "{persn}/{camera}", "no field {persn}; the fields are {person}, {camera}"),
        ("{frame}.jpg", "{camera}/{tracklet}", "--pattern must say where the {person} stands"),
        ("{frame}.jpg", "{person}_{frame}/x", "--pattern must have {frame} in its last part"),
        ("all/{frame}.jpg", "", "such as 'all', do not say who is who"),
        ("{person}/c{camera}_{tracklet}/{frame}.jpg", "{person}/{camera}/x", "fits none of the 16 folders with images"),
        ("{person}/c{camera}_{tracklet}/{frame}.jpg", "{person}_{frame}.png", "fits none of the 32 images, such as"),
    ],
)
def test_a_bad_pattern_says_what_is_wrong(build, form, pattern, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        describe(build(form), pattern)
