"""iLIDS-VID: people in an airport hall, one tracklet in each of two ground cameras.

Wang et al., "Person Re-Identification by Video Ranking", ECCV 2014;
https://xiatian-zhu.github.io/downloads_qmul_iLIDS-VID_ReID_dataset.html. Expected tree; optical flow is not used::

    root/
      i-LIDS-VID/sequences/cam{1,2}/person{number}/*.png
      train-test people splits/train_test_splits_ilidsvid.mat    (ls_set, 10 x 300)

Person numbers have gaps; ``ls_set`` counts the sorted folders from 1, it does not hold person numbers. Statistics are
in docs/datasets.md.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from utils.mistake import Mistake
from utils.text import parse_integer

from ..problems import LOADING, Problems
from ..tracklet import Case, Tracklet
from .dataset import DEFAULT_OPTIONS, DataSet, DatasetOptions, PublishedCounts
from .listing import list_images, list_subfolders, missing_path_error, sort_frames
from .manifest import pack_tracklets
from .matlab import read_matrix

TITLE = "iLIDS-VID"
SPLITS_FILE = "train-test people splits/train_test_splits_ilidsvid.mat"
CAMERAS = (1, 2)
PUBLISHED = PublishedCounts({"identities": 300, "splits": 10})


def read_ilidsvid(root: Path, options: DatasetOptions = DEFAULT_OPTIONS, problems: Problems = LOADING) -> DataSet:
    """Read iLIDS-VID: 'case1', from camera 1 to camera 2.

    One row of ``ls_set`` is a split (DATASETS.SPLIT, 1 to 10). Published codes disagree on which half of a row trains,
    so it is a choice: DATASETS.TRAIN_HALF 'second', the default, as in torchreid and VSLA-CLIP, or 'first', as in
    TF-CLIP. The result to report is the mean over the ten splits: ``python -m tools.results average``.
    """
    sequences = root / "i-LIDS-VID" / "sequences"
    one, two = (_list_people(sequences / f"cam{camera}") for camera in CAMERAS)
    if one.keys() != two.keys():
        odd = ", ".join(map(str, sorted(one.keys() ^ two.keys())[:5]))
        raise Mistake(f"{sequences}: both cameras must have seen the same people; only one saw {odd} ...")
    path = root / SPLITS_FILE
    splits = read_matrix(path, "ls_set", TITLE)
    pids = sorted(one)
    if any(sorted(row) != list(range(1, len(pids) + 1)) for row in splits.tolist()):
        raise Mistake(
            f"{path}: every row of ls_set must name each of the {len(pids)} people of {sequences} once, as 1 to "
            f"{len(pids)}; its shape is {splits.shape}."
        )
    if options.split > len(splits):
        raise Mistake(f"DATASETS.SPLIT must lie in 1..{len(splits)}, got {options.split}.")
    row = [pids[index - 1] for index in splits[options.split - 1].tolist()]
    first, second = sorted(row[: len(row) // 2]), sorted(row[len(row) // 2 :])
    people, test = (first, second) if options.train_half == "first" else (second, first)
    problems.note(f"Split {options.split} of {len(splits)}; its {options.train_half} half trains.")
    both = list(zip(CAMERAS, (one, two), strict=True))
    folders = [(pid, camera, folder_of[pid]) for pid in people for camera, folder_of in both]
    train = _read_tracklets(folders, problems) if options.with_train else ()
    query, gallery = (
        _read_tracklets([(pid, camera, folder_of[pid]) for pid in test], problems) for camera, folder_of in both
    )
    cases = {"case1": Case("ilidsvid", "camera 1 to 2", query, gallery)}
    return DataSet(TITLE, train, cases, None, PUBLISHED, {"identities": len(pids), "splits": len(splits)})


def _list_people(folder: Path) -> dict[int, Path]:
    """Return the tracklet folder of each person that a camera saw, by pid; reads no frames."""
    if not folder.is_dir():
        raise missing_path_error(folder, TITLE)
    people: dict[int, Path] = {}
    for person in list_subfolders(folder):
        match = re.fullmatch(r"person(\d+)", person.name, re.ASCII)
        if match is None:
            raise Mistake(f"{person.path}: expected a folder name like person001.")
        pid = parse_integer(match[1], f"{person.path}: the person's number")
        if pid in people:
            raise Mistake(f"{person.path} and {people[pid]} are the same person, {pid}.")
        people[pid] = Path(person.path)
    if not people:
        raise Mistake(f"{folder}: this folder has no people.")
    return people


def _read_tracklets(folders: Sequence[tuple[int, int, Path]], problems: Problems) -> tuple[Tracklet, ...]:
    """Read the tracklets in folders of (pid, camera, path)."""
    tracklets = []
    for pid, camera, path in folders:
        with problems.guard("empty folder"):
            paths = sort_frames(path, list_images(path))
            tracklets.append(Tracklet(f"cam{camera}_{path.name}", paths, pid, camera, "ground", None))
    return pack_tracklets(tracklets)
