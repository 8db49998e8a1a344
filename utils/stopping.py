"""Obey signals that ask a run to stop, or note them until the next save point."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Of Ctrl-C, of batch systems, and of batch systems some time before a job's limit, on request.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


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
        self._is_deferred = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Turn the signals into ``Stopped`` within a block; this works in the main thread only."""
        self.received = None
        before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        try:
            yield
        finally:
            self.received = None  # it concerned this block, and stops nothing after it
            for number, handler in before.items():
                signal.signal(number, handler)

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
        again = self.received is not None
        self.received = self.received or number
        # torchrun passes a signal on to processes that may have received it from the terminal already.
        insists = again and number == signal.SIGINT and "TORCHELASTIC_RUN_ID" not in os.environ
        if insists or not self._is_deferred:
            raise Stopped(number)


STOP_REQUESTS = StopRequests()


def leave_signals_to_parent(worker: int) -> None:
    """Let a loader process, whose number torch passes, ignore signals to its whole group: its parent ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
