"""MARS: person tracklets of six cameras on a campus, all on the ground."""

import logging
from pathlib import Path

from utils.metrics import MARS_OFFICIAL

from ..attributes import AttributeScheme
from ..tracklet import Case, Tracklet
from .case_folders import FolderLayout
from .counts import PublishedCounts, compare_counts, log_counts
from .dataset_options import DEFAULT_OPTIONS, DatasetOptions
from .listing import find_root
from .mars_tables import DISTRACTOR, list_frames, make_table_tracklets, read_tables

logger = logging.getLogger(__name__)

_TITLE = "MARS"
VIEWS = dict.fromkeys(range(1, 7), "ground")
PUBLISHED = PublishedCounts(
    {
        "training identities": 625,
        "training tracklets": 8298,
        "queries": 1980,
        "gallery tracklets without queries": 9330,
    }
)


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

    Two conventions are in use, and their numbers differ, so the protocol chooses (TEST.PROTOCOL):

    - 'mars-official', the default here: as in the authors' MATLAB code, the queries stay in the gallery, where each
      finds the tracklets of its person from other cameras. Every query has a match, so all of them count.
    - any other, such as 'cross-camera': the queries are not in the gallery. Some queries then have no match, and
      'cross-camera' does not count them.

    Statistics, also of both conventions, are in docs/datasets.md.

    Attributes and arguments: see ``datasets.Benchmark``. The one case is 'case1'. Of the options, ``protocol``
    applies.

    Raises:
        FileNotFoundError: If a folder, a table or a listed frame is missing.
        ValueError: If tables and frames disagree, or a table or list is damaged.
    """

    scheme: AttributeScheme | None = None
    layout: FolderLayout | None = None
    published = PUBLISHED

    def __init__(self, root: str | Path, with_train: bool = True, options: DatasetOptions = DEFAULT_OPTIONS) -> None:
        self.root = find_root(root, _TITLE)
        self.train: tuple[Tracklet, ...] = ()
        protocol = options.choose_protocol(MARS_OFFICIAL.name)
        keep_queries = protocol == MARS_OFFICIAL.name

        tables = read_tables(self.root / "info", _TITLE, with_train)
        if tables.train is not None:
            frames = list_frames(self.root, "train", _TITLE)
            self.train = make_table_tracklets(tables.train, range(len(tables.train)), frames, "train", VIEWS)
            log_counts("train", self.train)
        frames = list_frames(self.root, "test", _TITLE)
        query = make_table_tracklets(tables.test, tables.query_rows, frames, "test", VIEWS)
        gallery = make_table_tracklets(tables.test, tables.gallery_rows(keep_queries), frames, "test", VIEWS)
        log_counts("query", query)
        log_counts("gallery, with the queries" if keep_queries else "gallery, without the queries", gallery)
        logger.info("gallery: %d distractors (pid 0).", sum(tracklet.pid == DISTRACTOR for tracklet in gallery))
        self.cases = {
            "case1": Case(
                "mars", "between cameras", query, gallery, protocol, identities_masked=options.identities_masked
            )
        }

        num_others = len(tables.gallery_rows(keep_queries=False))
        found = {"queries": len(query), "gallery tracklets without queries": num_others}
        if self.train:
            found["training identities"] = len({tracklet.pid for tracklet in self.train})
            found["training tracklets"] = len(self.train)
        compare_counts(_TITLE, found, PUBLISHED)
