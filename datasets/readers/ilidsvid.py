"""iLIDS-VID: people in an airport hall, one tracklet in each of two ground cameras.

Wang et al., "Person Re-Identification by Video Ranking", ECCV 2014;
https://xiatian-zhu.github.io/downloads_qmul_iLIDS-VID_ReID_dataset.html. Expected tree; optical flow is not used::

    root/
      i-LIDS-VID/sequences/cam{1,2}/person{number}/*.png
      train-test people splits/train_test_splits_ilidsvid.mat    (ls_set, 10 x 300)

Person numbers have gaps; ``ls_set`` counts the sorted folders from 1, it does not hold person numbers.
"""

import logging
import os
from pathlib import Path

from utils.mistake import Mistake

from ..problems import Problems
from ..tracklet import Case, DataSet, DatasetOptions, Tracklet
from .listing import find_root, list_images, list_subfolders
from .manifest import pack_tracklets
from .matlab import read_matrix
from .names import number_folders, sort_frames

logger = logging.getLogger(__name__)

TITLE = "iLIDS-VID"
SPLITS_FILE = "train-test people splits/train_test_splits_ilidsvid.mat"
PUBLISHED = {"identities": 300, "splits": 10}


def read_ilidsvid(root: Path, options: DatasetOptions, problems: Problems) -> DataSet:
    """Read iLIDS-VID: 'case1', from camera 1 to camera 2.

    One row of ``ls_set`` is a split (DATASETS.SPLIT, 1 to 10). Published codes disagree on which half of a row trains,
    so it is a choice (DATASETS.TRAIN_HALF).
    """
    sequences = root / "i-LIDS-VID" / "sequences"
    cameras = {camera: find_root(sequences / f"cam{camera}", TITLE) for camera in (1, 2)}
    folders = {camera: number_folders(list_subfolders(path), "person", problems) for camera, path in cameras.items()}
    pids = sorted(folders[1])
    if pids != sorted(folders[2]):
        odd = ", ".join(map(str, sorted(folders[1].keys() ^ folders[2].keys())[:5]))
        raise Mistake(f"{sequences}: both cameras must have seen the same people; only one saw {odd} ...")
    splits = read_matrix(root / SPLITS_FILE, "ls_set", TITLE)
    if any(sorted(row) != list(range(1, len(pids) + 1)) for row in splits.tolist()):
        raise Mistake(
            f"{root / SPLITS_FILE}: every row of ls_set must name each of the {len(pids)} people of {sequences} once, "
            f"as 1 to {len(pids)}; its shape is {splits.shape}."
        )
    if options.split > len(splits):
        raise Mistake(f"DATASETS.SPLIT must lie in 1..{len(splits)}, got {options.split}.")
    row = [pids[index - 1] for index in splits[options.split - 1].tolist()]
    first, second = sorted(row[: len(row) // 2]), sorted(row[len(row) // 2 :])
    people, test = (first, second) if options.train_half == "first" else (second, first)
    logger.info("Split %d of %d; its %s half trains.", options.split, len(splits), options.train_half)

    def read(*sightings: tuple[int, int]) -> tuple[Tracklet, ...]:
        tracklets = []
        for pid, camera in sightings:
            path = folders[camera][pid]
            with problems.guard("empty folder"):
                paths = sort_frames(path, list_images(path))
                name = f"cam{camera}_{os.path.basename(path)}"
                tracklets.append(Tracklet(name, paths, pid, camera, "ground", None))
        return pack_tracklets(tracklets)

    train = read(*((pid, camera) for pid in people for camera in cameras)) if options.with_train else ()
    query, gallery = (read(*((pid, camera) for pid in test)) for camera in cameras)
    counts = {"identities": len(pids), "splits": len(splits)}
    cases = {"case1": Case("ilidsvid", "camera 1 to 2", query, gallery)}
    return DataSet(TITLE, train, cases, published=PUBLISHED, counts=counts)
