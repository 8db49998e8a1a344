"""Data sets laid out as ``{split}/{identity}/{tracklet}/{frame}``, with a query and a gallery folder for every case.

AG-VPReID and DetReIDX share this layout: where their splits are, how a split is read through its frame index, and how
oddities are reported. A ``FolderLayout`` holds what differs between them.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from utils.mistake import Mistake
from utils.unknown import UNKNOWN

from ..tracklet import Tracklet
from .counts import log_counts
from .listing import TrackletFolder, missing_path_error, printable
from .manifest import FrameIndex, FramePaths, Reader, open_index

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseLayout:
    """One matching direction: its folder, its title for people, and the view on either side."""

    folder: str
    title: str
    query_view: str
    gallery_view: str


AERIAL_TO_GROUND = CaseLayout("case1_aerial_to_ground", "aerial to ground", "aerial", "ground")
GROUND_TO_AERIAL = CaseLayout("case2_ground_to_aerial", "ground to aerial", "ground", "aerial")


class Sighting(NamedTuple):
    """Facts about a recording that the name of a frame states.

    Attributes:
        camid: Camera.
        view: 'ground' or 'aerial'; None for a camera that the data set does not have.
        altitude: Metres; None on the ground, or if unknown.
        day: YYMMDD; None if unknown.
    """

    camid: int
    view: str | None
    altitude: int | None
    day: int | None = None


def never_masked(names: Mapping[str, Iterable[str]]) -> bool:
    """Return False, for data sets whose masked copies have ordinary names (see DATASETS.IDENTITIES_MASKED)."""
    return False


@dataclass(frozen=True)
class FolderLayout:
    """The layout of one data set.

    Attributes:
        title: Name of the data set, for messages.
        cases: Matching directions by key, such as 'case1'.
        parse_sighting: Reads the name of a frame; for a name outside the grammar it raises a ValueError whose message
            begins with the name.
        parse_tracklet: Puts the file names of a tracklet in order; returns them with the camera, the altitude in metres
            and further integers of the data set's own, each ``UNKNOWN`` if it is not known.
        parser_version: Name and version of ``parse_tracklet``; raise the version when its results change.
        table_folder: Folder of the attribute tables, ``{split}.csv``; '' if the data set has none.
        are_masked: Takes the names of a case's tracklets by view; returns whether all are named as in a copy that
            renumbers the test identities on each side.
    """

    title: str
    cases: Mapping[str, CaseLayout]
    parse_sighting: Callable[[str], Sighting]
    parse_tracklet: Reader
    parser_version: str
    table_folder: str = ""
    are_masked: Callable[[Mapping[str, Iterable[str]]], bool] = never_masked

    def splits(self) -> dict[str, str | None]:
        """Return the folders of all splits in order, with the view that each should hold; None for both."""
        splits: dict[str, str | None] = {"train": None}
        for case in self.cases.values():
            splits[f"{case.folder}/query"] = case.query_view
            splits[f"{case.folder}/gallery"] = case.gallery_view
        return splits

    def attribute_table(self, root: Path, split: str) -> Path:
        """Return the path of a split's attribute table, which need not exist."""
        return root / self.table_folder / f"{split}.csv"

    def has_attribute_table(self, root: Path, split: str) -> bool:
        """Return whether a split has an attribute table, be it a link that leads nowhere.

        Raises:
            ValueError: If something on the way to it is neither a folder nor a link to one.
            OSError: If a folder on the way may not be searched.
        """
        path = self.attribute_table(root, split)
        try:
            os.lstat(path)
        except FileNotFoundError:
            pass
        except NotADirectoryError as error:
            raise Mistake(f"{path}: something on the way to this table is not a folder.") from error
        else:
            return True
        for folder in path.parents:
            if folder == root:
                return False
            if os.path.lexists(folder) and not folder.is_dir():
                raise Mistake(f"{printable(folder)} is not a folder, nor a link to one.")
        return False

    def find_cases(self, root: Path) -> dict[str, CaseLayout]:
        """Return the matching directions that a copy holds, and warn of each that it lacks.

        Raises:
            FileNotFoundError: If it holds none.
            ValueError: If something else, such as a link whose target is missing, has the name of a direction's folder.
        """
        present = {key: case for key, case in self.cases.items() if (root / case.folder).is_dir()}
        absent = [case.folder for key, case in self.cases.items() if key not in present]
        for folder in absent:
            if os.path.lexists(root / folder):
                raise Mistake(f"{printable(root / folder)} is not a folder, nor a link to one.")
        if not present:
            raise missing_path_error(root / absent[0], self.title)
        for folder in absent:
            logger.warning("%s: there is no folder %s, so this direction is left out.", root, folder)
        return present

    def open_index(self, root: Path, split: str, index_dir: str | Path) -> FrameIndex:
        """Open the frame index of a split."""
        return open_index(root / split, self.title, self.parse_tracklet, self.parser_version, index_dir)


def make_folder_tracklets(
    split: str,
    index: FrameIndex,
    make_tracklet: Callable[[TrackletFolder, FramePaths, list[int], Counter[str]], Tracklet],
) -> tuple[Tracklet, ...]:
    """Make the records of a split, sorted by pid, then name, and warn of its oddities.

    Args:
        split: Name of the split, for messages.
        index: Its frames.
        make_tracklet: Makes a record from a folder, its frames and the numbers of ``parse_tracklet``. It counts
            oddities in its last argument, in words that continue '3 of 5 tracklets'.
    """
    oddities: Counter[str] = Counter()
    tracklets = tuple(
        make_tracklet(folder, index.frame_paths(row), index.values[row].tolist(), oddities)
        for row, folder in enumerate(index.tracklets())
    )
    for text, num_tracklets in sorted(oddities.items()):
        logger.warning("%s: %d of %d tracklets %s.", split, num_tracklets, len(tracklets), text)
    log_counts(split, tracklets)
    return tracklets


def count_wrong_view(seen_from: str, view: str | None, oddities: Counter[str]) -> None:
    """Count a tracklet on the wrong side of its case; ``view`` is what the split should hold, None for both."""
    if view not in (None, seen_from):
        oddities[f"are from {seen_from} cameras on the {view} side"] += 1


def shared_value(values: Iterable[int | None]) -> int:
    """Return the value that all frames of a tracklet share; ``UNKNOWN`` if they differ."""
    distinct = set(values)
    value = distinct.pop() if len(distinct) == 1 else None
    return UNKNOWN if value is None else value


def none_if_unknown(number: int) -> int | None:
    """Return a number of an index; None for ``UNKNOWN``."""
    return None if number == UNKNOWN else number
