"""Files are written whole or not at all."""

import contextlib
import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from utils.whole_files import SUFFIX, whole_folder, write_text, write_whole


@contextlib.contextmanager
def full_disk(num_bytes=1000):
    """No file may grow beyond so many bytes; Python turns the signal for it into an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError("no space")])
def test_an_interrupted_write_leaves_the_old_file(error, tmp_path):
    write_text("old", tmp_path / "a.txt")

    def write_half(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        write_whole(write_half, tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_full_disk_names_the_file_and_what_to_do(tmp_path):
    write_text("old", tmp_path / "a.txt")
    message = r"Could not write .*/a\.txt: File too large\. .*Free space .*choose another\..*--resume\.$"
    with full_disk(), pytest.raises(OSError, match=message) as caught:
        write_text("x" * 2000, tmp_path / "a.txt")
    assert "Errno" not in str(caught.value)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(OSError, match=r"Could not write .*taken/a\.txt: .*Make this folder writable"):
        write_text("new", tmp_path / "taken/a.txt")


def test_the_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: [calls.append("fsync"), fsync(handle)])
    monkeypatch.setattr(os, "replace", lambda *names: [calls.append("replace"), replace(*names)])
    write_text("new", tmp_path / "a.txt")
    assert calls == ["fsync", "replace", "fsync"]
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_the_temporary_file_of_a_killed_writer_is_removed_and_that_of_a_living_one_is_not(tmp_path):
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:

        def write_and_wait(file):
            file.write(b"half")
            os.write(write_end, b"x")
            signal.pause()

        write_whole(write_and_wait, tmp_path / "a[1].txt")
    os.read(read_end, 1)
    write_text("new", tmp_path / "a[1].txt")
    (temporary,) = [name for name in names_in(tmp_path) if name.endswith(SUFFIX)]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for handle in (read_end, write_end):
        os.close(handle)
    write_text("other", tmp_path / "b.txt")
    assert temporary in names_in(tmp_path)  # it belongs to another file
    write_text("newer", tmp_path / "a[1].txt")
    assert names_in(tmp_path) == ["a[1].txt", "b.txt"]


def without_links(*names):
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_the_previous_file_is_kept(links, tmp_path, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", without_links)
    path, previous = tmp_path / "a.txt", tmp_path / "previous.txt"
    contents = []
    for text in ("one", "two", "three"):
        write_whole(lambda file, text=text: file.write(text.encode()), path, previous)
        contents.append((path.read_text(), previous.read_text() if previous.exists() else None))
    assert contents == [("one", None), ("two", "one"), ("three", "two")]
    assert names_in(tmp_path) == ["a.txt", "previous.txt"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("step", [0, 1])
def test_one_of_both_names_is_a_whole_file_wherever_a_write_stops(links, step, tmp_path, monkeypatch):
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
    if not links:
        monkeypatch.setattr(os, "link", without_links)
    with pytest.raises(KeyboardInterrupt):
        write_whole(lambda file: file.write(b"three"), path, previous)
    monkeypatch.undo()
    found = [name.read_text() for name in (path, previous) if name.exists()]
    assert "two" in found or found == ["three", "one"]  # the new file is whole before it gets its name
    assert len(found) == 1 or not path.samefile(previous)  # damage to one leaves the other
    write_whole(lambda file: file.write(b"three"), path, previous)
    assert path.read_text() == "three"
    assert names_in(tmp_path) == ["a.txt", "previous.txt"]


# ---- folders


def write_folder(path, content, error=None):
    with whole_folder(path) as folder:
        (folder / content).write_text(content)
        if error:
            raise error


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path):
    with whole_folder(tmp_path / "new/a") as folder:
        (folder / "b").touch()
        assert not (tmp_path / "new/a").exists()
    assert names_in(tmp_path / "new") == ["a"]
    assert names_in(tmp_path / "new/a") == ["b"]
    assert (tmp_path / "new/a").stat().st_mode & 0o777 == 0o755


def test_a_folder_is_replaced_when_the_new_one_is_whole(tmp_path):
    write_folder(tmp_path / "a", "old")
    with whole_folder(tmp_path / "a") as folder:
        (folder / "new").touch()
        assert names_in(tmp_path / "a") == ["old"]
    assert names_in(tmp_path / "a") == ["new"]
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError("no file")])
def test_an_interrupted_folder_leaves_the_old_one(error, tmp_path):
    write_folder(tmp_path / "a", "old")
    with pytest.raises(type(error)):
        write_folder(tmp_path / "a", "new", error)
    assert names_in(tmp_path / "a") == ["old"]
    assert names_in(tmp_path) == ["a"]


def test_a_full_disk_names_the_folder_and_what_to_do(tmp_path):
    message = r"^Could not write .*/a: File too large\. Nothing of it is kept; .*Free space on this disk, or choose"
    with full_disk(), pytest.raises(OSError, match=message), whole_folder(tmp_path / "a") as folder:
        (folder / "b").write_text("x" * 2000)
    assert names_in(tmp_path) == []


def test_a_failed_exchange_brings_the_old_folder_back(tmp_path, monkeypatch):
    write_folder(tmp_path / "a", "old")
    rename = Path.rename
    calls = []

    def fail_at_the_second(old, new):
        calls.append(new)
        if len(calls) == 2:
            raise FileNotFoundError(new)
        return rename(old, new)

    monkeypatch.setattr(Path, "rename", fail_at_the_second)
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "a"):
        pass
    assert names_in(tmp_path) == ["a"]
    assert names_in(tmp_path / "a") == ["old"]


def test_folders_of_killed_processes_are_removed_and_those_of_others_are_not(tmp_path):
    (tmp_path / ".a.12345678.part").mkdir()
    (tmp_path / ".a.12345678.part/b").touch()
    with whole_folder(tmp_path / "a") as folder:
        assert names_in(tmp_path) == [folder.name]
        write_folder(tmp_path / "a", "of another process")
        assert folder.is_dir()


def test_the_only_copy_of_a_replaced_folder_is_never_removed(tmp_path):
    (tmp_path / ".a.12345678.old").mkdir()  # of a process that was killed between the renames
    write_folder(tmp_path / "a", "new")
    assert names_in(tmp_path) == [".a.12345678.old", "a"]
    write_folder(tmp_path / "a", "newer")
    assert names_in(tmp_path) == ["a"]
