"""Obey signals that ask a run to stop, or note them until the next save point."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Of Ctrl-C, of batch systems, and of batch systems some time before a job's limit, on request.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
# Names of functions that Python calls while it frees objects; it prints what they raise, and goes on.
# cb is of the import system's locks, remove of dictionaries with weak keys or values.
DESTRUCTORS = {"__del__", "_exitfunc", "cb", "remove"}
IMPORTERS = {"_find_and_load"}  # torch aborts with a long trace where an exception interrupts its import
AGAIN_SECONDS = 0.1
PATIENCE_SECONDS = 1.0  # torchrun passes a signal on to processes that may have received it from the terminal already


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop; no ``except Exception`` swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.name = signal.Signals(number).name  # such as SIGTERM
        self.status = 128 + number  # by which shells report the signal


class StopRequests:
    """The signals that this process received."""

    def __init__(self) -> None:
        self.received: int | None = None  # the number of the first signal
        self._received_at = 0.0
        self._process = 0  # that handles signals; processes forked from it leave them to it
        self._is_deferred = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Turn the signals into ``Stopped`` within a block; this works in the main thread only."""
        self.received, self._process = None, os.getpid()
        before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.received = None  # it concerned this block, and stops nothing after it

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note signals within a block, which asks ``received`` and calls ``obey``; a second Ctrl-C is obeyed."""
        self.obey()
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        self.obey()  # a signal that came after the block last asked

    def obey(self) -> None:
        """Raise Stopped if a signal was received."""
        if self.received is not None:
            raise Stopped(self.received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return
        again, now = self.received is not None, time.monotonic()
        if again and not self._is_deferred:  # the first one is ending the command
            if now - self._received_at > PATIENCE_SECONDS:
                end_at_once(number)
            return
        insists = again and number == signal.SIGINT and "TORCHELASTIC_RUN_ID" not in os.environ
        is_obeyed = insists or not self._is_deferred
        if is_obeyed and _runs(frame, DESTRUCTORS):
            import threading  # commands import this module before all others, and should at once

            threading.Timer(AGAIN_SECONDS, os.kill, (self._process, number)).start()
            return
        if is_obeyed and _runs(frame, IMPORTERS):
            end_at_once(number)
        if not again:
            self.received, self._received_at = number, now
        if is_obeyed:
            raise Stopped(number)


def _runs(frame: FrameType | None, names: set[str]) -> bool:
    """Whether a frame or one of its callers is that of a function of these names."""
    while frame and frame.f_code.co_name not in names:
        frame = frame.f_back
    return frame is not None


def end_at_once(number: int, frame: FrameType | None = None) -> None:
    """End this process without cleaning up: while a command starts or ends, nobody catches exceptions of a signal."""
    os.write(2, f"Stopped by {signal.Signals(number).name}.\n".encode())
    os._exit(128 + number)


STOP_REQUESTS = StopRequests()


def leave_signals_to_parent(worker: int) -> None:
    """Let a loader process, whose number torch passes, ignore signals to its whole group: its parent ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
