"""Write files and folders whole or not at all, replace earlier ones, and lock the folder that they are in."""

import contextlib
import errno
import glob
import itertools
import logging
import os
import platform
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from .mistake import Mistake

logger = logging.getLogger(__name__)

SUFFIX = ".part"  # of what is being written: ".", its name, ".", eight random characters, then this
LOCK_FILE, HOLDER_FILE = ".lock", ".lock.holder"
WRITTEN_LIST = ".written.txt"  # what ``replace_files`` or ``whole_folder`` wrote into a folder, a name a line
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, or of somebody's share of it


def write_whole(write: Callable[[BinaryIO], object], path: str | Path, previous: str | Path | None = None) -> None:
    """Let ``write`` fill a temporary file, and put it in place once the disk has it; missing folders are made.

    After an error, an interruption or a power cut the file at ``path`` is what it was before. ``previous`` is another
    name in the same folder, under which that file is kept: at every moment, a whole file is at one of both.
    """
    path = Path(path)
    require_regular(path)
    with _explained(path):
        make_folder(path.parent)
        temporary = _temporary(path)
        try:
            with temporary.open("x+b") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if previous is not None and path.is_file():
                os.replace(path, previous)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # have the disk note the new name, where the system can do this with a folder
        handle = os.open(path.parent, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def require_regular(path: Path) -> None:
    """Refuse to write where something else than a file is: opening a pipe would wait for ever."""
    if path.exists() and not path.is_file():
        raise Mistake(f"{path} is no regular file, and is not replaced: choose another name.")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; the error names what stands in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        place = next(path for path in (folder, *folder.parents) if os.path.lexists(path) and not path.is_dir())
        kind = "a file, not a folder" if place.exists() else f"a link to {os.readlink(place)}, which is not there"
        raise Mistake(f"{place} is {kind}: choose another folder.") from None


def write_text(text: str, path: str | Path) -> None:
    """Write a text file as UTF-8 by ``write_whole``."""
    write_whole(lambda file: file.write(text.encode()), path)


@contextlib.contextmanager
def whole_folder(path: Path, force: bool = False) -> Iterator[Path]:
    """Provide a temporary folder, which gets the name ``path`` when the block ends without an error.

    ``force`` replaces a folder that holds nothing but what this function put there. After an error or an interruption
    the folder at ``path`` is what it was before; if the process is killed, it may have a hidden name beside ``path``.
    Only one process at a time makes a folder.
    """
    if path.is_symlink():
        make_folder(path)  # refuses a link that leads nowhere
    path = Path(os.path.realpath(path))
    _require_replaceable(path, force)
    with _explained(path):
        make_folder(path.parent)
    with lock_folder(path.parent, path.name), _explained(path):
        temporary = _temporary(path)
        temporary.mkdir()
        try:
            yield temporary
            _write_list(temporary, sorted(_files_in(temporary)))
            _require_replaceable(path, force)  # again: the block may have taken hours
            replaced = temporary.with_suffix(".old")
            if path.is_dir():
                path.rename(replaced)
            temporary.rename(path)
            shutil.rmtree(replaced, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _require_replaceable(path: Path, force: bool) -> None:
    """Refuse a file, and a folder that is not empty, unless ``force`` may replace what ``whole_folder`` wrote."""
    if path.exists() and not path.is_dir():
        raise Mistake(f"{path} is a file, not a folder.")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not force:
        raise Mistake(f"{path} is not empty: choose another folder, or replace it with --force.")
    if strange := _files_in(path).difference([WRITTEN_LIST], _read_list(path / WRITTEN_LIST)):
        raise Mistake(f"{path / min(strange)} was not written here: delete {path} yourself, or choose another folder.")


def _files_in(folder: Path) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in paths}


def replace_files(folder: Path, write: Callable[[Path], Sequence[Path]]) -> list[Path]:
    """Write files into a folder in place of those that the call before wrote there; other files stay.

    The caller holds the folder's lock. ``write`` fills a temporary folder, and returns the files.
    """
    temporary = _temporary(folder / "results")
    temporary.mkdir()
    try:
        names = [path.relative_to(temporary).as_posix() for path in write(temporary)]
        earlier = _read_list(folder / WRITTEN_LIST)
        with _explained(folder):
            _write_list(folder, dict.fromkeys([*earlier, *names]))  # if this is stopped, the next call removes them
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (temporary / name).replace(folder / name)
            for path in {folder / name for name in earlier}.difference(folder / name for name in names):
                if os.path.isfile(path) or os.path.islink(path):
                    path.unlink()
            _write_list(folder, names)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [folder / name for name in names]


def _read_list(path: Path) -> list[str]:
    """Read a list of names of files below its folder; others, as in a damaged list, are left out."""
    names = os.fsdecode(path.read_bytes()).split("\n") if path.is_file() else []
    return [name for name in names if name and "\0" not in name and not {"/", ".."}.intersection(Path(name).parts)]


def _write_list(folder: Path, names: Iterable[str]) -> None:
    write_whole(lambda file: file.write(os.fsencode("".join(f"{name}\n" for name in names))), folder / WRITTEN_LIST)


def set_aside(path: Path, ending: str = "old") -> Path:
    """Rename a file to the first free name among NAME.old, NAME.old2, NAME.old3, ...; returns the new path."""
    names = (f"{path.name}.{ending}{number if number > 1 else ''}" for number in itertools.count(1))
    return path.rename(next(aside for aside in map(path.with_name, names) if not aside.exists()))


@contextlib.contextmanager
def lock_folder(folder: Path, name: str = "") -> Iterator[None]:
    """Hold the lock of an output folder within a block, in process 0; the system releases it if the process dies.

    With ``name``, only what has this name in the folder is locked. Temporary files of it that killed processes left in
    the folder are removed.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    prefix = f".{name}" if name else ""
    lock, holder = FileLock(folder / f"{prefix}{LOCK_FILE}", timeout=0), folder / f"{prefix}{HOLDER_FILE}"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock)
        except Timeout as error:
            who = holder.read_text("utf-8") if holder.is_file() else "another process"
            text = f"{folder / name} is in use by {who}: wait until it ends, or write to another place."
            raise Mistake(text) from error
        except (OSError, NotImplementedError) as error:  # some network file systems have no locks
            logger.warning("%s cannot be locked (%s): make sure that no other command writes there.", folder, error)
        else:
            for leftover in folder.glob(f"{glob.escape(prefix) or '.*'}.{'?' * 8}{SUFFIX}"):
                shutil.rmtree(leftover, ignore_errors=True)  # of a file it does nothing
                with contextlib.suppress(OSError):
                    leftover.unlink()
            with _explained(holder):
                holder.write_text(f"process {os.getpid()} on {platform.node()}", "utf-8")
            if name:  # beside what it locks, where a user sees it
                stack.callback((folder / f"{prefix}{LOCK_FILE}").unlink, missing_ok=True)
            stack.callback(holder.unlink, missing_ok=True)
        yield


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that the disk is full, by itself or, as those of ``write_whole``, by its cause."""
    return any(isinstance(each, OSError) and each.errno in DISK_FULL for each in (error, error.__cause__))


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{SUFFIX}")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of the file system into a mistake that names the file and says what to do."""
    try:
        yield
    except Mistake:
        raise
    except OSError as error:
        remedy = "Free space on this disk, or choose" if is_disk_full(error) else "Choose"
        remedy += " another place. A training continues with --resume."
        raise Mistake(f"Could not write {path}: {error.strerror or error}. What was there is kept. {remedy}") from error
