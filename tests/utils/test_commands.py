"""How commands end: status, one line on the console, the traceback in the log file."""

import errno
import logging
import multiprocessing
import signal
import time

import pytest

from utils.commands import going_on_without, run_command
from utils.whole_files import write_whole


def fail(error):
    def main():
        raise error

    return main


@pytest.fixture(autouse=True)
def handlers(caplog, monkeypatch):
    """The handlers of log lines, without the file of pytest itself."""
    handlers = [caplog.handler]
    monkeypatch.setattr(logging.getLogger(), "handlers", handlers)
    return handlers


@pytest.fixture
def log_file(handlers, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "utils.commands")
    handler = logging.FileHandler(tmp_path / "train.log")
    handlers.append(handler)
    yield tmp_path / "train.log"
    handler.close()


def test_status_of_success():
    assert run_command(lambda: None) == 0


@pytest.mark.parametrize("error", [OSError("no disk"), ValueError("no sense"), FloatingPointError("no number")])
def test_a_mistake_is_one_line(error, caplog):
    assert run_command(fail(error)) == 1
    assert [record.message for record in caplog.records] == [str(error)]


def test_an_error_of_the_system_is_told_in_words(caplog, tmp_path):
    assert run_command(lambda: (tmp_path / "gone").read_text()) == 1
    assert caplog.records[0].message == f"{tmp_path}/gone: No such file or directory."
    assert run_command(fail(OSError(errno.ENOSPC, "No space left on device"))) == 1
    assert caplog.records[1].message.startswith("No space left on device: a file cannot be read or written")


def test_a_message_of_many_lines_becomes_one_of_bounded_length(caplog):
    assert run_command(fail(ValueError("a.pth does not fit:\n\tsize mismatch for b\n"))) == 1
    assert caplog.records[0].message == "a.pth does not fit: size mismatch for b"
    assert run_command(fail(ValueError("x" * 5000))) == 1
    assert len(caplog.records[1].message) < 1100
    assert caplog.records[1].message.endswith("... (the log file holds all of it)")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("x: can't allocate memory")])
def test_too_little_memory_names_the_keys(error, caplog, log_file):
    assert run_command(fail(error)) == 1
    message = caplog.records[0].message
    assert message.startswith("This machine has too little memory. Lower SOLVER.STAGE2.IMS_PER_BATCH")


def test_an_error_without_a_message_is_named(caplog):
    assert run_command(fail(ValueError())) == 1
    assert caplog.records[0].message == "ValueError"


def test_the_error_of_a_loader_process_is_its_last_line(caplog):
    message = (
        "Caught UnreadableFrameError in DataLoader worker process 0.\nTraceback:\n  ...\nValueError: frame 3 is damaged"
    )
    assert run_command(fail(ValueError(message))) == 1
    assert caplog.records[0].message == "ValueError: frame 3 is damaged"


def test_any_other_error_leaves_its_traceback_in_the_log(log_file, caplog):
    assert run_command(fail(KeyError("x"))) == 1
    lines = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert lines == ["KeyError: 'x'", f"The traceback is in {log_file}"]
    assert "Traceback (most recent call last)" in log_file.read_text()


def test_without_a_log_any_other_error_is_raised():
    with pytest.raises(KeyError):
        run_command(fail(KeyError("x")))


@pytest.mark.parametrize(
    ("message", "key"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", "DATALOADER.NUM_WORKERS"),
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", "shm-size"),
    ],
)
def test_a_killed_loader_process_names_the_key_to_change(message, key, log_file, caplog):
    assert run_command(fail(RuntimeError(message))) == 1
    assert key in caplog.records[0].message


def test_out_of_memory_names_the_keys_to_change(log_file, caplog):
    OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})
    assert run_command(fail(OutOfMemoryError("CUDA out of memory."))) == 1
    assert "SOLVER.STAGE2.IMS_PER_BATCH" in caplog.records[0].message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_with_its_status(number, caplog):
    assert run_command(lambda: signal.raise_signal(number)) == 128 + number
    assert f"Stopped by {signal.Signals(number).name}." in caplog.text


def _ignore_everything():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


def test_no_child_outlives_the_command():
    children = []

    def main():
        child = multiprocessing.get_context("fork").Process(target=_ignore_everything, daemon=True)
        child.start()
        children.append(child)
        raise ValueError("over")

    assert run_command(main) == 1
    children[0].join(timeout=10)
    assert children[0].exitcode == -signal.SIGKILL


def test_an_error_of_what_is_dispensable_is_a_warning(caplog):
    with going_on_without("the picture"):
        raise KeyError("x")
    assert caplog.messages[0].startswith("the picture: left out because of an error (KeyError: 'x').")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_ends_what_is_dispensable_too(number, tmp_path):
    def write(file):
        raise OSError(number, "full")

    with pytest.raises(OSError, match="full"), going_on_without("the page"):
        write(None)
    with pytest.raises(OSError, match="Free space on this disk"), going_on_without("the page"):
        write_whole(write, tmp_path / "page.html")
