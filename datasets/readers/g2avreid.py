"""G2A-VReID: people seen once from the ground and once from a drone."""

import logging
from pathlib import Path

import numpy as np

from utils.mistake import Mistake

from ..attributes import AttributeScheme
from ..tracklet import Case, Tracklet
from .case_folders import FolderLayout
from .counts import PublishedCounts, compare_counts, log_counts
from .dataset_options import DEFAULT_OPTIONS, DatasetOptions
from .listing import find_root
from .mars_tables import CAMERA, MarsTables, list_frames, make_table_tracklets, read_tables

logger = logging.getLogger(__name__)

_TITLE = "G2A-VReID"
PUBLISHED = PublishedCounts({"tracklets": 5576})


class G2AVReID:
    """G2A-VReID, for finding people whom a ground camera saw in the video of a drone.

    Reference:
        Zhang et al., "Cross-Platform Video Person ReID: A New Benchmark Dataset and Adaptation Approach", ECCV 2024.
    URL:
        https://github.com/FHR-L/G2A-VReID

    Expected tree, laid out as MARS, frame names included; see ``datasets.readers.mars.MARS``::

        root/
          bbox_train/{pid}/0001C1T0001F001.jpg
          bbox_test/{pid}/...
          info/{tracks_train_info,tracks_test_info,query_IDX}.mat
          info/{train_name,test_name}.txt    (optional: derived from the sorted folders if absent)

    A second version of the data set is larger. Statistics of both are in docs/datasets.md. The sizes of the splits were
    not published in our sources, so only the number of tracklets of both splits together is compared.

    The tables do not say which camera is the drone's. The queries come from the ground, so the aerial camera is the one
    that no query comes from; if queries come from both cameras, DATASETS.AERIAL_CAMERA must name it.

    Attributes and arguments: see ``datasets.Benchmark``. The one case is 'case2', ground to aerial, as in
    AG-VPReID. Queries are not in the gallery. Of the options, ``protocol`` and ``aerial_camera`` apply.

    Raises:
        FileNotFoundError: If a folder, a table or a listed frame is missing.
        ValueError: If tables and frames disagree, if a table or list is damaged, or if the queries come from both
            cameras and the options do not name the aerial one.
    """

    scheme: AttributeScheme | None = None
    layout: FolderLayout | None = None
    published = PUBLISHED

    def __init__(self, root: str | Path, with_train: bool = True, options: DatasetOptions = DEFAULT_OPTIONS) -> None:
        self.root = find_root(root, _TITLE)
        self.train: tuple[Tracklet, ...] = ()

        tables = read_tables(self.root / "info", _TITLE, with_train)
        views = infer_views(tables, options.aerial_camera)
        if tables.train is not None:
            frames = list_frames(self.root, "train", _TITLE)
            self.train = make_table_tracklets(tables.train, range(len(tables.train)), frames, "train", views)
            log_counts("train", self.train)
        frames = list_frames(self.root, "test", _TITLE)
        query = make_table_tracklets(tables.test, tables.query_rows, frames, "test", views)
        gallery = make_table_tracklets(tables.test, tables.gallery_rows(keep_queries=False), frames, "test", views)
        for side, tracklets, view in (("query", query, "ground"), ("gallery", gallery, "aerial")):
            log_counts(side, tracklets)
            if odd := sum(tracklet.view != view for tracklet in tracklets):
                logger.warning("%s: %d of %d tracklets are not from the %s camera.", side, odd, len(tracklets), view)
        case = Case(
            "ground_to_aerial",
            "ground to aerial",
            query,
            gallery,
            options.choose_protocol(),
            identities_masked=options.identities_masked,
        )
        self.cases = {"case2": case}
        if tables.train is not None:
            compare_counts(_TITLE, {"tracklets": len(tables.train) + len(tables.test)}, PUBLISHED)


def infer_views(tables: MarsTables, aerial_camera: int = 0) -> dict[int, str]:
    """Find out which camera is the drone's.

    Args:
        tables: The tables of the data set.
        aerial_camera: Number of the drone's camera; 0 for the one camera that no query comes from.
    Returns:
        'ground' or 'aerial' by camera.
    """
    read = [table for table in (tables.train, tables.test) if table is not None]
    cameras = set(np.concatenate(read)[:, CAMERA].tolist())
    query_cameras = set(tables.test[tables.query_rows, CAMERA].tolist())
    if len(cameras) != 2:
        raise Mistake(f"{_TITLE} has two cameras, but its tables name {sorted(cameras)}.")
    if aerial_camera:
        if aerial_camera not in cameras:
            raise Mistake(f"DATASETS.AERIAL_CAMERA must be one of {sorted(cameras)}, got {aerial_camera}.")
    elif len(query_cameras) == 1:
        (aerial_camera,) = cameras - query_cameras
        logger.info("Queries come from camera %d, so camera %d counts as aerial.", *query_cameras, aerial_camera)
    else:
        raise Mistake(
            f"Queries come from cameras {sorted(query_cameras)}, so they do not show which one is aerial: set "
            "DATASETS.AERIAL_CAMERA."
        )
    return {camera: "aerial" if camera == aerial_camera else "ground" for camera in cameras}
