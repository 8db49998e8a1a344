"""utils/runtime.py: log lines reach the file whatever they hold. Entry points test the rest (test_main.py)."""

import logging
import os

from utils.runtime import start_logging


def test_paths_that_are_not_utf8_are_logged(tmp_path):
    with start_logging(tmp_path / "run.log"):
        logging.getLogger("test").info("Cannot read %s.", os.fsdecode(b"caf\xe9"))
    assert "INFO test: Cannot read caf\\udce9." in (tmp_path / "run.log").read_text(encoding="utf-8")
