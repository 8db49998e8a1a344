"""The frame cache gives back what it was given, within its bound, and trouble with it changes no pixel."""

import contextlib
import multiprocessing
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import lmdb
import pytest
import torch
from PIL import Image

import datasets.clips.clip_dataset
from configs import get_cfg
from datasets import make_dataset, make_memory_loader, make_test_loader, make_train_loader
from datasets.clips.clip_dataset import TrackletClips
from datasets.clips.decoding import DECODER, UnreadableFrameError
from datasets.readers.frame_cache import MAX_READERS, FrameCache, frame_key
from datasets.tracklet import Tracklet

SIZE = (64, 48)  # 12 KiB in the file
MEBIBYTE = 2**20
ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534  # a user without rights
FIRST = bytes(16)  # key of frame 0


def random_frame(number, size=SIZE):
    generator = torch.Generator().manual_seed(number)
    return torch.randint(256, (3, *size), dtype=torch.uint8, generator=generator)


def numbered(numbers):
    """Random frames by key."""
    return {number.to_bytes(16, "big"): random_frame(number) for number in numbers}


def num_kept(cache, frames):
    """How many of the frames are there; all of those must be right."""
    found = [(cache.get(key, SIZE), frame) for key, frame in frames.items()]
    assert all(kept is None or torch.equal(kept, frame) for kept, frame in found)
    return sum(kept is not None for kept, _ in found)


def data_file(cache):
    return Path(cache.folder, "data.mdb")


@pytest.fixture
def cache(tmp_path):
    return FrameCache(str(tmp_path / "new" / "cache"), 8 * MEBIBYTE)


@pytest.fixture
def cfg(make_tree, tiny_cfg, tmp_path):
    """Of a small tree of JPEG files, with a cache."""
    return tiny_cfg("DATASETS.ROOT_DIR", make_tree(), "DATALOADER.CACHE_DIR", tmp_path / "frames")


@pytest.fixture
def tracklet(tmp_path):
    """Six frames."""
    paths = [str(tmp_path / f"{number}.png") for number in range(6)]
    for number, path in enumerate(paths):
        Image.new("RGB", (4, 6), (number, 0, 0)).save(path)
    return Tracklet("t", tuple(paths), 1, 0, "ground", None)


def messages(caplog):
    return [record.getMessage() for record in caplog.records]


def test_frames_come_back_as_they_were_put(cache):
    frames = numbered(range(5))
    assert num_kept(cache, frames) == 0
    cache.put(frames)
    assert num_kept(cache, frames) == 5
    kept = cache.get(FIRST, SIZE)
    assert (kept.dtype, kept.is_contiguous()) == (torch.uint8, True)
    kept.zero_()  # a copy: nothing of the file is left to the caller
    assert num_kept(cache, frames) == 5


def test_frames_outlive_the_process_that_put_them(cache):
    frames = numbered(range(3))
    cache.put(frames)
    cache.close()
    assert num_kept(FrameCache(cache.folder, cache.max_bytes), frames) == 3


def test_a_frame_of_another_size_is_not_given(cache):
    cache.put(numbered([0]))
    for change in (-1, 1):
        assert cache.get(FIRST, (SIZE[0], SIZE[1] + change)) is None


def test_a_key_is_of_all_that_makes_the_pixels(tmp_path, monkeypatch):
    path, other = tmp_path / "a.jpg", tmp_path / "b.jpg"
    path.write_bytes(b"1234")
    os.utime(path, ns=(0, 10**18))
    shutil.copy2(path, other)
    keys = [frame_key(str(path), SIZE, "1"), frame_key(str(path), SIZE[::-1], "1"), frame_key(str(path), SIZE, "2")]
    keys.append(frame_key(str(other), SIZE, "1"))
    os.utime(path, ns=(0, 10**18 + 1000))
    keys.append(frame_key(str(path), SIZE, "1"))
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 10**18))
    keys.append(frame_key(str(path), SIZE, "1"))
    assert len(set(keys)) == 6
    assert {len(key) for key in keys} == {16}
    path.write_bytes(b"1234")
    os.utime(path, ns=(0, 10**18))
    monkeypatch.chdir(tmp_path)
    assert frame_key("a.jpg", SIZE, "1") == keys[0]  # however it is spelt


def test_a_missing_file_has_no_key(tmp_path):
    assert frame_key(str(tmp_path / "none.jpg"), SIZE, "1") is None


def test_the_bound_holds_and_is_reported_once(tmp_path, caplog):
    cache = FrameCache(str(tmp_path), MEBIBYTE)
    first, rest = numbered(range(20)), numbered(range(20, 120))
    cache.put(first)
    for key, frame in rest.items():
        cache.put({key: frame})
    assert 0.9 * MEBIBYTE < data_file(cache).stat().st_size <= MEBIBYTE
    assert num_kept(cache, first) == 20
    assert 0 < num_kept(cache, rest) < 100
    (message,) = messages(caplog)
    assert "is full" in message
    assert "larger DATALOADER.CACHE_GIB (now 0.000977)" in message


def test_a_clip_without_room_is_left_out_whole(tmp_path, caplog):
    cache = FrameCache(str(tmp_path), MEBIBYTE // 8)
    clip = numbered(range(100))
    cache.put(clip)
    assert num_kept(cache, clip) == 0
    assert "is full" in caplog.text


def test_a_larger_bound_makes_room_and_a_smaller_one_keeps_what_is_there(tmp_path, caplog):
    small, more, last = numbered(range(50)), numbered(range(50, 150)), numbered(range(150, 250))
    cache = FrameCache(str(tmp_path), MEBIBYTE)
    cache.put(small)
    cache.close()
    cache = FrameCache(str(tmp_path), 4 * MEBIBYTE)
    cache.put(more)
    cache.close()
    size = data_file(cache).stat().st_size
    assert size > MEBIBYTE
    assert not caplog.records
    cache = FrameCache(str(tmp_path), MEBIBYTE)
    assert num_kept(cache, small | more) == 150
    for key, frame in last.items():
        cache.put({key: frame})
    assert data_file(cache).stat().st_size <= size
    assert num_kept(cache, small | more) == 150
    assert num_kept(cache, last) == 0
    assert len(messages(caplog)) == 1


def in_child(function, *args):
    """Exit code of a forked process that runs a function."""
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    process.join(60)
    return process.exitcode


def put_with_bound(folder, max_bytes, frames):
    FrameCache(folder, max_bytes).put(frames)


def test_a_larger_bound_of_another_run_is_followed(tmp_path, caplog):
    cache = FrameCache(str(tmp_path), MEBIBYTE)
    small, more = numbered(range(20)), numbered(range(20, 150))
    cache.put(small)
    assert in_child(put_with_bound, str(tmp_path), 16 * MEBIBYTE, more) == 0
    assert data_file(cache).stat().st_size > MEBIBYTE
    cache.get(b"absent", SIZE)  # finds out, and maps what there is
    assert num_kept(cache, small | more) == 150
    assert not caplog.records


def test_a_damaged_frame_is_absent_until_it_is_put_again(cache, caplog):
    frames = numbered(range(3))
    cache.put(frames)
    cache.close()
    content = data_file(cache).read_bytes()
    place = content.index(frames[(1).to_bytes(16, "big")].numpy().tobytes()) + 50
    data_file(cache).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert num_kept(cache, frames) == 2
    cache.put(frames)
    assert num_kept(cache, frames) == 3
    assert not caplog.records


def test_frames_under_each_others_keys_are_absent(cache):
    frames = numbered(range(2))
    cache.put(frames)
    cache.close()
    content = bytearray(data_file(cache).read_bytes())
    length = frames[FIRST].numel() + 4  # with the checksum
    places = [content.index(frame.numpy().tobytes()) for frame in frames.values()]
    values = [bytes(content[place : place + length]) for place in places]
    for place, value in zip(places, reversed(values), strict=True):
        content[place : place + length] = value
    data_file(cache).write_bytes(content)
    assert num_kept(cache, frames) == 0


def test_what_is_there_is_not_written_again(cache):
    frames = numbered(range(50))
    cache.put(frames)
    before = data_file(cache).read_bytes()
    for _ in range(3):
        cache.put(frames)
    assert data_file(cache).read_bytes() == before


@pytest.mark.parametrize("length", [100_000, 8192, 5000, 100])
def test_a_file_that_is_cut_off_is_left_alone(cache, caplog, length):
    frames = numbered(range(50))
    cache.put(frames)
    cache.close()
    os.truncate(data_file(cache), length)
    for _ in range(2):
        assert num_kept(cache, frames) == 0
        cache.put(frames)
    assert data_file(cache).stat().st_size == length
    (message,) = messages(caplog)
    assert f"cache in {cache.folder} (DATALOADER.CACHE_DIR) is not used any more" in message
    assert "delete the folder" in message


def write_noise(path):
    path.write_bytes(b"something else" * 10_000)


@pytest.mark.parametrize(
    ("name", "spoil"), [("data.mdb", write_noise), ("data.mdb", Path.mkdir), ("lock.mdb", Path.mkdir)]
)
def test_files_of_something_else_are_left_alone(cache, caplog, name, spoil):
    spoil(Path(cache.folder, name))
    frames = numbered(range(2))
    cache.put(frames)
    assert num_kept(cache, frames) == 0
    assert len(messages(caplog)) == 1


def test_pages_of_noise_give_no_wrong_frame(cache, caplog):
    frames = numbered(range(50))
    cache.put(frames)
    cache.close()
    size = data_file(cache).stat().st_size
    with open(data_file(cache), "r+b") as file:
        for offset in range(2 * 4096, size, 4096):
            file.seek(offset)
            file.write(random_frame(offset).numpy().tobytes()[:64])
    assert num_kept(cache, frames) == 0
    assert len(messages(caplog)) <= 1


@contextlib.contextmanager
def as_nobody():
    """The user without rights, where the tests run as root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_left_alone(caplog):
    frames = numbered(range(2))
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "cache")
        folder.mkdir()
        folder.chmod(0o555)
        Path(parent).chmod(0o755)
        with as_nobody():
            cache = FrameCache(str(folder), MEBIBYTE)
            cache.put(frames)
            assert num_kept(cache, frames) == 0
    (message,) = messages(caplog)
    assert "Permission denied" in message


def test_a_full_disk_is_reported_once(cache, caplog):
    first, rest = numbered(range(5)), numbered(range(5, 200))
    cache.put(first)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # no file may become larger
    try:
        for key, frame in rest.items():
            cache.put({key: frame})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (message,) = messages(caplog)
    assert "is not used any more" in message
    assert "If the disk is full, free some space" in message
    cache.close()
    assert num_kept(FrameCache(cache.folder, cache.max_bytes), first) == 5  # what was there is whole


@pytest.fixture
def small_disk(tmp_path):
    """``small_disk(kibibytes)``: a folder that is a file system of this size."""
    mounted = []

    def mount(kibibytes):
        folder = tmp_path / f"disk{kibibytes}"
        folder.mkdir()
        options = f"size={kibibytes}k,mode=777"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError as error:
            pytest.skip(f"needs a small file system: {error}")
        if done.returncode:
            pytest.skip(f"needs a small file system, and mounting is not permitted: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


USE_A_CACHE = """
import logging, sys, torch
from datasets.readers.frame_cache import FrameCache
logging.basicConfig(format="%(message)s", stream=sys.stdout)
cache = FrameCache(sys.argv[1], 2**20)
size = (64, 48)
for number in range(20):
    key = number.to_bytes(16, "big")
    frame = torch.full((3, *size), number, dtype=torch.uint8)
    cache.put({key: frame})
    kept = cache.get(key, size)
    assert kept is None or torch.equal(kept, frame)
"""


@pytest.mark.parametrize(
    ("free_kibibytes", "has_lock_file"),
    [(0, False), (0, True), (96, False)],
    ids=["no lock file", "sparse lock file", "a few frames"],
)
def test_a_full_disk_costs_one_warning_and_not_the_process(small_disk, free_kibibytes, has_lock_file):
    folder = small_disk(free_kibibytes + 4)
    (folder / "other").write_bytes(bytes(4096))
    if has_lock_file:  # as LMDB leaves it: space is taken when a page of the file is first written
        with open(folder / "lock.mdb", "wb") as file:
            file.truncate(65664)
    # In a process of its own, as a bus error (SIGBUS) would end that of the tests.
    done = subprocess.run(
        [sys.executable, "-c", USE_A_CACHE, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (message,) = done.stdout.splitlines()
    assert f"cache in {folder} (DATALOADER.CACHE_DIR) is not used any more" in message
    assert "If the disk is full, free some space" in message


def test_the_lock_file_has_the_size_that_lmdb_gives_it(cache, tmp_path):
    cache.put(numbered([0]))
    with lmdb.open(str(tmp_path / "plain"), max_readers=MAX_READERS):
        pass
    lock_file = Path(cache.folder, "lock.mdb").stat()
    assert lock_file.st_size == (tmp_path / "plain/lock.mdb").stat().st_size
    assert lock_file.st_blocks * 512 >= lock_file.st_size


def test_a_folder_that_cannot_be_made_names_the_key(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(ValueError, match=r"DATALOADER\.CACHE_DIR must be a folder.*file"):
            FrameCache(str(folder), MEBIBYTE)


def test_a_bound_without_a_byte_names_the_key(tmp_path):
    with pytest.raises(ValueError, match=r"DATALOADER\.CACHE_GIB\) must be at least 1, got 0"):
        FrameCache(str(tmp_path), 0)


def put_one_by_one(cache, numbers, barrier):
    barrier.wait()
    for key, frame in numbered(numbers).items():
        cache.put({key: frame})


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_write_at_once(cache, caplog, start):
    context = multiprocessing.get_context(start)
    barrier = context.Barrier(2)
    ranges = (range(60), range(40, 100))  # some of them both
    processes = [context.Process(target=put_one_by_one, args=(cache, numbers, barrier)) for numbers in ranges]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert num_kept(cache, numbered(range(100))) == 100
    assert not caplog.records


def use_inherited(cache, old, new):
    assert num_kept(cache, old) == len(old)
    cache.put(new)
    assert num_kept(cache, new) == len(new)


def test_a_child_opens_the_file_itself(cache, caplog):
    old, new = numbered(range(3)), numbered(range(3, 6))
    cache.put(old)  # opens it here
    assert in_child(use_inherited, cache, old, new) == 0
    assert num_kept(cache, old | new) == 6
    cache.put(numbered([6]))
    assert num_kept(cache, numbered(range(7))) == 7
    assert not caplog.records


def fill_up(cache):
    for number in range(200):
        cache.put(numbered([number]))
    os._exit(bool(cache._is_full))


def test_processes_share_what_was_reported(tmp_path, caplog):
    cache = FrameCache(str(tmp_path), MEBIBYTE)
    assert in_child(fill_up, cache) == 1
    cache.put(numbered([300]))
    assert num_kept(cache, numbered([300])) == 0
    assert not caplog.records  # the warning was the child's


def test_a_pickled_cache_is_the_same_cache(cache):
    frames = numbered(range(3))
    cache.put(frames)
    copy = pickle.loads(pickle.dumps(cache))
    assert num_kept(copy, frames) == 3
    copy.put(numbered([3]))
    assert num_kept(cache, numbered([3])) == 1


def test_objects_share_the_file_however_its_folder_is_spelt(cache, tmp_path, monkeypatch, caplog):
    frames = numbered(range(3))
    cache.put(frames)
    (tmp_path / "link").symlink_to(cache.folder)
    monkeypatch.chdir(tmp_path)
    for folder in ("link", "new/cache"):
        assert num_kept(FrameCache(folder, cache.max_bytes), frames) == 3
    assert not caplog.records


def fail(path, size_hw):
    raise UnreadableFrameError(f"{path} was decoded")


def epoch(loader):
    return [{name: value.clone() for name, value in batch.items()} for batch in loader]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loaders_give_the_same_with_without_and_only_from_the_cache(cfg, monkeypatch, caplog, num_workers):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATALOADER.NUM_WORKERS = num_workers
    plain = cfg.clone()
    plain.DATALOADER.CACHE_DIR = ""
    dataset = make_dataset(cfg)
    case = dataset.cases["case1"]

    def passes(cfg):
        loaders = (
            make_train_loader(cfg, dataset),
            make_memory_loader(cfg, dataset),
            make_test_loader(cfg, case.query),
        )
        return [batch for loader in loaders for batch in epoch(loader)]

    expected, first = passes(plain), passes(cfg)
    monkeypatch.setattr(datasets.clips.clip_dataset, "decode_frame", fail)
    second = passes(cfg)
    with pytest.raises(UnreadableFrameError):
        make_memory_loader(plain, dataset).dataset[0]
    assert len(expected) == len(first) == len(second) > 3
    for batches in zip(expected, first, second, strict=True):
        for name, value in batches[0].items():
            assert all(torch.equal(value, batch[name]) for batch in batches)
    assert all((batch["unreadable"] == -1).all() for batch in second)
    assert not [message for message in messages(caplog) if "cache" in message]


def test_test_frames_have_a_size_of_their_own(cfg):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.SIZE_TEST = (32, 16)
    dataset = make_dataset(cfg)
    for batch in make_memory_loader(cfg, dataset):
        assert batch["clips"].shape[-2:] == (64, 32)
    for batch in make_test_loader(cfg, dataset.train):
        assert batch["clips"].shape[-2:] == (32, 16)


def test_the_bound_of_the_config_is_in_gibibytes(cfg):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATALOADER.CACHE_GIB = 0.25
    cache = make_test_loader(cfg, make_dataset(cfg).train).dataset.cache
    assert (cache.folder, cache.max_bytes) == (cfg.DATALOADER.CACHE_DIR, 2**28)


def test_no_cache_by_default(make_tree, tiny_cfg):
    cfg = tiny_cfg("DATASETS.ROOT_DIR", make_tree())
    dataset = make_dataset(cfg)
    loaders = (make_train_loader(cfg, dataset), make_memory_loader(cfg, dataset), make_test_loader(cfg, dataset.train))
    assert all(loader.dataset.cache is None for loader in loaders)


def test_the_bound_must_be_positive():
    for gib in ("0", "-1"):
        with pytest.raises(ValueError, match=rf"DATALOADER\.CACHE_GIB must lie between 0 and .* without 0, got {gib}"):
            get_cfg(None, ["DATALOADER.CACHE_GIB", gib])


def test_a_changed_frame_is_decoded_anew(tracklet, cache):
    clips = TrackletClips([tracklet], SIZE, 6, "test", cache=cache)
    assert clips[0]["clips"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    Image.new("RGB", (9, 9), (200, 0, 0)).save(tracklet.frame_paths[3])
    for _ in range(2):
        assert clips[0]["clips"][:, 0, 0, 0].tolist() == [0, 1, 2, 200, 4, 5]


def test_a_frame_that_changes_while_it_is_read_does_not_stand_for_the_new_one(tracklet, cache, monkeypatch):
    decode_frame = datasets.clips.clip_dataset.decode_frame

    def decode_and_change(path, size_hw):
        frame = decode_frame(path, size_hw)
        Image.new("RGB", (9, 9), (200, 0, 0)).save(path)
        return frame

    clips = TrackletClips([tracklet], SIZE, 6, "test", cache=cache)
    monkeypatch.setattr(datasets.clips.clip_dataset, "decode_frame", decode_and_change)
    assert clips[0]["clips"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert clips[0]["clips"][:, 0, 0, 0].tolist() == [200] * 6


def test_frames_that_cannot_be_read_are_replaced_and_not_kept(tracklet, cache, caplog):
    Path(tracklet.frame_paths[2]).write_bytes(b"broken")
    for _ in range(2):  # decoded, then cached
        clips = TrackletClips([tracklet], SIZE, 6, "test", cache=cache)
        assert clips[0]["clips"][:, 0, 0, 0].tolist() == [0, 1, 1, 3, 4, 5]
        assert clips[0]["unreadable"].tolist() == [-1, -1, 2, -1, -1, -1]
    assert len(messages(caplog)) == 2
    assert cache.get(frame_key(tracklet.frame_paths[2], SIZE, DECODER), SIZE) is None


def test_a_cached_frame_whose_file_is_gone_is_reported(tracklet, cache, caplog):
    TrackletClips([tracklet], SIZE, 6, "test", cache=cache)[0]
    Path(tracklet.frame_paths[5]).unlink()
    item = TrackletClips([tracklet], SIZE, 6, "test", cache=cache)[0]
    assert item["unreadable"].tolist() == [-1] * 5 + [5]
    assert tracklet.frame_paths[5] in caplog.text


def test_clips_go_on_without_a_cache_that_fails(tracklet, cache, caplog):
    data_file(cache).write_bytes(b"something else" * 1000)
    clips = TrackletClips([tracklet], SIZE, 6, "test", cache=cache)
    for _ in range(2):
        assert clips[0]["clips"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(messages(caplog)) == 1
