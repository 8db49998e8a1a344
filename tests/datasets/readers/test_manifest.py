"""Indices are made once, renewed when the tree changes, and never trusted when damaged; paths behave as tuples."""

import os
import pickle
import re
import time
from pathlib import Path

import pytest

from datasets.build import open_dataset
from datasets.readers import manifest
from datasets.readers.manifest import FramePaths, index_path, list_tracklets, pack_tracklets
from datasets.tracklet import DatasetOptions

READER = "numbers 1"
LONG_AGO = 1_600_000_000
SETTLED_AT_ONCE = -(10**18)  # ns: stands for SETTLED_NS where folders that have just changed shall count as settled
TREE = {"7/b": ["10.jpg", "9.jpg"], "7/a": ["1.jpg"], "30/a": ["2.jpg", "3.jpg", "1.jpg"]}
PATHS = ("/data/a/1.jpg", "/data/a/10.jpg", "/data/caf\u00e9/2.jpg", os.fsdecode(b"/data/\xff.jpg"))


def read(names):
    """Numeric order; the values are the number of frames and the last frame."""
    ordered = sorted(names, key=lambda name: int(name[:-4]))
    return ordered, (len(names), int(ordered[-1][:-4]))


@pytest.fixture(autouse=True)
def _settled(monkeypatch):
    """Nobody can set back the change time of a folder, so the tests' new folders count as settled."""
    monkeypatch.setattr(manifest, "SETTLED_NS", SETTLED_AT_ONCE)


def settle(root):
    """Set modification times back, so that any later change gives a folder another one."""
    for folder, _, _ in os.walk(root):
        os.utime(folder, (LONG_AGO, LONG_AGO))


def write(split, folder, *names):
    (split / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (split / folder / name).touch()


@pytest.fixture
def split(tmp_path):
    for folder, names in TREE.items():
        write(tmp_path / "train", folder, *names)
    settle(tmp_path)
    return tmp_path / "train"


@pytest.fixture
def open_it(split, tmp_path):
    """``open_it()``: the rows of the tree, whose index is kept in the folder ``kept``."""
    return lambda: list_tracklets(split, "Toy", read, READER, tmp_path / "kept")


@pytest.fixture
def listings(monkeypatch):
    """Folders that were listed for their images, in any order."""
    seen = []
    monkeypatch.setattr(manifest, "list_images", lambda path, problems: seen.append(path) or sorted(os.listdir(path)))
    return seen


def all_paths(rows):
    return {f"{row.folder.pid}/{row.folder.name}": list(row.paths) for row in rows}


def expected(split):
    ordered = {"7/a": ["1.jpg"], "7/b": ["9.jpg", "10.jpg"], "30/a": ["1.jpg", "2.jpg", "3.jpg"]}
    return {folder: [str(split / folder / name) for name in names] for folder, names in ordered.items()}


def test_an_index_holds_what_the_reader_said(split, open_it):
    for _ in range(2):
        rows = open_it()
        assert [row.values for row in rows] == [[1, 1], [2, 10], [3, 3]]
        assert rows[2].folder == (30, "a", str(split / "30/a"))
        assert all_paths(rows) == expected(split)


def test_paths_are_a_sequence(split, open_it):
    indexed, plain = open_it()[2].paths, tuple(expected(split)["30/a"])
    for paths, same in ((indexed, plain), (FramePaths.pack(iter(PATHS)), PATHS)):
        assert paths == same
        assert same == paths
        assert paths not in (same[:2], FramePaths.pack(reversed(same)), list(same))
        assert hash(paths) == hash(same)
        assert (paths[0], paths[-1], len(paths), list(paths)) == (same[0], same[-1], len(same), list(same))
        for part in (slice(1, 3), slice(2, None), slice(-2, None), slice(3, 1), slice(9, 12), slice(None, None, -1)):
            assert paths[part] == same[part]
            assert paths[1:][part] == same[1:][part]
        with pytest.raises(IndexError):
            paths[len(same)]
    assert not FramePaths.pack([])


def test_packed_tracklets_equal_the_plain_ones_and_a_pickle_sends_their_own_paths(make_tracklet):
    plain = tuple(make_tracklet(pid, num_frames=100, gender=1) for pid in range(100))
    packed = pack_tracklets(plain)
    assert packed == plain
    content = pickle.dumps(packed[7].frame_paths)
    assert len(content) < 4000
    assert pickle.loads(content) == plain[7].frame_paths


CHANGES = {
    "add frame": lambda split: write(split, "30/a", "4.jpg"),
    "remove frame": lambda split: (split / "30/a/2.jpg").unlink(),
    "add tracklet": lambda split: write(split, "7/c", "1.jpg"),
    "add identity": lambda split: write(split, "31/a", "1.jpg"),
    "remove identity": lambda split: (split / "30").rename(split.parent / "elsewhere"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_only_a_changed_tree_is_listed_again(change, split, open_it, listings):
    before = all_paths(open_it())
    assert sorted(listings) == sorted(str(split / folder) for folder in TREE)
    listings.clear()
    assert all_paths(open_it()) == before
    assert not listings
    change(split)
    found = {
        f"{path.parent.name}/{path.name}": sorted(map(str, path.iterdir()), key=lambda name: int(Path(name).stem))
        for path in split.glob("*/*")
    }
    assert all_paths(open_it()) == found != before


def test_a_folder_that_has_just_changed_may_change_unseen_and_is_listed_again(split, open_it, listings, monkeypatch):
    monkeypatch.setattr(manifest, "SETTLED_NS", 60 * 10**9)
    open_it()
    os.utime(split / "30/a")
    for _ in range(2):
        listings.clear()
        open_it()
        assert listings


def test_no_damage_is_trusted(split, open_it, caplog):
    open_it()
    path = index_path(split, READER, split.parent / "kept")
    whole = path.read_bytes()
    damaged = [b"", whole[:3], whole[:20], whole[:-1], whole + b"x", b"x" * len(whole)]
    damaged += [whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :] for place in range(0, len(whole), 7)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged|not an index|cannot mmap"):
            manifest._map_table(path)
    for content in damaged[:7]:
        path.write_bytes(content)
        caplog.clear()
        assert all_paths(open_it()) == expected(split)
        assert "it is rebuilt" in caplog.text
        assert path.read_bytes() == whole


def test_without_a_place_to_keep_it_an_index_still_works(split, caplog):
    rows = list_tracklets(split, "Toy", read, READER, split / "30/a/1.jpg")
    assert re.search(r"No index can be kept.*DATASETS\.INDEX_DIR", caplog.text)
    assert all_paths(rows) == expected(split)


def test_a_pipe_in_place_of_the_index_is_replaced(split, open_it, caplog):
    path = index_path(split, READER, split.parent / "kept")
    path.parent.mkdir()
    os.mkfifo(path)  # opening it would wait forever
    assert all_paths(open_it()) == expected(split)
    assert "it is rebuilt" in caplog.text


def test_a_pickle_holds_a_reference_to_the_index_and_no_other_is_taken_for_it(tmp_path, split, open_it):
    write(tmp_path / "large", "1/a", *(f"{number}.jpg" for number in range(2000)))
    rows = list_tracklets(tmp_path / "large", "Toy", read, READER, tmp_path / "kept")
    content = pickle.dumps([rows[0].paths] * 2)
    assert len(content) < 1000
    assert pickle.loads(content) == [rows[0].paths] * 2
    content = pickle.dumps(open_it()[0].paths)
    CHANGES["add frame"](split)
    open_it()
    with pytest.raises(ValueError, match="was rebuilt"):
        pickle.loads(content)


def test_agvpreid_reads_the_same_from_a_warm_index(make_tree, monkeypatch, tmp_path):
    root = make_tree()
    settle(root)
    options = DatasetOptions(index_dir=str(tmp_path / "kept"))
    cold = open_dataset("agvpreid", root, options)
    assert len(list((tmp_path / "kept").iterdir())) == 5
    monkeypatch.setattr(manifest, "list_images", lambda path, problems: pytest.fail("listed again"))
    warm = open_dataset("agvpreid", root, options)
    assert (warm.train, warm.cases) == (cold.train, cold.cases)
    assert all(os.path.isfile(path) for tracklet in warm.train for path in tracklet.frame_paths)


def test_the_change_time_of_every_folder_is_compared(split, open_it, listings):
    """As rsync -a and tar set back a folder's modification time."""
    for folder in (split, split / "7", split / "7/b"):
        open_it()
        listings.clear()
        open_it()
        assert not listings
        time.sleep(0.05)  # clocks of file systems count in steps of a few milliseconds
        os.utime(folder, (LONG_AGO, LONG_AGO))  # the old modification time again
        open_it()
        assert listings


def test_links_are_followed_and_looked_at_again(split, open_it, tmp_path):
    write(tmp_path / "store", "40/b", "1.jpg")
    write(split, "41/b", "2.jpg")
    for link, target in (("40", "40"), ("41/a", "40/b"), ("41/b/1.jpg", "40/b/1.jpg")):
        (split / link).symlink_to(tmp_path / "store" / target)
    settle(split)
    paths = all_paths(open_it())
    assert [len(paths[folder]) for folder in ("40/b", "41/a", "41/b")] == [1, 1, 2]
    write(tmp_path / "store", "40/b", "2.jpg")
    assert len(all_paths(open_it())["40/b"]) == 2
