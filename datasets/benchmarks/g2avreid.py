"""G2A-VReID: people seen once from the ground and once from a drone."""

import logging
from pathlib import Path

import numpy as np

from ..storage.listing import find_root
from ..tracklet import Case, Tracklet
from .counts import compare_counts, log_counts
from .dataset_options import DEFAULT_OPTIONS, DatasetOptions
from .mars_tables import TrackInfo, list_frames, make_table_tracklets, read_track_info

logger = logging.getLogger(__name__)

_TITLE = "G2A-VReID"
PUBLISHED = {"tracklets": 5576}


class G2AVReID:
    """G2A-VReID, for finding people in drone video whom a ground camera saw.

    Reference:
        Zhang et al., "Cross-Platform Video Person ReID: A New Benchmark Dataset and Adaptation Approach", ECCV 2024.
    URL:
        https://github.com/FHR-L/G2A-VReID

    Expected tree, laid out as MARS, frame names included; see ``datasets.benchmarks.mars.MARS``::

        root/
          bbox_train/{pid}/0001C1T0001F001.jpg
          bbox_test/{pid}/...
          info/{tracks_train_info,tracks_test_info,query_IDX}.mat
          info/{train_name,test_name}.txt    (optional: derived from the sorted folders if absent)

    Statistics: 2,788 identities, 5,576 tracklets, 185,907 images, 2 cameras. A second version has 5,605 identities,
    11,282 tracklets and 2.54 million images. The sizes of the splits were not published in what we read, so only the
    number of tracklets of both splits together is compared.

    The tables do not say which camera is the drone's. The queries come from the ground, so the aerial camera is the one
    that no query comes from; DATASETS.AERIAL_CAMERA sets it where that does not decide.

    Attributes and arguments: see ``datasets.benchmarks.agvpreid.AGVPReID``. The one case is 'case2', ground to
    aerial, as in AG-VPReID. Queries are not in the gallery.

    Raises:
        FileNotFoundError: If a folder, a table or a listed frame is missing.
        ValueError: If tables and frames disagree, or do not tell the aerial camera.
    """

    scheme = None

    def __init__(self, root: str | Path, with_train: bool = True, options: DatasetOptions = DEFAULT_OPTIONS) -> None:
        self.root = find_root(root, _TITLE)
        self.train: tuple[Tracklet, ...] = ()

        info = read_track_info(self.root / "info", _TITLE, with_train)
        views = tell_views(info, options.aerial_camera)
        if info.train is not None and (with_train or (self.root / "bbox_train").is_dir()):
            frames = list_frames(self.root, "train", _TITLE)
            self.train = make_table_tracklets(info.train, range(len(info.train)), frames, "train", views)
            log_counts("train", self.train)
        frames = list_frames(self.root, "test", _TITLE)
        query = make_table_tracklets(info.test, info.query, frames, "test", views)
        gallery = make_table_tracklets(info.test, info.gallery(keep_queries=False), frames, "test", views)
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
        if info.train is not None:
            compare_counts(_TITLE, {"tracklets": len(info.train) + len(info.test)}, PUBLISHED)


def tell_views(info: TrackInfo, aerial_camera: int = 0) -> dict[int, str]:
    """'ground' or 'aerial' by camera.

    Args:
        info: The tables.
        aerial_camera: The drone's; 0 for the one camera that no query comes from.
    """
    tables = [table for table in (info.train, info.test) if table is not None]
    cameras = set(np.concatenate(tables)[:, 3].tolist())
    asking = set(info.test[info.query, 3].tolist())
    if len(cameras) != 2:
        raise ValueError(f"{_TITLE} has two cameras, but its tables name {sorted(cameras)}.")
    if aerial_camera:
        if aerial_camera not in cameras:
            raise ValueError(f"DATASETS.AERIAL_CAMERA must be one of {sorted(cameras)}, got {aerial_camera}.")
    elif len(asking) == 1:
        (aerial_camera,) = cameras - asking
        logger.info("Queries come from camera %d: camera %d counts as aerial.", *asking, aerial_camera)
    else:
        raise ValueError(
            f"Queries come from cameras {sorted(asking)}, so they do not tell which one is aerial: set "
            "DATASETS.AERIAL_CAMERA."
        )
    return {camera: "aerial" if camera == aerial_camera else "ground" for camera in cameras}
