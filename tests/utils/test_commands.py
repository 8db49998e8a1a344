"""How commands end: their status, one line for what the user can mend, and a traceback for the rest."""

import errno
import logging
import multiprocessing
import os
import signal
import sys
import time

import pytest

from utils.commands import going_on_without, run_command, show
from utils.files import write_whole
from utils.mistake import Mistake
from utils.runtime import start_logging


def fail(error):
    def main():
        raise error

    return main


FRAME = "Caught Mistake in DataLoader worker process 0.\nTraceback:\n  ...\nutils.mistake.Mistake: frame 3 is damaged"
OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (Mistake("no sense"), ["no sense"]),
        (Mistake("a.pth does not fit:\n\tsize mismatch for b\n"), ["a.pth does not fit: size mismatch for b"]),
        (Mistake(FRAME), ["utils.mistake.Mistake: frame 3 is damaged"]),
        (Mistake("x " * 5000), ["x " * 498 + " ..."]),
        (Mistake("a  b.pth is not there"), ["a  b.pth is not there"]),
        (OSError(errno.EACCES, "Permission denied", "/a"), ["/a: Permission denied."]),
        (OSError(errno.ENOSPC, "No space left on device"), ["A file, and the system does not say which: No"]),
        (ModuleNotFoundError("No module named 'nothing'", name="nothing.at.all"), ["The package nothing is not"]),
        # These show their traceback.
        (KeyError("x"), ["KeyError: "]),
        (ValueError("not ours"), ["ValueError: "]),
        (ModuleNotFoundError("No module named 'utils.gone'", name="utils.gone"), ["ModuleNotFoundError: "]),
        (MemoryError(), ["MemoryError: ", "Too little memory: lower SOLVER.STAGE2.IMS_PER_BATCH"]),
        (OutOfMemoryError("CUDA out of memory."), ["OutOfMemoryError: ", "Too little memory"]),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal"), ["RuntimeError: ", "The system ended"]),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited"), ["RuntimeError: ", "The system ended"]),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_the_rest_has_a_traceback(error, lines, caplog):
    assert run_command(fail(error)) == 1
    assert [message[: len(line)] for message, line in zip(caplog.messages, lines, strict=True)] == lines
    has_traceback = any(record.exc_info for record in caplog.records)
    assert has_traceback == lines[0].startswith(f"{type(error).__name__}: ")


def test_answers_go_to_standard_output_and_logs_to_standard_error(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    def main():
        logging.getLogger("a").info("log\x07")
        show("table\x1b[31m")

    assert run_command(main) == 0
    assert capsys.readouterr() == ("table\\x1b[31m\n", "log\\x07\n")


@pytest.mark.parametrize("terminals", [("stdout", "stderr"), ("stdout",), ("stderr",), ()])
def test_a_logged_answer_appears_once_on_a_terminal(terminals, capsys, monkeypatch):
    for name in terminals:
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda: True)
    show("table", is_logged=True)
    assert capsys.readouterr().out == ("" if len(terminals) == 2 else "table\n")


def test_paths_that_are_not_utf8_are_logged(tmp_path):
    with start_logging(tmp_path / "run.log"):
        logging.getLogger("test").info("Cannot read %s.", os.fsdecode(b"caf\xe9"))
    assert "INFO test: Cannot read caf\\udce9." in (tmp_path / "run.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_with_its_status(number, caplog):
    assert run_command(lambda: signal.raise_signal(number)) == 128 + number
    assert f"Stopped by {signal.Signals(number).name}." in caplog.text


def test_an_error_that_a_signal_causes_is_the_signal(caplog):
    def main():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            raise RuntimeError("the file has no end")

    assert run_command(main) == 130
    assert [message.split(".")[0] for message in caplog.messages] == ["Stopped by SIGINT"]


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
        raise Mistake("over")

    assert run_command(main) == 1
    children[0].join(timeout=10)
    assert children[0].exitcode == -signal.SIGKILL


def test_an_error_of_what_is_dispensable_is_a_warning_unless_the_disk_is_full(caplog, tmp_path):
    with going_on_without("the picture"):
        raise KeyError("x")
    assert caplog.messages == ["the picture: left out because of an error."]
    assert caplog.records[0].exc_info
    with pytest.raises(Mistake, match="Free space"), going_on_without("the page"):
        write_whole(lambda file: fail(OSError(errno.ENOSPC, "full"))(), tmp_path / "page.html")
