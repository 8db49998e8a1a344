"""Data sets laid out as MARS: tables of tracks in ``info/*.mat`` over one long list of frames per split.

The tables and what follows from them (who is query, who is gallery) need no images; the frame lists do.
"""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..storage.listing import IMAGE_SUFFIXES, list_images, list_subfolders, missing_path
from ..storage.packed_paths import PackedPaths
from ..tracklet import Tracklet
from .matlab import read_matrix, read_rows

logger = logging.getLogger(__name__)

JUNK = -1  # pid of tracks to leave out: they are neither right nor wrong
DISTRACTOR = 0  # pid of tracks that are always wrong
_START, _END, _PID, _CAMERA = range(4)  # columns of a table; start and end are 1-based and inclusive


@dataclass(frozen=True, eq=False)
class TrackInfo:
    """The tables of one data set.

    Attributes:
        train: One row a track: first frame, last frame (1-based, inclusive), pid, camera, (N, 4); None if missing
            and not needed.
        test: The same for queries and gallery together.
        query: Rows of ``test`` that are queries, 0-based, in the order of the file.
    """

    train: np.ndarray | None
    test: np.ndarray
    query: np.ndarray

    def gallery(self, keep_queries: bool) -> np.ndarray:
        """Rows of ``test`` that are ranked, 0-based: all but junk and, unless kept, queries."""
        chosen = self.test[:, _PID] != JUNK
        if not keep_queries:
            chosen[self.query] = False
        return np.flatnonzero(chosen)


def read_track_info(folder: Path, dataset: str, with_train: bool = True) -> TrackInfo:
    """Read tracks_train_info.mat, tracks_test_info.mat and query_IDX.mat.

    Args:
        folder: The ``info`` folder.
        dataset: For messages.
        with_train: Whether a missing training table is an error.
    """
    train_file = folder / "tracks_train_info.mat"
    train = None
    if with_train or train_file.is_file():
        train = _read_table(train_file, "track_train_info", dataset)
    test = _read_table(folder / "tracks_test_info.mat", "track_test_info", dataset)
    query = read_rows(folder / "query_IDX.mat", "query_IDX", len(test), dataset)
    if (junk := int((test[query, _PID] <= DISTRACTOR).sum())) > 0:
        raise ValueError(f"{folder / 'query_IDX.mat'}: {junk} queries are junk or distractors (pid {JUNK} or 0).")
    return TrackInfo(train, test, query)


def _read_table(path: Path, key: str, dataset: str) -> np.ndarray:
    table = read_matrix(path, key, dataset)
    if table.ndim != 2 or table.shape[1] != 4 or not len(table):
        raise ValueError(
            f"{path}: {key} must have four columns (first frame, last frame, pid, camera), got {table.shape}."
        )
    bad = np.flatnonzero((table[:, _START] < 1) | (table[:, _END] < table[:, _START]))
    if len(bad):
        raise ValueError(
            f"{path}: row {bad[0] + 1} has no frames: it goes from {table[bad[0], 0]} to {table[bad[0], 1]}."
        )
    return table


def list_frames(root: Path, split: str, dataset: str) -> PackedPaths:
    """Paths of all frames of a split, 'train' or 'test', in the order that its table counts them.

    The order is that of ``info/{split}_name.txt``. Where this file is absent (MARS's own code generates it), the
    frames of the folders, both sorted by name, are the list.
    """
    images = root / f"bbox_{split}"
    if not images.is_dir():
        raise missing_path(images, dataset)
    names_file = root / "info" / f"{split}_name.txt"
    if names_file.is_file():
        names = names_file.read_text(encoding="utf-8").split()
        if odd := next((name for name in names if not name.lower().endswith(IMAGE_SUFFIXES)), None):
            raise ValueError(f"{names_file}: expected one image name a line, found {odd!r}.")
        return PackedPaths.pack(os.path.join(images, name[:4], name) for name in names)
    logger.info("%s is absent: its list is derived from the sorted folders of %s.", names_file, images)
    return PackedPaths.pack(
        os.path.join(folder.path, name) for folder in list_subfolders(images) for name in list_images(folder.path)
    )


def make_table_tracklets(
    table: np.ndarray, rows: Iterable[int], frames: PackedPaths, where: str, views: dict[int, str]
) -> tuple[Tracklet, ...]:
    """Records of some rows of a table.

    Args:
        table: (N, 4).
        rows: 0-based; they also name the tracklets, 1-based as in the .mat files.
        frames: What the table counts.
        where: Table and list, for messages.
        views: 'ground' or 'aerial' by camera.
    Raises:
        ValueError: If table and frames disagree: in number, or on the person or camera of a track.
        FileNotFoundError: If the first frame of a track is not there.
    """
    if table[:, _END].max() != len(frames):
        raise ValueError(
            f"{where}: the table counts {table[:, _END].max()} frames, but the list has {len(frames)}: the copy is "
            "incomplete, or its names are not those of the table."
        )
    if strangers := sorted(set(table[:, _CAMERA].tolist()) - views.keys()):
        raise ValueError(f"{where}: cameras {strangers} are not among {sorted(views)}.")
    tracklets = []
    for row in rows:
        start, end, pid, camera = (int(value) for value in table[row])
        paths = frames[start - 1 : end]
        prefix = _name_prefix(pid, camera)
        if odd := next((path for path in paths if not os.path.basename(path).startswith(prefix)), None):
            raise ValueError(
                f"{where}: track {row + 1} is person {pid}, camera {camera}, but holds {odd}: expected names that "
                f"begin with {prefix}. The list is not in the order of the table."
            )
        if not os.path.isfile(paths[0]):
            raise FileNotFoundError(f"{where}: {paths[0]} is listed, but is not there (DATASETS.ROOT_DIR).")
        tracklets.append(Tracklet(f"track{row + 1:05d}", paths, pid, camera, views[camera], None))
    return tuple(tracklets)


def _name_prefix(pid: int, camera: int) -> str:
    """How a frame's name begins: 0001C1T0001F001.jpg is person 1, camera 1, tracklet 1, frame 1."""
    return f"{pid:04d}C{camera}"
