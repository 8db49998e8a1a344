"""How a command ends, or goes on: signals and errors become one line and an exit status, or a warning.

This imports no torch, which takes seconds: a signal during that time is handled, too.
"""

import logging
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .stopping import STOP_REQUESTS, Stopped
from .whole_files import is_disk_full

logger = logging.getLogger(__name__)

# Mistakes of the user, such as a missing folder or a value out of range: their message says all.
MISTAKES = (OSError, ValueError, TypeError, FloatingPointError)
MAX_LENGTH = 1000  # characters of a message on the console


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def run_command(main: Callable[[], None]) -> int:
    """Run an entry point and return its exit status: 0, 1 after an error, 128 + number after a signal.

    A mistake of the user ends in one line on the console. Any other error does, too, once there is a log file for its
    traceback; before that it is raised again.
    """
    with STOP_REQUESTS.handled():
        try:
            main()
            _leave_other_processes()  # after an error, the others may still wait for this process: torchrun ends them
        except Stopped as stopped:
            logger.error("Stopped by %s. What was written so far is kept.", stopped.name)
            return stopped.status
        except MISTAKES as error:
            logger.error("%s", _describe(error))
            logger.debug("Traceback:", exc_info=True)
            return 1
        except Exception as error:
            logger.error("%s", _explain(error))
            logger.debug("Traceback:", exc_info=True)
            log_file = _log_file()
            if log_file is None:
                raise
            logger.error("The traceback is in %s", log_file)
            return 1
        finally:
            _end_loader_processes()
    return 0


@contextmanager
def going_on_without(what: str) -> Iterator[None]:
    """Turn an error of a block into one warning, with its traceback in the log file: what it makes is dispensable.

    A full disk and a signal still end the command.

    Args:
        what: What is missing after an error, as the beginning of the warning.
    """
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise
        logger.warning(
            "%s: left out because of an error (%s). Its traceback is in the log file.", what, _explain(error)
        )
        logger.debug("Traceback:", exc_info=True)


def _describe(error: Exception) -> str:
    """Return a mistake of the user in one line of bounded length."""
    if isinstance(error, OSError) and error.strerror:  # of the system, which numbers its errors: "[Errno 28] ..."
        if error.filename is None:
            return f"{error.strerror}: a file cannot be read or written, and the system does not say which."
        return _shorten(f"{error.filename}: {error.strerror}.")
    lines = str(error).strip().splitlines()
    if lines and lines[0].startswith("Caught "):  # a loader process sent its traceback, whose last line is the message
        lines = lines[-1:]
    return _shorten(" ".join(line.strip() for line in lines)) or type(error).__name__


def _shorten(message: str) -> str:
    return message if len(message) <= MAX_LENGTH else f"{message[:MAX_LENGTH]} ... (the log file holds all of it)"


def _explain(error: Exception) -> str:
    """Return an error that is no mistake of the user in one line, with what to do where that is known."""
    message = first_line(error)
    if message.startswith("DataLoader worker"):
        return (
            f"{message.strip()} The system ended a process that loads frames, mostly because memory or /dev/shm is "
            "full: lower DATALOADER.NUM_WORKERS (0 needs neither), or give a container more (docker run --shm-size=8g)."
        )
    on_cpu = "can't allocate memory" in message or isinstance(error, MemoryError)
    if on_cpu or type(error).__name__ == "OutOfMemoryError":
        cause = "This machine has too little memory." if on_cpu else message
        return (
            f"{cause} Lower SOLVER.STAGE2.IMS_PER_BATCH or TEST.IMS_PER_BATCH, or set MODEL.GRADIENT_CHECKPOINTING "
            "True; `python -m tools.plan_run` says what fits."
        )
    return f"{type(error).__name__}: {message}"


def _log_file() -> str | None:
    """Return the file that log lines go to; None without one."""
    files = (handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler))
    return next((file.baseFilename for file in files), None)


def _leave_other_processes() -> None:
    if sys.modules.get("torch"):  # else there are none: some commands run where torch is not installed
        from .processes import stop_processes

        stop_processes()


def _end_loader_processes() -> None:
    """End what is left of this process's children at once; they ignore signals (``leave_signals_to_parent``)."""
    children = multiprocessing.active_children()
    if not children:
        return
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's raises an error when a loader process is killed
    for child in children:
        with suppress(OSError):  # it may have ended by itself
            child.kill()
        child.join()
    signal.signal(signal.SIGCHLD, handler)
