"""Locks an output folder, so that two commands do not write into it at the same time."""

import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .processes import read_launch

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"


@contextmanager
def lock_folder(folder: Path, option: str = "--output_dir or --custom_output_dir") -> Iterator[None]:
    """Hold the lock of an output folder within a block, in process 0; the system releases it if the process dies.

    Args:
        folder: The folder.
        option: What names another one, for the message.
    Raises:
        OSError: If another command holds it; the message names its process.
    """
    if not read_launch().is_main:
        yield
        return
    # A record lock belongs to one process: unlike that of flock, it does not live on in loader processes.
    with (folder / LOCK_FILE).open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            raise OSError(
                f"{folder} is in use by {holder}: wait until it ends, or write to another place ({option})."
            ) from error
        except OSError as error:  # some network file systems have no locks
            logger.warning("%s cannot be locked (%s): make sure that no other command writes there.", folder, error)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
