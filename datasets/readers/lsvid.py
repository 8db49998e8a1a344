"""LS-VID: person tracklets of fifteen cameras, all on the ground."""

import bisect
import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from utils.mistake import MissingFile, Mistake
from utils.text import parse_integer, read_lines, shorten

from ..attributes import AttributeScheme
from ..tracklet import Case, Tracklet
from .case_folders import FolderLayout
from .counts import PublishedCounts, compare_counts, log_counts
from .dataset_options import DEFAULT_OPTIONS, DatasetOptions
from .listing import find_root, list_images, missing_path_error, sort_frames
from .manifest import pack_tracklets
from .matlab import read_rows

logger = logging.getLogger(__name__)

_TITLE = "LS-VID"
CAMERAS = range(1, 16)
PUBLISHED = PublishedCounts({"training tracklets": 2831, "queries": 3504, "gallery tracklets": 7829})
# Two layouts are in use: that of TF-CLIP's loader, then that of VSLA-CLIP's.
LIST_FOLDERS = ("info/list_sequence", "list_sequence")
QUERY_FILES = ("info/data/info_test.mat", "test/data/info_test.mat")


class LSVID:
    """LS-VID, for matching people between fifteen ground cameras, indoors and outdoors.

    Reference:
        Li et al., "Global-Local Temporal Representations for Video Person Re-Identification", ICCV 2019.
    URL:
        https://www.pkuvmc.com

    Expected tree; each file may be in either place::

        root/
          info/list_sequence/list_seq_{train,test}.txt    or    list_sequence/list_seq_{train,test}.txt
          info/data/info_test.mat                         or    test/data/info_test.mat
          ...                                             the frames, in the folders that the lists name

    A line of a list is ``{prefix} {pid}``. The tracklet is every image whose path below the root begins with the
    prefix, which holds no spaces. The third field of a frame's name, between underscores, is the camera, 1 to 15.
    ``info_test.mat`` (HDF5) holds the queries under ``query``, as line numbers of the test list, from 1; all other
    lines are the gallery.

    Statistics are in docs/datasets.md.

    Attributes and arguments: see ``datasets.Benchmark``. The one case is 'case1'. Of the options, ``protocol``
    applies.

    Raises:
        FileNotFoundError: If a list, the query file or a folder of frames is missing.
        ValueError: If a list is not UTF-8 text, if a line or a frame name has another form, if a tracklet has no
            frames, or if its frames come from several cameras.
    """

    scheme: AttributeScheme | None = None
    layout: FolderLayout | None = None
    published = PUBLISHED

    def __init__(self, root: str | Path, with_train: bool = True, options: DatasetOptions = DEFAULT_OPTIONS) -> None:
        self.root = find_root(root, _TITLE)
        self.train: tuple[Tracklet, ...] = ()

        if with_train:
            self.train = self._read_split("train", self._find_list("train"))
        test = self._read_split("test", self._find_list("test"))
        rows = read_rows(self._find_file(QUERY_FILES), "query", len(test), _TITLE)
        chosen = set(rows.tolist())
        query = tuple(test[row] for row in rows)
        gallery = tuple(tracklet for row, tracklet in enumerate(test) if row not in chosen)
        self.cases = {
            "case1": Case(
                "lsvid",
                "between cameras",
                query,
                gallery,
                options.choose_protocol(),
                identities_masked=options.identities_masked,
            )
        }

        found = {"queries": len(query), "gallery tracklets": len(gallery)}
        if self.train:
            found["training tracklets"] = len(self.train)
        compare_counts(_TITLE, found, PUBLISHED)

    def _find_list(self, split: str) -> Path:
        return self._find_file(f"{folder}/list_seq_{split}.txt" for folder in LIST_FOLDERS)

    def _find_file(self, names: Iterable[str]) -> Path:
        """Return the first of the files that exists; if none does, the first."""
        paths = [self.root / name for name in names]
        return next((path for path in paths if path.is_file()), paths[0])

    def _read_split(self, split: str, path: Path) -> tuple[Tracklet, ...]:
        lines = _read_list(path)
        listings: dict[str, list[str]] = {}
        tracklets = tuple(self._read_tracklet(path, line, listings) for line in lines)
        claims = Counter(frame for tracklet in tracklets for frame in tracklet.frame_paths)
        if shared := sum(count > 1 for count in claims.values()):
            logger.warning(
                "%s: %d frames belong to several tracklets, because one prefix begins with another.", split, shared
            )
        log_counts(split, tracklets)
        return pack_tracklets(tracklets)

    def _read_tracklet(self, path: Path, line: "_Line", listings: dict[str, list[str]]) -> Tracklet:
        folder, prefix = os.path.split(os.path.join(self.root, line.prefix))
        where = f"{path}, line {line.number}"
        if folder not in listings:
            if not os.path.isdir(folder):
                raise MissingFile(f"{where}: {folder} is not a folder (DATASETS.ROOT_DIR).")
            listings[folder] = list_images(folder)
        names = listings[folder]
        start = bisect.bisect_left(names, prefix)
        end = start
        while end < len(names) and names[end].startswith(prefix):
            end += 1
        if start == end:
            raise Mistake(f"{where}: no image in {folder} begins with {prefix}.")
        cameras = {_parse_camera(where, name) for name in names[start:end]}
        if len(cameras) > 1:
            raise Mistake(f"{where}: the frames come from several cameras, {sorted(cameras)}.")
        frames = sort_frames(folder, names[start:end])
        return Tracklet(line.prefix, frames, line.pid, cameras.pop(), "ground", None)


class _Line(NamedTuple):
    """A line of a list; ``number`` counts from 1."""

    number: int
    prefix: str
    pid: int


def _read_list(path: Path) -> list[_Line]:
    if not path.is_file():
        raise missing_path_error(path, _TITLE)
    lines = []
    for number, text in enumerate(read_lines(path), start=1):
        if not text.strip():
            continue
        where = f"{path}, line {number}"
        # A prefix names its tracklet, and a space would split the name in files of rankings.
        if len(fields := text.split()) != 2 or not fields[1].isdecimal():
            raise Mistake(f"{where}: expected a path prefix and a pid, and no other spaces, got {shorten(text)}.")
        prefix, pid = fields
        lines.append(_Line(number, prefix, parse_integer(pid, f"{where}: the pid")))
    if not lines:
        raise Mistake(f"{path}: this list is empty.")
    return lines


def _parse_camera(where: str, name: str) -> int:
    """Read the camera from the name of a frame."""
    fields = os.path.splitext(name)[0].split("_")
    if len(fields) < 3 or not fields[2].isdecimal() or int(fields[2]) not in CAMERAS:
        raise Mistake(f"{where}: expected a camera, 1 to 15, as third field of the frame name, got {name}.")
    return int(fields[2])
