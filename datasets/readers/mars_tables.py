"""Data sets laid out as MARS: tables of tracks in ``info/*.mat`` over one long list of frames per split.

Reading the tables, and finding out which tracks are queries and which are gallery, needs no images; the lists of frames
do.
"""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.mistake import MissingFile, Mistake
from utils.text import read_lines, shorten

from ..tracklet import Tracklet
from .listing import IMAGE_SUFFIXES, list_images, list_subfolders, missing_path_error
from .manifest import FramePaths
from .matlab import read_matrix, read_rows

logger = logging.getLogger(__name__)

JUNK = -1  # pid of tracks to leave out: they count neither as right nor as wrong
DISTRACTOR = 0  # pid of tracks that are always wrong
_START, _END, PID, CAMERA = range(4)  # columns of a table; start and end are 1-based and inclusive


@dataclass(frozen=True, eq=False)
class MarsTables:
    """The tables of one data set. Each row of a table is a track: first frame, last frame, pid, camera.

    Attributes:
        train: Training tracks, (N, 4), int64; None if they were not read.
        test: Tracks of queries and gallery together, (M, 4), int64.
        query_rows: Rows of ``test`` that are queries, 0-based, in the order of the file.
    """

    train: np.ndarray | None
    test: np.ndarray
    query_rows: np.ndarray

    def gallery_rows(self, keep_queries: bool) -> np.ndarray:
        """Return the rows of ``test`` that are ranked, 0-based: all but junk and, unless kept, queries."""
        chosen = self.test[:, PID] != JUNK
        if not keep_queries:
            chosen[self.query_rows] = False
        return np.flatnonzero(chosen)


def read_tables(folder: Path, dataset: str, with_train: bool = True) -> MarsTables:
    """Read tracks_train_info.mat, tracks_test_info.mat and query_IDX.mat.

    Args:
        folder: The ``info`` folder.
        dataset: Title of the data set, for messages.
        with_train: Whether to read the training table.
    Raises:
        FileNotFoundError: If a table is missing.
        ValueError: If a file is damaged, or a table is not of this form.
    """
    train = _read_table(folder / "tracks_train_info.mat", "track_train_info", dataset) if with_train else None
    test = _read_table(folder / "tracks_test_info.mat", "track_test_info", dataset)
    query_rows = read_rows(folder / "query_IDX.mat", "query_IDX", len(test), dataset)
    if (junk := int((test[query_rows, PID] <= DISTRACTOR).sum())) > 0:
        raise Mistake(f"{folder / 'query_IDX.mat'}: {junk} queries are junk or distractors (pid {JUNK} or 0).")
    return MarsTables(train, test, query_rows)


def _read_table(path: Path, key: str, dataset: str) -> np.ndarray:
    table = read_matrix(path, key, dataset)
    if table.ndim != 2 or table.shape[1] != 4 or not len(table):
        raise Mistake(
            f"{path}: {key} must have four columns (first frame, last frame, pid, camera), got {table.shape}."
        )
    bad = np.flatnonzero((table[:, _START] < 1) | (table[:, _END] < table[:, _START]))
    if len(bad):
        raise Mistake(
            f"{path}: row {bad[0] + 1} has no frames: it goes from {table[bad[0], _START]} to {table[bad[0], _END]}."
        )
    return table


def list_frames(root: Path, split: str, dataset: str) -> FramePaths:
    """List the paths of all frames of a split, 'train' or 'test', in the order in which its table counts them.

    The order is that of ``info/{split}_name.txt``. If this file is absent (MARS's own code generates it), the frames of
    all folders are listed, both sorted by name.
    """
    images = root / f"bbox_{split}"
    if not images.is_dir():
        raise missing_path_error(images, dataset)
    names_file = root / "info" / f"{split}_name.txt"
    if os.path.lexists(names_file):
        return FramePaths.pack(os.path.join(images, name[:4], name) for name in _read_names(names_file))
    logger.info("%s is absent: its list is derived from the sorted folders of %s.", names_file, images)
    return FramePaths.pack(
        os.path.join(folder.path, name) for folder in list_subfolders(images) for name in list_images(folder.path)
    )


def _read_names(path: Path) -> list[str]:
    """Read the names of all frames of a split, one a line."""
    names = []
    for number, line in enumerate(read_lines(path), start=1):
        if not (name := line.strip()):
            continue
        if len(name.split()) > 1 or not name.lower().endswith(IMAGE_SUFFIXES):
            raise Mistake(f"{path}, line {number}: expected one image name a line, found {shorten(name)}.")
        names.append(name)
    return names


def make_table_tracklets(
    table: np.ndarray, rows: Iterable[int], frames: FramePaths, where: str, views: dict[int, str]
) -> tuple[Tracklet, ...]:
    """Make the records of some rows of a table.

    Args:
        table: Tracks, (N, 4).
        rows: 0-based rows; they also name the tracklets, 1-based as in the .mat files.
        frames: Paths of all frames of the split, in the order in which the table counts them.
        where: Name of the split, for messages.
        views: 'ground' or 'aerial' by camera.
    Raises:
        ValueError: If table and frames disagree: in number, or on the person or camera of a track.
        FileNotFoundError: If the first frame of a track does not exist.
    """
    if table[:, _END].max() != len(frames):
        raise Mistake(
            f"{where}: the table counts {table[:, _END].max()} frames, but the list has {len(frames)}: the copy is "
            "incomplete, or its names are not those of the table."
        )
    if unknown := sorted(set(table[:, CAMERA].tolist()) - views.keys()):
        raise Mistake(f"{where}: cameras {unknown} are not among {sorted(views)}.")
    tracklets = []
    for row in rows:
        start, end, pid, camera = (int(value) for value in table[row])
        paths = frames[start - 1 : end]
        prefix = _name_prefix(pid, camera)
        if odd := next((path for path in paths if not os.path.basename(path).startswith(prefix)), None):
            raise Mistake(
                f"{where}: track {row + 1} is person {pid}, camera {camera}, but holds {odd}: expected names that "
                f"begin with {prefix}. The list is not in the order of the table."
            )
        if not os.path.isfile(paths[0]):
            raise MissingFile(f"{where}: {paths[0]} is listed, but is not there (DATASETS.ROOT_DIR).")
        tracklets.append(Tracklet(f"track{row + 1:05d}", paths, pid, camera, views[camera], None))
    return tuple(tracklets)


def _name_prefix(pid: int, camera: int) -> str:
    """Return how a frame's name begins: 0001C1T0001F001.jpg is person 1, camera 1, tracklet 1, frame 1."""
    return f"{pid:04d}C{camera}"
