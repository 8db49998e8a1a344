"""iLIDS-VID: people in an airport hall, one tracklet in each of two ground cameras."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from utils.mistake import Mistake
from utils.text import parse_integer

from ..attributes import AttributeScheme
from ..tracklet import Case, Tracklet
from .case_folders import FolderLayout
from .counts import PublishedCounts, compare_counts, log_counts
from .dataset_options import DEFAULT_OPTIONS, DatasetOptions
from .listing import find_root, list_images, list_subfolders, missing_path_error, sort_frames
from .manifest import pack_tracklets
from .matlab import read_matrix

logger = logging.getLogger(__name__)

_TITLE = "iLIDS-VID"
SPLITS_FILE = "train-test people splits/train_test_splits_ilidsvid.mat"
CAMERAS = (1, 2)
PUBLISHED = PublishedCounts({"identities": 300, "splits": 10})


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

    Person numbers have gaps; ``ls_set`` counts the sorted folders from 1, it does not hold person numbers. Statistics
    are in docs/datasets.md.

    One row of ``ls_set`` is a split (DATASETS.SPLIT, 1 to 10). Published codes disagree on which half of a row trains,
    so it is a choice: DATASETS.TRAIN_HALF 'second', the default, as in torchreid and VSLA-CLIP, or 'first', as in
    TF-CLIP. Queries are the test people's camera 1, the gallery is their camera 2. The result to report is the mean
    over the ten splits: ``python -m tools.average_results``.

    Attributes and arguments: see ``datasets.Benchmark``. The one case is 'case1'. Of the options,
    ``protocol``, ``split`` and ``train_half`` apply.

    Raises:
        FileNotFoundError: If a folder or the splits are missing.
        ValueError: If a folder has another kind of name, if the cameras saw different people, if the split does not
            exist, or if the splits are of another number of people.
    """

    scheme: AttributeScheme | None = None
    layout: FolderLayout | None = None
    published = PUBLISHED

    def __init__(self, root: str | Path, with_train: bool = True, options: DatasetOptions = DEFAULT_OPTIONS) -> None:
        self.root = find_root(root, _TITLE)
        self.train: tuple[Tracklet, ...] = ()

        sequences = self.root / "i-LIDS-VID" / "sequences"
        one, two = (_list_people(sequences / f"cam{camera}") for camera in CAMERAS)
        if one.keys() != two.keys():
            odd = ", ".join(map(str, sorted(one.keys() ^ two.keys())[:5]))
            raise Mistake(f"{sequences}: both cameras must have seen the same people; only one saw {odd} ...")
        path = self.root / SPLITS_FILE
        splits = read_matrix(path, "ls_set", _TITLE)
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
        train, test = (first, second) if options.train_half == "first" else (second, first)
        logger.info("Split %d of %d; its %s half trains.", options.split, len(splits), options.train_half)

        if with_train:
            folders = [
                (pid, camera, people[pid]) for pid in train for camera, people in zip(CAMERAS, (one, two), strict=True)
            ]
            self.train = _read_tracklets(folders)
            log_counts("train", self.train)
        query = _read_tracklets([(pid, CAMERAS[0], one[pid]) for pid in test])
        gallery = _read_tracklets([(pid, CAMERAS[1], two[pid]) for pid in test])
        log_counts("query", query)
        log_counts("gallery", gallery)
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


def _list_people(folder: Path) -> dict[int, Path]:
    """Return the tracklet folder of each person that a camera saw, by pid; reads no frames."""
    if not folder.is_dir():
        raise missing_path_error(folder, _TITLE)
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


def _read_tracklets(folders: Sequence[tuple[int, int, Path]]) -> tuple[Tracklet, ...]:
    """Read the tracklets in folders of (pid, camera, path)."""
    tracklets = [
        Tracklet(f"cam{camera}_{path.name}", sort_frames(path, list_images(path)), pid, camera, "ground", None)
        for pid, camera, path in folders
    ]
    return pack_tracklets(tracklets)
