"""LS-VID: people seen by fifteen cameras, indoors and outdoors, all on the ground.

Li et al., "Global-Local Temporal Representations for Video Person Re-Identification", ICCV 2019;
https://www.pkuvmc.com. Expected tree; each file may be in either place::

    root/
      info/list_sequence/list_seq_{train,test}.txt    or    list_sequence/list_seq_{train,test}.txt
      info/data/info_test.mat                         or    test/data/info_test.mat
      ...                                             the frames, in the folders that the lists name

A line of a list is ``{prefix} {pid}``. The tracklet is every image whose path below the root begins with the prefix,
which holds no spaces. The third field of a frame's name, between underscores, is the camera, 1 to 15. ``info_test.mat``
(HDF5) holds the queries under ``query``, as line numbers of the test list, from 1; all other lines are the gallery.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from utils.mistake import MissingFile, Mistake
from utils.text import parse_integer, read_lines, shorten

from ..problems import Fault, Problems
from ..tracklet import Case, DataSet, DatasetOptions, Tracklet
from .listing import list_images, missing_path_error
from .manifest import pack_tracklets
from .matlab import read_rows
from .names import choose_beginning, sort_frames

TITLE = "LS-VID"
CAMERAS = range(1, 16)
PUBLISHED = {"train tracklets": 2831, "lsvid/query tracklets": 3504, "lsvid/gallery tracklets": 7829}
# Two layouts are in use: that of TF-CLIP's loader, then that of VSLA-CLIP's.
LIST_FOLDERS = ("info/list_sequence", "list_sequence")
QUERY_FILES = ("info/data/info_test.mat", "test/data/info_test.mat")


def read_lsvid(root: Path, options: DatasetOptions, problems: Problems) -> DataSet:
    """Read LS-VID: 'case1', between cameras."""
    train: tuple[Tracklet, ...] = ()
    if options.with_train:
        with problems.guard():
            train = tuple(_read_split(root, "train", _read_list(root, "train"), problems).values())
    lines = _read_list(root, "test")
    test = _read_split(root, "test", lines, problems)
    chosen = read_rows(_find_file(root, QUERY_FILES), "query", len(lines), TITLE).tolist()
    query = tuple(test[row] for row in chosen if row in test)
    gallery = tuple(tracklet for row, tracklet in test.items() if row not in set(chosen))
    case = Case("lsvid", "between cameras", query, gallery)
    return DataSet(TITLE, train, {"case1": case}, published=PUBLISHED)


def _find_file(root: Path, names: Iterable[str]) -> Path:
    """Return the first of the files that exists; if none does, the first."""
    paths = [root / name for name in names]
    return next((path for path in paths if path.is_file()), paths[0])


def _read_list(root: Path, split: str) -> list[tuple[str, str, int]]:
    """Read a list: the place of each line, for messages, the prefix and the pid."""
    path = _find_file(root, (f"{folder}/list_seq_{split}.txt" for folder in LIST_FOLDERS))
    if not path.is_file():
        raise missing_path_error(path, TITLE)
    lines = []
    for number, text in enumerate(read_lines(path), start=1):
        if not text.strip():
            continue
        where = f"{path}, line {number}"
        # A prefix names its tracklet, and a space would split the name in files of rankings.
        if len(fields := text.split()) != 2 or not fields[1].isdecimal():
            raise Mistake(f"{where}: expected a path prefix and a pid, and no other spaces, got {shorten(text)}.")
        lines.append((where, fields[0], parse_integer(fields[1], f"{where}: the pid")))
    if not lines:
        raise Mistake(f"{path}: this list is empty.")
    return lines


def _read_split(root: Path, split: str, lines: list[tuple[str, str, int]], problems: Problems) -> dict[int, Tracklet]:
    """Return the tracklets of a split by their number in its list, from 0; without those that cannot be read."""
    listings: dict[str, list[str]] = {}
    tracklets = {}
    for number, (where, prefix, pid) in enumerate(lines):
        with problems.guard():
            folder, beginning = os.path.split(os.path.join(root, prefix))
            if folder not in listings:
                if not os.path.isdir(folder):
                    raise MissingFile(f"{where}: {folder} is not a folder (DATASETS.ROOT_DIR).")
                listings[folder] = list_images(folder)
            names = choose_beginning(listings[folder], beginning)
            if not names:
                raise Mistake(f"{where}: no image in {folder} begins with {beginning}.")
            camera, frames = _find_camera(where, names), sort_frames(folder, names)
            tracklets[number] = Tracklet(prefix, frames, pid, camera, "ground", None)
    claims = Counter(frame for tracklet in tracklets.values() for frame in tracklet.frame_paths)
    shared = [frame for frame, count in claims.items() if count > 1]
    text = f"{split}: {len(shared)} frames belong to several tracklets, because one prefix begins with another."
    problems.add("frame of two tracklets", *shared, summary=text)
    return dict(zip(tracklets, pack_tracklets(list(tracklets.values())), strict=True))


def _find_camera(where: str, names: Sequence[str]) -> int:
    """Read the camera from the names of a tracklet's frames."""
    cameras = set()
    for name in names:
        fields = os.path.splitext(name)[0].split("_")
        if len(fields) < 3 or not fields[2].isdecimal() or int(fields[2]) not in CAMERAS:
            raise Fault("frame name", f"{where}: expected a camera, 1 to 15, as third field of a name, got {name}.")
        cameras.add(int(fields[2]))
    if len(cameras) > 1:
        raise Fault("several cameras", f"{where}: the frames come from several cameras, {sorted(cameras)}.")
    return cameras.pop()
