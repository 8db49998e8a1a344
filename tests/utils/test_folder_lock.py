"""Two runs cannot write into one folder."""

import multiprocessing
import os

import pytest

from utils.folder_lock import LOCK_FILE, lock_folder


def try_lock(folder):
    """In another process: whether the lock is free, and otherwise the error."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(_try, (folder,))


def _try(folder):
    try:
        with lock_folder(folder):
            return "free"
    except OSError as error:
        return str(error)


def test_a_second_run_is_told_who_holds_the_folder(tmp_path):
    with lock_folder(tmp_path):
        message = try_lock(tmp_path)
    assert f"{tmp_path} is in use by process {os.getpid()} on " in message
    assert message.endswith("write to another place (--output_dir or --custom_output_dir).")
    assert try_lock(tmp_path) == "free"


def test_the_lock_ends_with_an_error(tmp_path):
    with pytest.raises(ValueError, match="mine"), lock_folder(tmp_path):
        raise ValueError("mine")
    assert try_lock(tmp_path) == "free"


def test_only_process_0_of_a_run_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with lock_folder(tmp_path):
        assert not (tmp_path / LOCK_FILE).exists()


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def fail(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", fail)
    with lock_folder(tmp_path):
        pass
    assert "cannot be locked ([Errno 37] No locks available)" in caplog.text
