"""Progress of long loops: a bar on a terminal, a log line now and then where there is none, as in batch systems."""

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

# In place of tqdm's own lock, which forked processes share: one that is killed while it holds it blocks all others.
LOCK = threading.RLock()
LOG_INTERVAL = 60.0  # seconds between two log lines, at least


def track(
    iterable: Iterable[Item], description: str, unit: str, total: int | None = None, done: int = 0, enabled: bool = True
) -> Iterator[Item]:
    """Show how far a loop is, beyond the ``done`` items of another: a bar on a terminal, else a log line a minute."""
    if not enabled:
        yield from iterable
        return
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if sys.stderr.isatty():
        tqdm.set_lock(LOCK)
        yield from tqdm(iterable, desc=description, unit=unit, total=total, initial=done, leave=False)
        return
    start = logged = time.monotonic()
    for number, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if done + number != total and now - logged >= LOG_INTERVAL:
            logged = now
            if total:
                left = format_duration((now - start) * (total - done - number) / number)
                logger.info("%s: %d of %d, %s left", description, done + number, total, left)
            else:
                logger.info("%s: %d", description, number)


def format_duration(seconds: float) -> str:
    """Write a duration in its two largest units: '45 s', '12 min 30 s', '5 h 12 min', '3 d 4 h'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
