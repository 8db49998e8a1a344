"""Keeps resized frames on a local disk, so that later epochs and runs need not fetch, decode and resize them again.

``TrackletClips`` looks a frame up here before it decodes it, and adds the frames that it decoded. The cache is one LMDB
file. Any number of processes of one machine may read and write it at once, and a crash or power cut leaves it whole.
"""

import contextlib
import hashlib
import logging
import os
import zlib
from collections.abc import Iterator, Mapping

import lmdb
import numpy as np
import torch

from utils.mistake import Mistake

logger = logging.getLogger(__name__)

MAX_READERS = 1024  # processes that may use a cache at once: the workers of all runs together
LOCK_FILE, DATA_FILE = "lock.mdb", "data.mdb"
# Size that LMDB gives its lock file, in bytes: 192 with one reader, and a cache line for each further one.
_LOCK_BYTES = 192 + 64 * (MAX_READERS - 1)
# Environments that are open, with the id of the process that opened them, by folder: LMDB refuses to open a file twice
# in one process, and a forked child must open it itself.
_opened: dict[str, tuple[int, lmdb.Environment]] = {}


def frame_key(path: str, size_hw: tuple[int, int], decoder: str) -> bytes | None:
    """Return a digest (16 bytes) of everything that determines a frame's pixels.

    The file's modification time and size stand for its content. Take the key before the file is read: if the file
    changes in between, the frame is stored under a key that is not asked for again.

    Args:
        path: Image file.
        size_hw: Height and width of the frame, in pixels.
        decoder: Name and version of the code that decodes and resizes.
    Returns:
        The key; None if the file cannot be examined.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    parts = (os.path.abspath(path), status.st_mtime_ns, status.st_size, *size_hw, decoder)
    return hashlib.blake2b(os.fsencode("\0".join(map(str, parts))), digest_size=16).digest()


class FrameCache:
    """Frames by key, in the file ``data.mdb`` of a folder, which never grows beyond a bound.

    When the bound is reached, the cache keeps its frames and adds none. No frame is dropped to make room: every epoch
    draws its frames at random, so all frames are equally useful.

    Problems with the cache never stop training. A frame that fails its checksum counts as absent. When the file cannot
    be opened, read or written, for example because the disk is full, one warning is logged and the cache is not used
    any more. The files are mapped into memory: if a disk fails or ``data.mdb`` is cut off while a process uses it, that
    process ends (SIGBUS); a file that was cut off before it is opened is recognised.

    Each process opens the file when it first needs it, so objects can be forked and pickled. In one process, all
    objects of a folder share the open file, with the bound of the object that opened it.

    Args:
        folder: Folder on a local disk; it is created if it is missing.
        max_bytes: Bound of the file. A file that is larger already stays as it is.
    Raises:
        ValueError: If the bound is not positive, or the folder cannot be created.
    """

    def __init__(self, folder: str, max_bytes: int) -> None:
        if max_bytes < 1:
            raise Mistake(f"max_bytes (DATALOADER.CACHE_GIB) must be at least 1, got {max_bytes}.")
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise Mistake(f"DATALOADER.CACHE_DIR must be a folder, or a place for one: {error}") from error
        self.folder = os.path.realpath(folder)
        self.max_bytes = max_bytes
        # Shared with worker processes, so that only one of them logs the warning.
        self._is_full = torch.zeros((), dtype=torch.bool).share_memory_()
        self._is_off = torch.zeros((), dtype=torch.bool).share_memory_()

    def get(self, key: bytes, size_hw: tuple[int, int]) -> torch.Tensor | None:
        """Return the frame of a key, pixels (C, H, W), uint8; None if it is absent, damaged or of another size."""
        if self._is_off:
            return None
        with self._guard(), self._open().begin(buffers=True) as transaction:
            value = transaction.get(key, default=b"")
            num_bytes = 3 * size_hw[0] * size_hw[1]
            pixels = np.frombuffer(value[:num_bytes], np.uint8).copy()
            if value[num_bytes:] == _checksum(key, pixels):  # differs for a frame of another size, too
                return torch.from_numpy(pixels).view(3, *size_hw)
        return None

    def put(self, frames: Mapping[bytes, torch.Tensor]) -> None:
        """Add frames, pixels (C, H, W), uint8, by key; add none if there is no room for all."""
        if self._is_off or self._is_full:
            return
        with self._guard(), self._open().begin(write=True, buffers=True) as transaction:
            for key, frame in frames.items():
                pixels = frame.numpy()
                value = pixels.tobytes() + _checksum(key, pixels)
                if transaction.get(key) != value:  # another process may have added it in the meantime
                    transaction.put(key, value)

    def close(self) -> None:
        """Close the file in this process, until it is needed again."""
        if self.folder in _opened:
            _, environment = _opened.pop(self.folder)
            environment.close()

    def _open(self) -> lmdb.Environment:
        pid, opened = _opened.get(self.folder, (0, None))
        if opened is not None and pid == os.getpid():
            return opened
        self.close()  # an environment that a parent process opened cannot be used here
        _allocate_lock_file(os.path.join(self.folder, LOCK_FILE))
        environment = lmdb.open(
            self.folder,
            map_size=self.max_bytes,
            max_readers=MAX_READERS,
            # A commit waits until its frames are on the disk, but not until they are counted: a power cut may lose the
            # last frames, and nothing else.
            metasync=False,
            # Pages are written by calls, which fail on a full disk. Writing to mapped pages would end the process.
            writemap=False,
            # A transaction kept for reuse would be inherited by forked processes.
            max_spare_txns=0,
        )
        environment.reader_check()  # frees the reader slots of processes that were killed
        # Other processes write pages before they count them, so read the count first, then the size of the file.
        num_bytes = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        if os.path.getsize(os.path.join(self.folder, DATA_FILE)) < num_bytes:
            raise lmdb.CorruptedError("data.mdb is cut off")
        _opened[self.folder] = os.getpid(), environment
        return environment

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn errors of the file into one log line and a cache that is full, reopened, or off."""
        try:
            yield
        except lmdb.MapFullError:
            self._is_full.fill_(True)
            logger.warning(
                "The frame cache in %s is full: it keeps what it has and adds nothing. A larger DATALOADER.CACHE_GIB "
                "(now %.3g) makes room for more.",
                self.folder,
                self.max_bytes / 2**30,
            )
        except lmdb.MapResizedError:  # another run has a larger bound; reopening maps the whole file
            self.close()
        except (lmdb.Error, OSError) as error:
            self._is_off.fill_(True)
            logger.warning(
                "The frame cache in %s (DATALOADER.CACHE_DIR) is not used any more, and frames are decoded without it: "
                "%s. Everyone who uses the cache needs write access to the folder. If the disk is full, free some "
                "space; if the file is damaged, delete the folder.",
                self.folder,
                error,
            )


def _allocate_lock_file(path: str) -> None:
    """Reserve disk space for LMDB's lock file; raise OSError if the disk is full.

    LMDB makes the file by extending it, which takes no space, and then writes to it in mapped memory. On a full disk
    that ends the process (SIGBUS). Reserving space changes no content, so other processes may use the file meanwhile.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        status = os.fstat(descriptor)
        size = max(status.st_size, _LOCK_BYTES)
        if status.st_blocks * 512 < size:
            os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _checksum(key: bytes, pixels: np.ndarray) -> bytes:
    """Return the CRC-32, four bytes, of a key and its pixels. It is as fast as Adler-32 here, and finds more errors."""
    return zlib.crc32(pixels.data, zlib.crc32(key)).to_bytes(4, "little")
