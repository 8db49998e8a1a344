"""Catches the warnings that the readers of data sets log, so that the data check can report them as findings."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _MessageList(logging.Handler):
    """Collects the texts of warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def captured_warnings() -> Iterator[list[str]]:
    """Collect what ``datasets`` logs as a warning, and keep all that it logs from the console."""
    handler = _MessageList()
    source = logging.getLogger("datasets")
    source.addHandler(handler)
    source.propagate = False
    try:
        yield handler.messages
    finally:
        source.propagate = True
        source.removeHandler(handler)
