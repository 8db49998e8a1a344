"""Progress without a terminal is a log line at most once a minute; on a terminal it is a bar."""

import io
import sys

import pytest

from utils.progress import format_duration, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def run(caplog, monkeypatch):
    """``run(items, seconds, **options)``: loop over range(n) with ``seconds`` for each item; returns n, and the log."""
    caplog.set_level("INFO")

    def loop(items, seconds, **options):
        seen = []
        monkeypatch.setattr("utils.progress.time.monotonic", lambda: 1000.0 + seconds * len(seen))
        for item in track(items, "CLIP memory", "batch", **options):
            seen.append(item)  # noqa: PERF402
        assert seen == list(range(len(seen)))
        return len(seen), caplog.messages

    return loop


@pytest.mark.parametrize(
    ("items", "seconds", "options", "lines"),
    [
        (range(7), 20, {}, ["CLIP memory: 3 of 7, 1 min 20 s left", "CLIP memory: 6 of 7, 20 s left"]),
        (range(50), 1, {}, []),
        (iter(range(3)), 100, {}, ["CLIP memory: 1", "CLIP memory: 2", "CLIP memory: 3"]),
        (iter(range(2)), 500, {"total": 2}, ["CLIP memory: 1 of 2, 8 min 20 s left"]),
        (range(2), 60, {"total": 12, "done": 10}, ["CLIP memory: 11 of 12, 1 min 0 s left"]),
    ],
)
def test_a_line_a_minute_says_how_far_the_loop_is(items, seconds, options, lines, run):
    assert run(items, seconds, **options)[1] == lines


@pytest.mark.parametrize("enabled", [True, False])
def test_a_terminal_gets_a_bar_and_no_lines_and_other_processes_show_nothing(enabled, run, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert run(range(5), 100, enabled=enabled) == (5, [])
    assert ("CLIP memory" in sys.stderr.getvalue()) == enabled


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (750, "12 min 30 s"), (5 * 3600 + 720, "5 h 12 min"), (273600, "3 d 4 h")],
)
def test_durations_are_written_in_two_units(seconds, text):
    assert format_duration(seconds) == text
