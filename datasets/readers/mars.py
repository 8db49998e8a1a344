"""MARS, and G2A-VReID, which is laid out as MARS: tables of tracks over one long list of frames per split.

MARS: people seen by six cameras on a campus, all on the ground. Zheng et al., "MARS: A Video Benchmark for Large-Scale
Person Re-identification", ECCV 2016; https://github.com/liangzheng06/MARS-evaluation.

G2A-VReID: people seen once from the ground and once from a drone. Zhang et al., "Cross-Platform Video Person ReID: A
New Benchmark Dataset and Adaptation Approach", ECCV 2024; https://github.com/FHR-L/G2A-VReID.

Expected tree of both; junk frames lie in ``bbox_test/00-1``, distractors in ``bbox_test/0000``::

    root/
      bbox_train/{pid}/0001C1T0001F001.jpg
      bbox_test/{pid}/...
      info/{tracks_train_info,tracks_test_info,query_IDX}.mat
      info/{train_name,test_name}.txt    (optional: derived from the sorted folders if absent)
"""

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.metrics import CROSS_CAMERA, MARS_OFFICIAL
from utils.mistake import MissingFile, Mistake
from utils.text import read_lines, shorten

from ..problems import Problems
from ..tracklet import Case, DataSet, DatasetOptions, Tracklet
from .case_folders import report_odd_views
from .listing import find_root, list_images, list_subfolders
from .manifest import FramePaths
from .matlab import read_matrix, read_rows
from .names import is_image_name

logger = logging.getLogger(__name__)

MARS, G2AVREID = "MARS", "G2A-VReID"  # titles
MARS_COUNTS = {
    "train identities": 625,
    "train tracklets": 8298,
    "mars/query tracklets": 1980,
    "gallery tracklets without queries": 9330,
}
G2AVREID_COUNTS = {"tracklets": 5576}
MARS_VIEWS = dict.fromkeys(range(1, 7), "ground")

JUNK = -1  # pid of tracks to leave out: they count neither as right nor as wrong
DISTRACTOR = 0  # pid of tracks that are always wrong
_START, _END, PID, CAMERA = range(4)  # columns of a table; start and end are 1-based and inclusive


class MarsTables(NamedTuple):
    """The tables of one data set. Each row of a table is a track: first frame, last frame, pid, camera."""

    train: np.ndarray  # training tracks, (N, 4), int64; empty if they were not read
    test: np.ndarray  # tracks of queries and gallery together, (M, 4), int64
    query_rows: np.ndarray  # rows of ``test`` that are queries, 0-based, in the order of the file

    def gallery_rows(self, keep_queries: bool) -> np.ndarray:
        """Return the rows of ``test`` that are ranked, 0-based: all but junk and, unless kept, queries."""
        chosen = self.test[:, PID] != JUNK
        if not keep_queries:
            chosen[self.query_rows] = False
        return np.flatnonzero(chosen)


def read_mars(root: Path, options: DatasetOptions, problems: Problems) -> DataSet:
    """Read MARS: 'case1', between cameras.

    Two conventions are in use, and their numbers differ, so the protocol chooses: with 'mars-official', the default,
    the queries stay in the gallery, as in the authors' MATLAB code, and each has a match; with any other they do not.
    """
    keep_queries = options.protocol in ("", MARS_OFFICIAL.name)
    tables = read_tables(root / "info", MARS, options.with_train)
    train, query, gallery = _read_splits(root, MARS, tables, MARS_VIEWS, keep_queries, problems)
    cases = {"case1": Case("mars", "between cameras", query, gallery, MARS_OFFICIAL.name)}
    counts = {"gallery tracklets without queries": len(tables.gallery_rows(keep_queries=False))}
    return DataSet(MARS, train, cases, published=MARS_COUNTS, counts=counts)


def read_g2avreid(root: Path, options: DatasetOptions, problems: Problems) -> DataSet:
    """Read G2A-VReID: 'case2', ground to aerial, as in AG-VPReID. Queries are not in the gallery.

    The tables do not say which camera is the drone's. The queries come from the ground, so the aerial camera is the one
    that no query comes from; if queries come from both cameras, DATASETS.AERIAL_CAMERA must name it.
    """
    tables = read_tables(root / "info", G2AVREID, options.with_train)
    views = _infer_views(tables, options.aerial_camera)
    train, query, gallery = _read_splits(root, G2AVREID, tables, views, False, problems)
    case = Case("ground_to_aerial", "ground to aerial", query, gallery, CROSS_CAMERA.name)
    report_odd_views(f"{case.name}/query", query, "ground", problems)
    report_odd_views(f"{case.name}/gallery", gallery, "aerial", problems)
    counts = {"tracklets": len(tables.train) + len(tables.test)} if options.with_train else {}
    return DataSet(G2AVREID, train, {"case2": case}, published=G2AVREID_COUNTS, counts=counts)


def _infer_views(tables: MarsTables, aerial_camera: int) -> dict[int, str]:
    """Return 'ground' or 'aerial' by camera of G2A-VReID; ``aerial_camera`` 0 is the one that no query comes from."""
    cameras = set(np.concatenate([tables.train, tables.test])[:, CAMERA].tolist())
    query_cameras = set(tables.test[tables.query_rows, CAMERA].tolist())
    if len(cameras) != 2:
        raise Mistake(f"{G2AVREID} has two cameras, but its tables name {sorted(cameras)}.")
    if not aerial_camera:
        if len(query_cameras) != 1:
            text = f"Queries come from cameras {sorted(query_cameras)}, which does not show the aerial one"
            raise Mistake(f"{text}: set DATASETS.AERIAL_CAMERA.")
        (aerial_camera,) = cameras - query_cameras
        logger.info("Queries come from camera %d, so camera %d counts as aerial.", *query_cameras, aerial_camera)
    elif aerial_camera not in cameras:
        raise Mistake(f"DATASETS.AERIAL_CAMERA must be one of {sorted(cameras)}, got {aerial_camera}.")
    return {camera: "aerial" if camera == aerial_camera else "ground" for camera in cameras}


def read_tables(folder: Path, title: str, with_train: bool = True) -> MarsTables:
    """Read tracks_train_info.mat (unless ``with_train`` is False), tracks_test_info.mat and query_IDX.mat."""
    train = np.empty((0, 4), np.int64)
    if with_train:
        train = _read_table(folder / "tracks_train_info.mat", "track_train_info", title)
    test = _read_table(folder / "tracks_test_info.mat", "track_test_info", title)
    query_rows = read_rows(folder / "query_IDX.mat", "query_IDX", len(test), title)
    if (junk := int((test[query_rows, PID] <= DISTRACTOR).sum())) > 0:
        raise Mistake(f"{folder / 'query_IDX.mat'}: {junk} queries are junk or distractors (pid {JUNK} or 0).")
    return MarsTables(train, test, query_rows)


def _read_table(path: Path, key: str, title: str) -> np.ndarray:
    table = read_matrix(path, key, title)
    if table.ndim != 2 or table.shape[1] != 4 or not len(table):
        raise Mistake(f"{path}: {key} must have four columns (start, end, pid, camera), got {table.shape}.")
    bad = np.flatnonzero((table[:, _START] < 1) | (table[:, _END] < table[:, _START]))
    if len(bad):
        start, end = table[bad[0], : _END + 1]
        raise Mistake(f"{path}: row {bad[0] + 1} has no frames: it goes from {start} to {end}.")
    return table


def _read_splits(
    root: Path, title: str, tables: MarsTables, views: Mapping[int, str], keep_queries: bool, problems: Problems
) -> list[tuple[Tracklet, ...]]:
    """Make the records of training, query and gallery."""

    def read(split: str, table: np.ndarray, *parts: Iterable[int]) -> list[tuple[Tracklet, ...]]:
        with problems.guard():
            frames = _list_frames(root, split, title)
            return [_make_tracklets(table, rows, frames, split, views, problems) for rows in parts]
        return [()] * len(parts)

    train = read("train", tables.train, range(len(tables.train))) if len(tables.train) else [()]
    return train + read("test", tables.test, tables.query_rows, tables.gallery_rows(keep_queries))


def _list_frames(root: Path, split: str, title: str) -> FramePaths:
    """List the paths of all frames of a split, 'train' or 'test', in the order in which its table counts them."""
    images = find_root(root / f"bbox_{split}", title)
    path = root / "info" / f"{split}_name.txt"
    if not os.path.lexists(path):
        logger.info("%s is absent: its list is derived from the sorted folders of %s.", path, images)
        folders = [folder.path for folder in list_subfolders(images)]
        return FramePaths.pack(os.path.join(folder, name) for folder in folders for name in list_images(folder))
    names = []
    for number, line in enumerate(read_lines(path), start=1):
        if len(line.split()) > 1 or (line.strip() and not is_image_name(line.strip())):
            raise Mistake(f"{path}, line {number}: expected one image name a line, found {shorten(line.strip())}.")
        names += line.split()
    return FramePaths.pack(os.path.join(images, name[:4], name) for name in names)


def _make_tracklets(
    table: np.ndarray, rows: Iterable[int], frames: FramePaths, split: str, views: Mapping[int, str], problems: Problems
) -> tuple[Tracklet, ...]:
    """Make the records of some rows of a table; their numbers, from 1 as in the .mat files, name the tracklets."""
    if table[:, _END].max() != len(frames):
        counts = f"the table counts {table[:, _END].max()} frames, but the list has {len(frames)}"
        raise Mistake(f"{split}: {counts}: the copy is incomplete, or its names are not those of the table.")
    if unknown := sorted(set(table[:, CAMERA].tolist()) - views.keys()):
        raise Mistake(f"{split}: cameras {unknown} are not among {sorted(views)}.")
    tracklets = []
    for row in rows:
        start, end, pid, camera = (int(value) for value in table[row])
        paths = frames[start - 1 : end]
        prefix = f"{pid:04d}C{camera}"  # 0001C1T0001F001.jpg is person 1, camera 1, tracklet 1, frame 1
        with problems.guard("loader"):
            if odd := next((path for path in paths if not os.path.basename(path).startswith(prefix)), None):
                raise Mistake(
                    f"{split}: track {row + 1} is person {pid}, camera {camera}, but holds {odd}: expected names that "
                    f"begin with {prefix}. The list is not in the order of the table."
                )
            if not os.path.isfile(paths[0]):
                raise MissingFile(f"{split}: {paths[0]} is listed, but is not there (DATASETS.ROOT_DIR).")
        tracklets.append(Tracklet(f"track{row + 1:05d}", paths, pid, camera, views[camera], None))
    return tuple(tracklets)
