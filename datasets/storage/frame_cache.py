"""Resized frames kept on a local disk, so that later epochs and runs need not fetch, decode and resize them again.

``TrackletClips`` looks a frame up here before it decodes it, and adds what it had to decode. The cache is one LMDB
file, which any number of a machine's processes may read and write at once, and which no crash or power cut leaves half
written.
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

logger = logging.getLogger(__name__)

MAX_READERS = 1024  # processes that may use a cache at once, workers of all runs together
# What a process has opened, with its number, by folder: LMDB refuses to open a file twice, and a child that was forked
# must open it itself.
_opened: dict[str, tuple[int, lmdb.Environment]] = {}


def frame_key(path: str, size_hw: tuple[int, int], decoder: str) -> bytes | None:
    """Digest, 16 bytes, of all that makes a frame's pixels; None if the file cannot be examined.

    The content stands in it as the file's modification time and size. Take the key before reading the file: if it
    changes in between, nobody will ask for this key again.

    Args:
        path: Image file.
        size_hw: Height and width of the frame, in pixels.
        decoder: Name and version of what decodes and resizes.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    parts = (os.path.abspath(path), status.st_mtime_ns, status.st_size, *size_hw, decoder)
    return hashlib.blake2b(os.fsencode("\0".join(map(str, parts))), digest_size=16).digest()


class FrameCache:
    """Frames by key, in ``data.mdb`` of a folder, which never grows beyond a bound.

    When the bound is reached, what is there stays and nothing is added. Nothing needs to make room: every epoch draws
    its frames at random, so that any frame is worth as much as any other.

    Trouble never stops training. A frame that is not as it was written counts as absent; when the file cannot be
    opened, read or written, one warning is given and the cache is left alone. The file is mapped into memory, so one
    that is cut off, or whose disk fails, under a running process ends that process (SIGBUS); one that was cut off
    before is recognised.

    Each process opens the file when it first needs it, so objects can be forked and pickled. Those of one folder share
    what their process has opened, with the bound of the object that did.

    Args:
        folder: On a local disk; made if it is missing.
        max_bytes: Bound of the file. One that is larger already stays as it is.
    Raises:
        ValueError: If the bound is not positive, or the folder cannot be made.
    """

    def __init__(self, folder: str, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes (DATALOADER.CACHE_GIB) must be at least 1, got {max_bytes}.")
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ValueError(f"DATALOADER.CACHE_DIR must be a folder, or a place for one: {error}") from error
        self.folder = os.path.realpath(folder)
        self.max_bytes = max_bytes
        # Shared with worker processes, so that one of them speaks for all.
        self._is_full = torch.zeros((), dtype=torch.bool).share_memory_()
        self._is_off = torch.zeros((), dtype=torch.bool).share_memory_()

    def get(self, key: bytes, size_hw: tuple[int, int]) -> torch.Tensor | None:
        """The frame of a key: pixels (C, H, W), uint8; None if it is not there as it was put."""
        if self._is_off:
            return None
        with self._guard(), self._open().begin(buffers=True) as transaction:
            value = transaction.get(key, default=b"")
            num_bytes = 3 * size_hw[0] * size_hw[1]
            pixels = np.frombuffer(value[:num_bytes], np.uint8).copy()
            if value[num_bytes:] == _checksum(key, pixels):  # which also tells a frame of another size
                return torch.from_numpy(pixels).view(3, *size_hw)
        return None

    def put(self, frames: Mapping[bytes, torch.Tensor]) -> None:
        """Add frames, pixels (C, H, W), uint8, by key: all of them, or none when there is no room for all."""
        if self._is_off or self._is_full:
            return
        with self._guard(), self._open().begin(write=True, buffers=True) as transaction:
            for key, frame in frames.items():
                pixels = frame.numpy()
                value = pixels.tobytes() + _checksum(key, pixels)
                if transaction.get(key) != value:  # another process may have put it meanwhile
                    transaction.put(key, value)

    def close(self) -> None:
        """Close the file in this process, until it is needed again."""
        if self.folder in _opened:
            _, environment = _opened.pop(self.folder)
            environment.close()

    def _open(self) -> lmdb.Environment:
        pid, environment = _opened.get(self.folder, (0, None))
        if pid == os.getpid():
            return environment
        self.close()  # what a parent process had opened is of no use here
        environment = lmdb.open(
            self.folder,
            map_size=self.max_bytes,
            max_readers=MAX_READERS,
            # A commit waits until its frames are on the disk, but not until they are counted: a power cut may lose the
            # last ones, and nothing else.
            metasync=False,
            # Pages are written, not mapped for writing: there a full disk would end the process.
            writemap=False,
            # A transaction kept for reuse would be inherited by forked processes.
            max_spare_txns=0,
        )
        environment.reader_check()  # places of processes that were killed
        # Pages are written before they are counted, so with other processes at work count first.
        num_bytes = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        if os.path.getsize(os.path.join(self.folder, "data.mdb")) < num_bytes:
            raise lmdb.CorruptedError("data.mdb is cut off")
        _opened[self.folder] = os.getpid(), environment
        return environment

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn trouble with the file into one log line and a cache that is full, opened anew, or off."""
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
        except lmdb.MapResizedError:  # by another run with a larger bound; opening maps what there is
            self.close()
        except (lmdb.Error, OSError) as error:
            self._is_off.fill_(True)
            logger.warning(
                "The frame cache in %s (DATALOADER.CACHE_DIR) is not used any more, and frames are decoded without it: "
                "%s. Whoever uses it must be allowed to write there. If the disk is full, make room; if the file is "
                "damaged, delete the folder.",
                self.folder,
                error,
            )


def _checksum(key: bytes, pixels: np.ndarray) -> bytes:
    """Four bytes, of pixels and of the key that they belong to. CRC-32 is as fast as Adler-32 here, and finds more."""
    return zlib.crc32(pixels, zlib.crc32(key)).to_bytes(4, "little")
