"""Write files and folders whole or not at all: whatever interrupts a write, what is under a name is whole."""

import contextlib
import errno
import fcntl
import glob
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

# A temporary file is named ".", the name of the file, "." and eight random characters, then this.
SUFFIX = ".part"
# Ends the name of a folder that is being replaced, instead of SUFFIX.
REPLACED = ".old"
# Errors of a disk, or of somebody's share of it, that holds no more.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(write: Callable[[BinaryIO], object], path: str | Path, previous: str | Path | None = None) -> None:
    """Let ``write`` fill a temporary file, and put it in place once the disk has it.

    After an error, an interruption or a power cut the file at ``path`` is what it was before. Temporary files of
    processes that were killed are removed.

    Args:
        write: Writes the content into an open file.
        path: The file; missing folders are created.
        previous: Another name in the same folder, under which the file that ``path`` now names is kept. At every
            moment, a whole file is at ``path`` or at ``previous``. Where the file system has hard links, the two names
            never stand for one file, so that damage to one leaves the other.
    Raises:
        OSError: If the folder is not writable, the disk is full, or ``path`` is something else than a file; the message
            names it and says what to do.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no regular file, and is not replaced: choose another name.")
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        with _temporary_file(path) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)  # mkstemp's 0o600 would lock colleagues out
            if previous is not None and path.is_file():
                _replace_and_keep(file.name, path, Path(previous))
            else:
                os.replace(file.name, path)
        _sync_folder(path.parent)


def write_text(text: str, path: str | Path) -> None:
    """Write a text file as UTF-8, whole or not at all; errors as ``write_whole``."""
    write_whole(lambda file: file.write(text.encode()), path)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that the disk is full, by itself or, as those of ``write_whole``, by its cause."""
    return any(isinstance(each, OSError) and each.errno in _FULL for each in (error, error.__cause__))


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Provide a temporary folder, which gets the name ``path`` when the block ends without an error.

    After an error or an interruption the folder at ``path`` is what it was before, and the temporary one is removed;
    those of processes that were killed are removed by the next call. A process that is killed between the two renames
    of a replacement leaves the old folder, whole, beside ``path`` under a hidden name.

    Args:
        path: The folder; missing parents are created. A folder that is there is replaced: the caller has asked for it.
    Raises:
        OSError: If the parent is not writable or the disk is full; the message names the folder and says what to do.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftover_folders(path)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=SUFFIX))
    except OSError as error:
        raise _folder_error(path, error, "Make the folder around it writable") from error
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # without locks, no process removes the temporary folders of others
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
        folder.chmod(0o755)  # mkdtemp's 0o700 would lock colleagues out
        _put_in_place(folder, path)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise _folder_error(path, error, "Free space on this disk") from error
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(folder: Path, path: Path) -> None:
    """Rename a folder; one that has the name already is renamed before, and removed after."""
    if not path.is_dir():
        folder.rename(path)
        return
    replaced = folder.with_suffix(REPLACED)
    path.rename(replaced)
    try:
        folder.rename(path)
    except BaseException:
        replaced.rename(path)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _remove_leftover_folders(path: Path) -> None:
    """Remove the temporary folders for ``path`` whose writers are dead, and folders that it has replaced."""
    name = f".{glob.escape(path.name)}.{'?' * 8}"
    for leftover in path.parent.glob(f"{name}{SUFFIX}"):
        with contextlib.suppress(OSError):
            handle = os.open(leftover, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(leftover)
            finally:
                os.close(handle)
    if path.is_dir():  # else a process was killed in between, and the replaced folder is the only one
        for leftover in path.parent.glob(f"{name}{REPLACED}"):
            shutil.rmtree(leftover, ignore_errors=True)


def _folder_error(path: Path, error: OSError, remedy: str) -> OSError:
    return OSError(
        f"Could not write {path}: {error.strerror or error}. Nothing of it is kept; a folder that was there is. "
        f"{remedy}, or choose another."
    )


@contextlib.contextmanager
def _temporary_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path``; the lock on it tells other processes that its writer lives."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=SUFFIX)
    os.close(handle)
    try:
        with open(name, "r+b") as file:
            with contextlib.suppress(OSError):  # without locks, no process removes the temporary files of others
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file
    finally:
        Path(name).unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files for ``path`` whose writers are dead: nobody holds a lock on them."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{'?' * 8}{SUFFIX}"):
        with contextlib.suppress(OSError), leftover.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


def _replace_and_keep(new: str, path: Path, previous: Path) -> None:
    """Put the file ``new`` in the place of ``path``, whose file becomes ``previous``.

    The old file gets its new name last: were it named ``previous`` first, a process killed then would leave one file
    under both names. Where there are no hard links, the old file is moved first.
    """
    # Named like a temporary file for ``path``, so that it is removed should this process be killed here.
    link = path.with_name(f".{path.name}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        os.link(path, link)
    except OSError:
        os.replace(path, previous)
        os.replace(new, path)
        return
    os.replace(new, path)
    os.replace(link, previous)
    link.unlink(missing_ok=True)  # replacing does nothing if both names already stand for the same file


def _sync_folder(folder: Path) -> None:
    """Have the disk note the new name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot do this
            os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raise errors of the file system with the name of the file and what to do."""
    try:
        yield
    except OSError as error:
        remedy = "Free space on this disk" if is_disk_full(error) else "Make this folder writable"
        raise OSError(
            f"Could not write {path}: {error.strerror or error}. A file that was there is kept. {remedy}, or choose "
            "another. A training continues with --resume."
        ) from error
