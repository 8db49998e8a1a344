"""utils/runtime.py: log lines reach file and console whatever they hold. Entry points test the rest (test_main.py)."""

import io
import logging
import os
import sys
from pathlib import Path

import pytest

from utils.runtime import start_logging


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_paths_that_are_not_utf8_are_logged(tmp_path, monkeypatch, encoding):
    console = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(console, encoding=encoding))
    path = tmp_path / os.fsdecode(b"caf\xe9")
    with start_logging(tmp_path / "run.log"):
        logging.getLogger("test").info("Cannot read %s.", path)
    sys.stderr.flush()
    line = f"INFO test: Cannot read {tmp_path}/caf\\udce9."
    for text in ((tmp_path / "run.log").read_text(encoding="utf-8"), console.getvalue().decode(encoding)):
        assert line in text
    assert "Logging error" not in console.getvalue().decode(encoding)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_log_on_a_full_disk_ends_with_one_warning(capsys):
    with start_logging("/dev/full"):
        for number in range(3):
            logging.getLogger("test").info("line %d", number)
    printed = capsys.readouterr().err
    assert [f"line {number}" in printed for number in range(3)] == [True] * 3
    assert printed.count("/dev/full cannot be written ([Errno 28] No space left on device)") == 1
    assert "Logging error" not in printed
