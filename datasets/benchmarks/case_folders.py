"""Data sets laid out as ``{split}/{identity}/{tracklet}/{frame}``, with a query and a gallery folder for every case.

What AG-VPReID and DetReIDX share: where their splits are, how a split is read through its index, and which oddities are
told. What tells them apart is a ``FolderLayout``. Above it: ``agvpreid``, ``detreidx``; below: ``index``, ``reading``.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from utils.unknown import UNKNOWN

from ..storage.frame_index import FrameIndex, FramePaths, Reader, open_index
from ..storage.listing import TrackletFolder, missing_path
from ..tracklet import Tracklet
from .counts import log_counts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseLayout:
    """Folder of a matching direction, its title for people, and the view on either side."""

    folder: str
    title: str
    query_view: str
    gallery_view: str


AERIAL_TO_GROUND = CaseLayout("case1_aerial_to_ground", "aerial to ground", "aerial", "ground")
GROUND_TO_AERIAL = CaseLayout("case2_ground_to_aerial", "ground to aerial", "ground", "aerial")


class Sighting(NamedTuple):
    """What the name of a frame says of how it was taken.

    Attributes:
        camid: Camera.
        view: 'ground' or 'aerial'; None for a camera that the data set does not have.
        altitude: Metres; None on the ground, or when not known.
        day: YYMMDD; None when not known.
    """

    camid: int
    view: str | None
    altitude: int | None
    day: int | None = None


def never_masked(names: Mapping[str, Iterable[str]]) -> bool:
    """For data sets whose masked copies cannot be told from their names (DATASETS.IDENTITIES_MASKED says it)."""
    return False


@dataclass(frozen=True)
class FolderLayout:
    """One data set of this kind.

    Attributes:
        title: For messages.
        cases: Matching directions by key, such as 'case1'.
        parse_sighting: Reads the name of a frame; raises a ValueError that begins with it for one outside the grammar.
        read_names: Puts the names of a tracklet in order; gives the camera, the altitude in metres, and whatever else
            the data set keeps, ``UNKNOWN`` for what is not known.
        reader: Name and version of ``read_names``, to be raised with every change of what it returns.
        table_folder: Holds attribute tables, ``{split}.csv``; '' where there are none.
        are_masked: Whether the tracklets of a case, by view, are all named as in a copy whose test identities are
            numbered anew on each side.
    """

    title: str
    cases: Mapping[str, CaseLayout]
    parse_sighting: Callable[[str], Sighting]
    read_names: Reader
    reader: str
    table_folder: str = ""
    are_masked: Callable[[Mapping[str, Iterable[str]]], bool] = never_masked

    def splits(self) -> dict[str, str | None]:
        """The splits' folders in order, and the view that each claims to hold; None for any."""
        splits: dict[str, str | None] = {"train": None}
        for case in self.cases.values():
            splits[f"{case.folder}/query"] = case.query_view
            splits[f"{case.folder}/gallery"] = case.gallery_view
        return splits

    def attribute_table(self, root: Path, split: str) -> Path:
        """Where the attribute table of a split is, if there is one."""
        return root / self.table_folder / f"{split}.csv"

    def find_cases(self, root: Path) -> dict[str, CaseLayout]:
        """The matching directions that a copy holds; FileNotFoundError if there is none."""
        present = {key: case for key, case in self.cases.items() if (root / case.folder).is_dir()}
        if not present:
            raise missing_path(root / next(iter(self.cases.values())).folder, self.title)
        for key in self.cases.keys() - present.keys():
            logger.info("%s: no folder %s: this direction is left out.", root, self.cases[key].folder)
        return present

    def open_index(self, root: Path, split: str, index_dir: str | Path) -> FrameIndex:
        """The frames of a split."""
        return open_index(root / split, self.title, self.read_names, self.reader, index_dir)


def make_folder_tracklets(
    split: str,
    index: FrameIndex,
    make: Callable[[TrackletFolder, FramePaths, list[int], Counter[str]], Tracklet],
) -> tuple[Tracklet, ...]:
    """The records of a split, sorted by pid, then name.

    Args:
        split: For messages.
        index: Its frames.
        make: Makes a record of a folder, its frames and the numbers that ``read_names`` gave; counts what is odd, in
            words that follow '3 of 5 tracklets'.
    """
    oddities: Counter[str] = Counter()
    tracklets = tuple(
        make(folder, FramePaths(index, row), index.values[row].tolist(), oddities)
        for row, folder in enumerate(index.tracklets())
    )
    for text, num_tracklets in sorted(oddities.items()):
        logger.warning("%s: %d of %d tracklets %s.", split, num_tracklets, len(tracklets), text)
    log_counts(split, tracklets)
    return tracklets


def note_view(seen_from: str, view: str | None, oddities: Counter[str]) -> None:
    """Count a tracklet on the wrong side of its case; ``view`` is what the split claims to hold, None for any."""
    if view not in (None, seen_from):
        oddities[f"are from {seen_from} cameras on the {view} side"] += 1


def shared_value(values: Iterable[int | None]) -> int:
    """The one value that all frames of a tracklet share, else ``UNKNOWN``."""
    distinct = set(values)
    value = distinct.pop() if len(distinct) == 1 else None
    return UNKNOWN if value is None else value


def none_if_unknown(number: int) -> int | None:
    """A number as indices keep it, None for ``UNKNOWN``."""
    return None if number == UNKNOWN else number
