"""MARS: person tracklets of six cameras on a campus, all on the ground."""

import logging
from pathlib import Path

from utils.metrics import MARS_OFFICIAL

from ..storage.listing import find_root
from ..tracklet import Case, Tracklet
from .counts import compare_counts, log_counts
from .dataset_options import DEFAULT_OPTIONS, DatasetOptions
from .mars_tables import DISTRACTOR, list_frames, make_table_tracklets, read_track_info

logger = logging.getLogger(__name__)

_TITLE = "MARS"
VIEWS = dict.fromkeys(range(1, 7), "ground")
PUBLISHED = {
    "training identities": 625,
    "training tracklets": 8298,
    "queries": 1980,
    "gallery tracklets without queries": 9330,
}


class MARS:
    """MARS, for matching people between six ground cameras.

    Reference:
        Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-identification", ECCV 2016.
    URL:
        https://github.com/liangzheng06/MARS-evaluation

    Expected tree; junk frames lie in ``bbox_test/00-1``, distractors in ``bbox_test/0000``::

        root/
          bbox_train/{pid}/0001C1T0001F001.jpg
          bbox_test/{pid}/...
          info/{tracks_train_info,tracks_test_info,query_IDX}.mat
          info/{train_name,test_name}.txt    (optional: derived from the sorted folders if absent)

    Statistics, counted from the .mat files (cameras 1 to 6):

    ============================  ==========  =========  =======
    split                         identities  tracklets   frames
    ============================  ==========  =========  =======
    train                                625      8,298  509,914
    query                                626      1,980
    gallery, queries left out            621      9,330
    of these distractors (pid 0)           1      3,248
    junk (pid -1), never used                       870
    test, all                                    12,180  681,089
    ============================  ==========  =========  =======

    Two conventions are in use, and their numbers differ, so the protocol chooses (TEST.PROTOCOL):

    - 'mars-official', the default here: as in the authors' MATLAB code, the queries stay in the gallery (11,310
      tracklets), where each finds those of its person from other cameras; every query has a match, all 1,980 count.
    - any other, such as 'cross-camera': the queries are not in the gallery (9,330 tracklets); 140 queries then have no
      match, and 'cross-camera' does not count them.

    Attributes and arguments: see ``datasets.benchmarks.agvpreid.AGVPReID``. The one case is 'case1'.

    Raises:
        FileNotFoundError: If a folder, a table or a listed frame is missing.
        ValueError: If tables and frames disagree.
    """

    scheme = None

    def __init__(self, root: str | Path, with_train: bool = True, options: DatasetOptions = DEFAULT_OPTIONS) -> None:
        self.root = find_root(root, _TITLE)
        self.train: tuple[Tracklet, ...] = ()
        protocol = options.choose_protocol(MARS_OFFICIAL.name)
        keep_queries = protocol == MARS_OFFICIAL.name

        info = read_track_info(self.root / "info", _TITLE, with_train)
        if info.train is not None and (with_train or (self.root / "bbox_train").is_dir()):
            frames = list_frames(self.root, "train", _TITLE)
            self.train = make_table_tracklets(info.train, range(len(info.train)), frames, "train", VIEWS)
            log_counts("train", self.train)
        frames = list_frames(self.root, "test", _TITLE)
        query = make_table_tracklets(info.test, info.query, frames, "test", VIEWS)
        gallery = make_table_tracklets(info.test, info.gallery(keep_queries), frames, "test", VIEWS)
        log_counts("query", query)
        log_counts("gallery, with the queries" if keep_queries else "gallery, without the queries", gallery)
        logger.info("gallery: %d distractors (pid 0).", sum(tracklet.pid == DISTRACTOR for tracklet in gallery))
        self.cases = {
            "case1": Case(
                "mars", "between cameras", query, gallery, protocol, identities_masked=options.identities_masked
            )
        }

        found = {"queries": len(query), "gallery tracklets without queries": len(info.gallery(keep_queries=False))}
        if self.train:
            found["training identities"] = len({tracklet.pid for tracklet in self.train})
            found["training tracklets"] = len(self.train)
        compare_counts(_TITLE, found, {name: PUBLISHED[name] for name in found})
