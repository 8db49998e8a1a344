"""utils/runtime.py: log lines reach file and console whatever they hold. Entry points test the rest (test_main.py)."""

import io
import logging
import os
import sys

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
