"""Keeps the frame names of a split that is laid out as ``{identity}/{tracklet}/{frame}`` in one mapped file.

Listing millions of files takes minutes, and their names as strings take gigabytes in every process. An index is a file
(``index_file``) that holds all names, in order, and a few numbers for each tracklet that the data set's reader found in
them.

An index belongs to a folder and to the reader that made it. It is rebuilt when it is damaged, and when the change time,
modification time or size of a folder differs from when the folder was listed. The change time also moves when a copy
restores the modification time (rsync -a, tar). Links are followed, so a link to another folder counts as changed; links
to files that were ignored count too, as their target may become a folder. A frame whose content changes under
the same name does not change its folder and needs no new index: frames are read when they are used.

Index files are replaced atomically, so any number of processes may build the same index at once.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from .folder_stamps import stamp_folders
from .index_file import DamagedIndexError, FrameIndex, IndexWriter
from .listing import NUM_THREADS, ROOT_SETTING, TrackletFolder, list_images, list_split, list_subfolders

logger = logging.getLogger(__name__)

# A folder that changed less than this before it was listed may change again without a new time: file systems count
# time in steps of up to two seconds.
SETTLED_NS = 2_000_000_000
_BATCH = 1024  # tracklets that are listed before their names are written

# Takes a tracklet's folder and the names of its images; returns the names in order, and numbers that describe them.
Reader = Callable[[TrackletFolder, list[str]], tuple[Sequence[str], Sequence[int]]]


def open_index(split: Path, dataset: str, read: Reader, reader: str, index_dir: str | Path = "") -> FrameIndex:
    """Open the index of a split; build it first if there is none, or if it is damaged or out of date.

    Args:
        split: Folder that holds ``{identity}/{tracklet}/`` folders.
        dataset: Title of the data set, for messages.
        read: Puts a tracklet's names in order; its errors end the building.
        reader: Name and version of ``read``. Each has an index of its own.
        index_dir: Folder for indices (DATASETS.INDEX_DIR); '' for ``default_index_dir``.
    Raises:
        FileNotFoundError: If the split is missing.
        OSError: If a folder of it cannot be listed.
        ValueError: As ``list_split``, ``list_images`` and ``read``.
    """
    path = index_path(split, reader, index_dir)
    index = _open_undamaged(path, split, reader)
    if index is not None and index.is_current():
        return index
    if index is not None:
        logger.info("%s has changed since it was indexed.", split)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _build(path, split, dataset, read, reader)
        return FrameIndex(path, split, verify=False)
    except OSError as error:
        place = Path(error.filename or "")
        is_of_the_index = path.parent in (place, place.parent)
        if not split.is_dir():
            raise
        if place.is_relative_to(split) and not is_of_the_index:
            message = f"{error.strerror}: a folder of {dataset} cannot be listed ({ROOT_SETTING})"
            raise OSError(error.errno, message, error.filename) from error
        logger.warning("No index can be kept in %s (DATASETS.INDEX_DIR): %s", path.parent, error)
    folder = tempfile.TemporaryDirectory(prefix="xtfclip-")
    path = Path(folder.name) / path.name
    _build(path, split, dataset, read, reader)
    index = FrameIndex(path, split, verify=False)
    index.keep_alive = folder
    return index


def index_path(split: Path, reader: str, index_dir: str | Path = "") -> Path:
    """Return the path of a split's index file."""
    key = hashlib.sha256(os.fsencode(f"{os.path.abspath(split)}\0{reader}")).hexdigest()[:16]
    return Path(index_dir or default_index_dir()) / f"{split.name}-{key}.index"


def default_index_dir() -> Path:
    """Return the folder ``xtfclip`` in the user's cache folder: $XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xtfclip"


def _open_undamaged(path: Path, split: Path, reader: str) -> FrameIndex | None:
    """Open an index, perhaps one that is out of date; return None if it is missing, damaged or of another reader."""
    try:
        index = FrameIndex(path, split)
    except FileNotFoundError:
        return None
    except (OSError, DamagedIndexError) as error:
        logger.warning("%s; it is rebuilt.", error)
        return None
    return index if index.reader == reader else None


def _build(path: Path, split: Path, dataset: str, read: Reader, reader: str) -> None:
    """List a split and write its index; the file appears when it is complete, or not at all."""
    start = time.time_ns()
    settled_before = start - SETTLED_NS
    # Each folder is stamped before it is listed, so that a change during the listing differs from the stamp.
    parents = [*(entry.name for entry in list_subfolders(split)), "."] if split.is_dir() else []
    parent_stamps = stamp_folders([os.path.join(split, parent) for parent in parents], settled_before)
    listing = list_split(split, dataset)
    tracklets = listing.tracklets
    logger.info("%s: listing the frames of %d tracklets; the list is kept in %s.", split, len(tracklets), path)
    links = [entry.path for entry in listing.ignored_files if entry.is_symlink()]
    stamps = stamp_folders([*(tracklet.path for tracklet in tracklets), *links], settled_before)
    # Not by tempfile, whose files only their owner may read: an index may serve several people.
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file, ThreadPoolExecutor(NUM_THREADS) as pool:
            writer = IndexWriter(file, split, reader)
            for first in range(0, len(tracklets), _BATCH):  # in batches, to bound the names that wait for the writer
                batch = tracklets[first : first + _BATCH]
                for tracklet, names in zip(batch, pool.map(list_images, [each.path for each in batch]), strict=True):
                    writer.add(os.path.relpath(tracklet.path, split), *read(tracklet, names))
            others = [*(os.path.relpath(link, split) for link in links), *parents]
            writer.finish(others, np.concatenate([stamps, parent_stamps]))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    logger.info("%s: %d tracklets indexed in %.1f s.", split, len(tracklets), (time.time_ns() - start) / 1e9)
