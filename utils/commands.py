"""Run a command and end it: logs and answers, signals, and errors as one line or with their traceback."""

import errno
import importlib.util
import io
import logging
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .files import DISK_FULL, is_disk_full
from .mistake import Mistake
from .stopping import STOP_REQUESTS, Stopped
from .text import escape_controls

logger = logging.getLogger(__name__)

# Errors of the machine or of the rights on it, wherever they come up: no code of ours can be mended for them.
NAMES = "EACCES EPERM EROFS EIO EMFILE ENFILE EPIPE ENAMETOOLONG ELOOP"
MACHINE_ERRORS = (*DISK_FULL, *(getattr(errno, name) for name in NAMES.split()))
LOADER_ENDED = (
    "The system ended a process that loads frames, mostly because memory or /dev/shm is full: lower "
    "DATALOADER.NUM_WORKERS (0 needs neither), or give a container more (docker run --shm-size=8g)."
)
LITTLE_MEMORY = (
    "Too little memory: lower SOLVER.STAGE2.IMS_PER_BATCH or TEST.IMS_PER_BATCH, or set "
    "MODEL.GRADIENT_CHECKPOINTING True; `python -m tools.plan_run` says what fits."
)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class PlainFormatter(logging.Formatter):
    """Lays out log lines in which no name can steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_controls(super().format(record), kept="\n\t")


def show(answer: str, is_logged: bool = False) -> None:
    """Write what a command was asked for to standard output; a terminal that shows log lines, too, shows it once."""
    if is_logged and sys.stdout.isatty() and sys.stderr.isatty():
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold bytes that are no text
    sys.stdout.write(escape_controls(f"{answer}\n", kept="\n\t"))
    sys.stdout.flush()


def run_command(main: Callable[[], object]) -> int:
    """Run an entry point and return its exit status: its own number, 1 after an error, 128 + number after a signal."""
    console = logging.StreamHandler()  # to standard error, until ``start_logging``
    console.setFormatter(PlainFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[console])
    logging.getLogger("torch").setLevel(logging.WARNING)  # it tells of a cache where its import is interrupted
    with STOP_REQUESTS.handled():
        try:
            status = main()
            if processes := sys.modules.get("utils.processes"):  # else nothing that takes torch has run
                processes.stop_processes()
            return status if isinstance(status, int) else 0
        except (Stopped, Exception) as error:
            if stopped := _find_stop(error):
                logger.error("Stopped by %s. What was written so far is kept.", stopped.name)
                return stopped.status
            if told := _tell_others(error):
                logger.error("%s", told)
            else:
                _report(error)
            return 1
        finally:
            _end_loader_processes()


@contextmanager
def going_on_without(what: str) -> Iterator[None]:
    """Turn an error of a block that makes ``what`` into a warning; a full disk and a signal still end the command."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise
        logger.warning("%s: left out because of an error.", what, exc_info=True)


def _find_stop(error: BaseException | None) -> Stopped | None:
    """Return the signal that an error comes from: a library that is stopped may raise an error of its own."""
    while error and not isinstance(error, Stopped):
        error = error.__context__
    return error if isinstance(error, Stopped) else None


def _tell_others(error: BaseException) -> str | None:
    """Tell the other processes of a run why this one fails; returns the failure of another one, if that was first."""
    processes = sys.modules.get("utils.processes")
    line = _in_one_line(error) if isinstance(error, Mistake) else f"{type(error).__name__}: {first_line(error)}"
    return next((watch.report(line) for watch in processes.watches), None) if processes else None


def _report(error: BaseException) -> None:
    """Log one line for an error that the user can mend, and else the traceback and what is known to help."""
    if isinstance(error, Mistake):
        logger.error("%s", _in_one_line(error))
    elif isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
        place = error.filename or "A file, and the system does not say which"
        logger.error("%s: %s.", place, error.strerror)
    elif isinstance(error, ModuleNotFoundError) and not importlib.util.find_spec(
        package := str(error.name).split(".")[0]
    ):
        logger.error("The package %s is not installed: install requirements.txt and requirements-extra.txt.", package)
    else:
        kind, message = type(error).__name__, first_line(error)
        logger.error("%s: %s", kind, message, exc_info=error)
        if message.startswith("DataLoader worker"):
            logger.error(LOADER_ENDED)
        elif isinstance(error, MemoryError) or "can't allocate memory" in message or "OutOfMemory" in kind:
            logger.error(LITTLE_MEMORY)


def _in_one_line(error: Mistake) -> str:
    message = str(error).strip()
    if message.startswith("Caught "):  # a loader process sent its traceback, whose last line is the message
        message = message.splitlines()[-1]
    line = " ".join(part.strip() for part in message.splitlines())
    return line if len(line) <= 1000 else f"{line[:996]} ..."


def _end_loader_processes() -> None:
    """End what is left of this process's children at once; they ignore signals (``leave_signals_to_parent``)."""
    children = multiprocessing.active_children()
    if children and hasattr(signal, "SIGCHLD"):  # torch's handler raises an error when a loader process is killed
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in children:
        with suppress(OSError):  # it may have ended by itself
            child.kill()
        child.join()
