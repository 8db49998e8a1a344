"""Files and folders are written whole or not at all, and one command at a time writes into a folder."""

import errno
import multiprocessing
import os
from functools import partial

import pytest

from utils import files
from utils.files import lock_folder, replace_files, set_aside, whole_folder, write_text, write_whole
from utils.mistake import Mistake
from utils.runtime import prepare_output, start_logging


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def write_folder(path, content="new", error=None):
    with whole_folder(path, force=True) as folder:
        (folder / content).write_text(content)
        if error:
            raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError(errno.ENOSPC, "full"), Mistake("no")])
def test_an_interruption_leaves_what_was_there(error, tmp_path):
    def write_half(file):
        file.write(b"half")
        raise error

    write_text("old", tmp_path / "a.txt")
    write_folder(tmp_path / "a", "old")
    is_full = isinstance(error, OSError)
    expected, message = (Mistake, "Could not write .*: full.*Free space") if is_full else (type(error), None)
    with pytest.raises(expected, match=message):
        write_whole(write_half, tmp_path / "a.txt")
    with pytest.raises(expected, match=message):
        write_folder(tmp_path / "a", "new", error)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names_in(tmp_path / "a") == [files.WRITTEN_LIST, "old"]
    assert names_in(tmp_path) == ["a", "a.txt"]


def test_only_a_full_disk_needs_space(tmp_path):
    def refuse(file):
        raise PermissionError(errno.EACCES, "not allowed")

    with pytest.raises(Mistake, match=r"not allowed\. What was there is kept\. Choose another place"):
        write_whole(refuse, tmp_path / "a.txt")


def test_what_stands_in_the_way_is_named(tmp_path):
    (tmp_path / "link").symlink_to("/gone/disk")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("link", "link is a link to /gone/disk, which is not there: choose another folder"),
        ("link/a/b", "link is a link to /gone/disk"),
        ("file", "file is a file, not a folder"),
        ("file/a", "file is a file, not a folder"),
    ):
        with pytest.raises(Mistake, match=message):
            prepare_output(tmp_path / name)
        with pytest.raises(Mistake, match=message):
            write_text("", tmp_path / name / "a.txt")
    with pytest.raises(Mistake, match="link is a link to /gone/disk"):
        write_folder(tmp_path / "link")
    for write in (start_logging, partial(write_text, "")):
        with pytest.raises(Mistake, match="pipe is no regular file, and is not replaced"):
            write(tmp_path / "pipe")


def test_the_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: [calls.append("fsync"), fsync(handle)])
    monkeypatch.setattr(os, "replace", lambda *names: [calls.append("replace"), replace(*names)])
    write_text("new", tmp_path / "a.txt")
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize(
    ("umask", "modes"), [(0o022, (0o644, 0o755)), (0o002, (0o664, 0o775)), (0o077, (0o600, 0o700))]
)
def test_the_umask_counts(umask, modes, tmp_path):
    before = os.umask(umask)
    try:
        write_text("new", tmp_path / "a.txt")
        write_folder(tmp_path / "a")
    finally:
        os.umask(before)
    assert tuple((tmp_path / name).stat().st_mode & 0o777 for name in ("a.txt", "a")) == modes


def test_who_locks_a_folder_removes_what_killed_writers_left_there(tmp_path):
    for name in (".b.12345678.part", ".c.12345678.part"):
        (tmp_path / name).write_text("half")
    write_folder(tmp_path / "c")
    assert names_in(tmp_path) == [".b.12345678.part", "c"]
    with lock_folder(tmp_path):
        assert names_in(tmp_path) == [files.LOCK_FILE, files.HOLDER_FILE, "c"]


@pytest.mark.parametrize("step", [0, 1])
def test_one_of_both_names_is_the_last_whole_file_wherever_a_write_stops(step, tmp_path, monkeypatch):
    path, previous = tmp_path / "a.txt", tmp_path / "previous.txt"
    for text in ("one", "two"):
        write_whole(lambda file, text=text: file.write(text.encode()), path, previous)
    replace, calls = os.replace, []

    def stop(*names):
        calls.append(names)
        if len(calls) > step:
            raise KeyboardInterrupt
        replace(*names)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_whole(lambda file: file.write(b"three"), path, previous)
    assert names_in(tmp_path)[-1] == "previous.txt"
    assert "two" in [name.read_text() for name in (path, previous) if name.exists()]


def test_only_what_was_written_before_is_replaced(tmp_path):
    def write(*names):
        def fill(folder):
            for name in names:
                (folder / name).write_text(name)
            return [folder / name for name in names]

        return fill

    (tmp_path / "own").touch()
    assert replace_files(tmp_path, write("a", "b")) == [tmp_path / "a", tmp_path / "b"]
    replace_files(tmp_path, write("b"))
    assert names_in(tmp_path) == [files.WRITTEN_LIST, "b", "own"]
    (tmp_path / "c").mkdir()
    with pytest.raises(Mistake, match="Could not write .*Is a directory"):
        replace_files(tmp_path, write("b", "c"))
    with pytest.raises(Mistake, match="own was not written here: delete"), whole_folder(tmp_path, force=True):
        raise AssertionError


def test_a_damaged_list_stops_nothing_and_deletes_nothing_elsewhere(tmp_path):
    folder = tmp_path / "results"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "precious").touch()
    (folder / "old").touch()
    names = [b"../precious", os.fsencode(tmp_path / "precious"), b"folder\na\0b", b"x" * 300, b"old/x\n\xff\nold"]
    (folder / files.WRITTEN_LIST).write_bytes(b"\n".join(names))
    replace_files(folder, lambda own: [])
    assert (tmp_path / "precious").exists()
    assert names_in(folder) == [files.WRITTEN_LIST, "folder"]


def test_files_that_are_set_aside_are_numbered_and_never_overwritten(tmp_path):
    for content in ("one", "two", "three"):
        (tmp_path / "a.csv").write_text(content)
        set_aside(tmp_path / "a.csv")
    contents = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert contents == {"a.csv.old": "one", "a.csv.old2": "two", "a.csv.old3": "three"}


# ---- locks


def _try_lock(folder, lock=lock_folder):
    try:
        with lock(folder):
            return "free"
    except Mistake as error:
        return str(error)


def test_a_second_run_is_told_who_holds_the_folder(tmp_path):
    with multiprocessing.get_context("fork").Pool(1) as pool:  # the processes of a pool do not inherit a lock
        with lock_folder(tmp_path):
            message = pool.apply(_try_lock, (tmp_path,))
        assert f"{tmp_path} is in use by process {os.getpid()} on " in message
        with pytest.raises(ValueError, match="mine"), lock_folder(tmp_path):
            raise ValueError("mine")
        assert pool.apply(_try_lock, (tmp_path,)) == "free"


def test_one_process_at_a_time_makes_a_folder(tmp_path):
    with multiprocessing.get_context("fork").Pool(1) as pool, whole_folder(tmp_path / "a"):
        assert "a is in use by process" in pool.apply(_try_lock, (tmp_path / "a", whole_folder))
        assert pool.apply(_try_lock, (tmp_path / "b", whole_folder)) == "free"
    assert names_in(tmp_path) == ["a", "b"]


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def fail(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", fail)
    with lock_folder(tmp_path):
        pass
    assert "cannot be locked (" in caplog.text
