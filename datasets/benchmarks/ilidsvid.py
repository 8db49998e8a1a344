"""iLIDS-VID: people in an airport hall, one tracklet in each of two ground cameras."""

import logging
import re
from pathlib import Path

from ..storage.listing import find_root, list_images, list_subfolders, missing_path, sort_frames
from ..storage.packed_paths import pack_tracklets
from ..tracklet import Case, Tracklet
from .counts import compare_counts, log_counts
from .dataset_options import DEFAULT_OPTIONS, DatasetOptions
from .matlab import read_matrix

logger = logging.getLogger(__name__)

_TITLE = "iLIDS-VID"
SPLITS_FILE = "train-test people splits/train_test_splits_ilidsvid.mat"
CAMERAS = (1, 2)
PUBLISHED = {"identities": 300, "splits": 10}


class ILIDSVID:
    """iLIDS-VID, for matching people between two ground cameras.

    Reference:
        Wang et al., "Person Re-Identification by Video Ranking", ECCV 2014.
    URL:
        https://xiatian-zhu.github.io/downloads_qmul_iLIDS-VID_ReID_dataset.html

    Expected tree; optical flow is not used::

        root/
          i-LIDS-VID/sequences/cam{1,2}/person{number}/*.png
          train-test people splits/train_test_splits_ilidsvid.mat    (ls_set, 10 x 300)

    Statistics: 300 identities, 600 tracklets, 2 cameras, 10 splits of 150 training and 150 test identities. Person
    numbers have gaps (to 319); ``ls_set`` counts the sorted folders from 1, it does not hold person numbers.

    One row of ``ls_set`` is a split (DATASETS.SPLIT, 1 to 10). Which half of a row trains differs between published
    codes, so it is a choice: DATASETS.TRAIN_HALF 'second' as in torchreid and VSLA-CLIP, the default, or 'first' as
    in TF-CLIP. Queries are the test people's camera 1, the gallery their camera 2. The result to report is the mean
    over the ten splits: tools/average_results.py.

    Attributes and arguments: see ``datasets.benchmarks.agvpreid.AGVPReID``. The one case is 'case1'.

    Raises:
        FileNotFoundError: If a folder or the splits are missing.
        ValueError: On other folder names, cameras that saw different people, a split that is not there, or splits
            of another number of people.
    """

    scheme = None

    def __init__(self, root: str | Path, with_train: bool = True, options: DatasetOptions = DEFAULT_OPTIONS) -> None:
        self.root = find_root(root, _TITLE)

        sequences = self.root / "i-LIDS-VID" / "sequences"
        one, two = ({t.pid: t for t in _read_camera(sequences / f"cam{camera}", camera)} for camera in CAMERAS)
        if one.keys() != two.keys():
            odd = ", ".join(map(str, sorted(one.keys() ^ two.keys())[:5]))
            raise ValueError(f"{sequences}: both cameras must have seen the same people; only one saw {odd} ...")
        path = self.root / SPLITS_FILE
        splits = read_matrix(path, "ls_set", _TITLE)
        pids = sorted(one)
        if any(sorted(row) != list(range(1, len(pids) + 1)) for row in splits.tolist()):
            raise ValueError(
                f"{path}: every row of ls_set must name each of the {len(pids)} people of {sequences} once, as 1 to "
                f"{len(pids)}; its shape is {splits.shape}."
            )
        if options.split > len(splits):
            raise ValueError(f"DATASETS.SPLIT must lie in 1..{len(splits)}, got {options.split}.")
        row = [pids[index - 1] for index in splits[options.split - 1].tolist()]
        first, second = sorted(row[: len(row) // 2]), sorted(row[len(row) // 2 :])
        train, test = (first, second) if options.train_half == "first" else (second, first)
        logger.info("split %d of %d; its %s half trains.", options.split, len(splits), options.train_half)

        self.train = tuple(camera[pid] for pid in train for camera in (one, two))
        query, gallery = (tuple(camera[pid] for pid in test) for camera in (one, two))
        for name, tracklets in (("train", self.train), ("query", query), ("gallery", gallery)):
            log_counts(name, tracklets)
        self.cases = {
            "case1": Case(
                "ilidsvid",
                "camera 1 to 2",
                query,
                gallery,
                options.choose_protocol(),
                identities_masked=options.identities_masked,
            )
        }
        compare_counts(_TITLE, {"identities": len(pids), "splits": len(splits)}, PUBLISHED)


def _read_camera(folder: Path, camera: int) -> tuple[Tracklet, ...]:
    if not folder.is_dir():
        raise missing_path(folder, _TITLE)
    tracklets = []
    for person in list_subfolders(folder):
        match = re.fullmatch(r"person(\d+)", person.name, re.ASCII)
        if match is None:
            raise ValueError(f"{person.path}: expected a folder name like person001.")
        frames = sort_frames(person.path, list_images(person.path))
        tracklets.append(Tracklet(f"cam{camera}_{person.name}", frames, int(match[1]), camera, "ground", None))
    if not tracklets:
        raise ValueError(f"{folder}: this folder has no people.")
    return pack_tracklets(tracklets)
