"""Signals are obeyed at once, or noted until it is time."""

import signal
import time
from multiprocessing import get_context

import pytest

from utils import stopping
from utils.stopping import SIGNALS, STOP_REQUESTS, Stopped, leave_signals_to_parent


def send(number):
    signal.raise_signal(number)  # in this thread: pytest-xdist has others


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_stop_at_once(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, STOP_REQUESTS.handled():
        send(number)
    assert stopped.value.name == signal.Signals(number).name
    assert stopped.value.status == 128 + number
    assert signal.getsignal(number) == before


def send_while_deferred(*numbers):
    """Send signals within a block that defers them."""
    with STOP_REQUESTS.deferred():
        for number in numbers:
            send(number)


def test_deferred_signals_are_noted_and_obeyed_in_the_end(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with STOP_REQUESTS.handled():
        with STOP_REQUESTS.deferred():
            pass
        with pytest.raises(Stopped) as stopped:
            send_while_deferred(signal.SIGTERM, signal.SIGTERM)
        assert stopped.value.number == STOP_REQUESTS.received == signal.SIGTERM
        with pytest.raises(Stopped):  # nothing more may begin
            send_while_deferred()
    send_while_deferred()  # after the block, the signals are over


@pytest.mark.parametrize("under_torchrun", [False, True])
def test_a_second_ctrl_c_insists_unless_torchrun_passes_it_on(under_torchrun, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if under_torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    sent = []

    def work():
        with STOP_REQUESTS.deferred():
            for number in range(2):
                send(signal.SIGINT)
                sent.append(number)

    with STOP_REQUESTS.handled(), pytest.raises(Stopped):
        work()
    assert sent == ([0, 1] if under_torchrun else [0])


def test_a_signal_reaches_nobody_while_an_object_is_freed_and_comes_again():
    class Freed:
        def __del__(self):
            send(signal.SIGINT)

    def work():
        Freed()  # Python would print the exception, and go on
        assert STOP_REQUESTS.received is None
        time.sleep(10)

    with pytest.raises(Stopped), STOP_REQUESTS.handled():
        work()


def test_a_forked_process_leaves_signals_to_its_parent():
    with STOP_REQUESTS.handled():
        child = get_context("fork").Process(target=send, args=(signal.SIGINT,))
        child.start()
        child.join()
    assert child.exitcode == 0


def test_a_second_signal_does_not_disturb_the_end_unless_it_is_late(monkeypatch):
    ended = []
    monkeypatch.setattr(stopping, "end_at_once", ended.append)
    with STOP_REQUESTS.handled():
        with pytest.raises(Stopped):
            send(signal.SIGINT)
        send(signal.SIGINT)
        assert ended == []
        monkeypatch.setattr(stopping, "PATIENCE_SECONDS", 0)
        send(signal.SIGTERM)
    assert ended == [signal.SIGTERM]


def test_a_process_that_ends_at_once_says_why(capfd):
    child = get_context("fork").Process(target=stopping.end_at_once, args=(signal.SIGINT,))
    child.start()
    child.join()
    assert (child.exitcode, capfd.readouterr().err) == (130, "Stopped by SIGINT.\n")


def test_loader_processes_leave_signals_to_their_parent(monkeypatch):
    handlers = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    leave_signals_to_parent(0)
    assert handlers == dict.fromkeys(SIGNALS, signal.SIG_IGN)
