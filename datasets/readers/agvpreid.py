"""AG-VPReID: person tracklets seen from drones and from the ground, read from disk into records."""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from utils.mistake import Mistake
from utils.unknown import UNKNOWN

from ..attributes import AGVPREID_SCHEME, AttributeScheme, read_attributes
from ..tracklet import Case, Tracklet
from .case_folders import (
    AERIAL_TO_GROUND,
    GROUND_TO_AERIAL,
    CaseLayout,
    FolderLayout,
    Sighting,
    count_wrong_view,
    make_folder_tracklets,
    none_if_unknown,
    shared_value,
)
from .counts import PublishedCounts
from .dataset_options import DEFAULT_OPTIONS, DatasetOptions
from .listing import TrackletFolder, find_root, last_integer
from .manifest import FrameIndex, FramePaths

logger = logging.getLogger(__name__)

# C0 and C1 are CCTV, C2 and C3 wearable cameras, C4 and C5 drones (AG-VPReID README).
VIEW_OF_CAMERA = {0: "ground", 1: "ground", 2: "ground", 3: "ground", 4: "aerial", 5: "aerial"}
# A2 and A3 by the authors' answer in AG-VPReID-Net issue 3; A0 and A1 follow from the paper's four altitudes.
METRES_OF_LEVEL = {0: 15, 1: 30, 2: 80, 3: 120}

_FRAME_NAME = re.compile(r"P(\d+)T(\d+)A(\d+)C(\d+)E(\d+)K(\d+)F(\d+)\.(?:jpg|jpeg|png)", re.ASCII | re.IGNORECASE)
# Names of test tracklets in the challenge's copy, which renumbers the identity folders on each side of a case.
_MASKED_NAME = {
    "aerial": re.compile(r"tracklet_\d+", re.ASCII),
    "ground": re.compile(r"[a-z]{3}\d[a-z][A-Z]", re.ASCII),
}

# The challenge's copy, counted from its attribute tables and its sample submission. That lists 4,416 tracklets of case
# 2's gallery; the real count may be higher. The totals are from the papers, frames rounded; the challenge's tables hold
# fewer people (1,998).
PUBLISHED = PublishedCounts(
    {
        "train identities": 689,
        "case1_aerial_to_ground/query identities": 645,
        "case1_aerial_to_ground/query tracklets": 3023,
        "case1_aerial_to_ground/gallery identities": 645,
        "case1_aerial_to_ground/gallery tracklets": 2751,
        "case2_ground_to_aerial/query identities": 645,
        "case2_ground_to_aerial/query tracklets": 2751,
        "case2_ground_to_aerial/gallery identities": 1309,
        "case2_ground_to_aerial/gallery tracklets": 4416,
    },
    lower_bounds=frozenset({"case2_ground_to_aerial/gallery tracklets"}),
    remark="The published counts are of the challenge's copy. Published totals: challenge: 3027 people, 13511 "
    "tracklets, about 3700000 frames from 80/120 m; full: 6632 people, 32321 tracklets, about 9600000 frames from "
    "15/30/80/120 m.",
)


class FrameName(NamedTuple):
    """The fields of a frame's file name.

    Attributes:
        pid: Person; valid for that day only, so the identity is read from the folder instead.
        date: YYMMDD.
        session: Part of that day.
        altitude_level: Index of the flight altitude; has no meaning for ground cameras.
        camid: Camera, 0 to 5.
        event: Event number.
        keypoint: Key point number.
        frame: Frame number within the recording.
    """

    pid: int
    date: str
    session: int
    altitude_level: int
    camid: int
    event: int
    keypoint: int
    frame: int


def parse_frame_name(name: str) -> FrameName:
    """Read a name such as ``P81T2310171A2C2E152K7F7528.jpg``; ValueError if it does not follow this grammar."""
    match = _FRAME_NAME.fullmatch(name)
    if match is None:
        raise _bad_frame_name(name)
    person, time, *numbers = match.groups()
    return FrameName(int(person), time[:-1], int(time[-1]), *map(int, numbers))


def are_masked(names: Mapping[str, Iterable[str]]) -> bool:
    """Return whether all tracklets of a case, by view, are named as in the challenge's masked copy."""
    return all(_MASKED_NAME[view].fullmatch(name) for view in names for name in names[view])


def parse_sighting(name: str) -> Sighting:
    """Read camera, view, altitude and day from the name of a frame; ValueError as ``parse_frame_name``."""
    frame = parse_frame_name(name)
    return _make_sighting(frame.date, frame.altitude_level, frame.camid)


def _make_sighting(date: str, altitude_level: int, camid: int) -> Sighting:
    view = VIEW_OF_CAMERA.get(camid)
    altitude = METRES_OF_LEVEL.get(altitude_level) if view == "aerial" else None
    return Sighting(camid, view, altitude, int(date) if len(date) == len("YYMMDD") else None)


def parse_tracklet(folder: TrackletFolder, names: list[str]) -> tuple[list[str], tuple[int, int, int]]:
    """Put the frames of a tracklet in order and check that they belong together.

    Args:
        folder: The tracklet.
        names: File names of its images.
    Returns:
        The names, sorted by frame number, then name; and the camera, the altitude in metres and the day (YYMMDD),
        each ``UNKNOWN`` if it is not known or changes. If a name is outside the grammar, which only a masked copy may
        have, the names are sorted by their last number, and all three values are unknown.
    Raises:
        ValueError: If the frames come from several cameras, or from a camera that the data set does not have.
    """
    matches = [match for name in names if (match := _FRAME_NAME.fullmatch(name)) is not None]
    if len(matches) < len(names):
        return sorted(names, key=lambda name: (last_integer(name), name)), (UNKNOWN,) * 3
    # A tracklet may have thousands of frames, but their names state few different facts.
    facts = {(match[2][:-1], int(match[3]), int(match[4])) for match in matches}
    sightings = [_make_sighting(*fact) for fact in facts]
    cameras = {sighting.camid for sighting in sightings}
    if len(cameras) > 1:
        raise Mistake(f"{folder.path}: the frames come from several cameras, {sorted(cameras)}.")
    camid = cameras.pop()
    if camid not in VIEW_OF_CAMERA:
        raise Mistake(f"{folder.path}: camera {camid} is not one of {sorted(VIEW_OF_CAMERA)}.")
    altitude = shared_value(sighting.altitude for sighting in sightings)
    day = shared_value(sighting.day for sighting in sightings)
    ordered = sorted((int(match[7]), match.string) for match in matches)
    return [name for _, name in ordered], (camid, altitude, day)


LAYOUT = FolderLayout(
    title="AG-VPReID",
    cases={"case1": AERIAL_TO_GROUND, "case2": GROUND_TO_AERIAL},
    parse_sighting=parse_sighting,
    parse_tracklet=parse_tracklet,
    parser_version="agvpreid 2",
    table_folder="attributes",
    are_masked=are_masked,
)


def read_train(root: Path, index_dir: str | Path = "") -> tuple[Tracklet, ...]:
    """Read the training tracklets of a copy, sorted by pid, then name; nothing else of the copy is read.

    Args:
        root: Folder of the copy.
        index_dir: Folder for frame indices (DATASETS.INDEX_DIR); '' for the user's cache folder.
    """
    return _read_split("train", LAYOUT.open_index(root, "train", index_dir), _read_table(root, "train"))


class AGVPReID:
    """AG-VPReID, for matching people between drones and ground cameras.

    Reference:
        Nguyen et al., "AG-VPReID: A Challenging Large-Scale Benchmark for Aerial-Ground Video-based Person
        Re-Identification", CVPR 2025. Challenge: arXiv 2506.22843.
    URL:
        https://github.com/hieunguyen7337/AG-VPReID

    Expected tree, each split being ``{identity}/{tracklet}/{frame}.jpg``::

        root/
          train/
          case1_aerial_to_ground/{query,gallery}/
          case2_ground_to_aerial/{query,gallery}/
          attributes/train.csv
          attributes/case1_aerial_to_ground/{query,gallery}.csv
          attributes/case2_ground_to_aerial/{query,gallery}.csv

    The full version and the challenge's copy have this tree, these names and the 15 attributes, so one class reads
    both. The full version was recorded on 20 days, with changes of clothing; ``Tracklet.day`` keeps the days apart.
    Statistics of both are in docs/datasets.md; ``published`` describes the challenge's copy.

    In the challenge's copy the test identities are masked: the same folder number on the query and the gallery side
    is not the same person. Such a copy can be ranked and submitted, but not scored.

    Attributes and arguments: see ``datasets.Benchmark``. The cases are 'case1', aerial to ground, and 'case2',
    ground to aerial; one of them may be absent. Of the options, ``protocol`` ('cross-camera' unless chosen) and
    ``index_dir`` apply.

    Raises:
        FileNotFoundError: If the root or a required split is missing.
        ValueError: If a split, identity or tracklet is empty, an identity folder is not named by a number, a frame name
            is outside the grammar, or the frames of a tracklet come from several cameras.
    """

    scheme: AttributeScheme | None = AGVPREID_SCHEME
    layout: FolderLayout | None = LAYOUT
    published = PUBLISHED

    def __init__(self, root: str | Path, with_train: bool = True, options: DatasetOptions = DEFAULT_OPTIONS) -> None:
        self.root = find_root(root, LAYOUT.title)
        self.train: tuple[Tracklet, ...] = ()
        self.cases: dict[str, Case] = {}
        if with_train:
            self.train = read_train(self.root, options.index_dir)
        for key, layout in LAYOUT.find_cases(self.root).items():
            self.cases[key] = self._read_case(layout, options)

    def _read_case(self, layout: CaseLayout, options: DatasetOptions) -> Case:
        views = (layout.query_view, layout.gallery_view)
        splits = [f"{layout.folder}/{side}" for side in ("query", "gallery")]
        indices = [LAYOUT.open_index(self.root, split, options.index_dir) for split in splits]
        names = ([tracklet.name for tracklet in index.tracklets()] for index in indices)
        masked = are_masked(dict(zip(views, names, strict=True)))
        if masked:
            logger.info("%s: identities are masked: this copy can be ranked, but not scored.", layout.folder)
        query, gallery = (
            _read_split(split, index, _read_table(self.root, split), view, masked)
            for split, index, view in zip(splits, indices, views, strict=True)
        )
        return Case(
            layout.folder,
            layout.title,
            query,
            gallery,
            options.choose_protocol(),
            self.scheme,
            identities_masked=masked or options.identities_masked,
        )


def _read_table(root: Path, split: str) -> dict[int, tuple[int, ...]] | None:
    """Read the attribute table of a split; None if there is none. A link that leads nowhere is an error."""
    path = LAYOUT.attribute_table(root, split)
    if LAYOUT.has_attribute_table(root, split):
        return read_attributes(path)
    logger.info("%s: no attribute table %s.", split, path)
    return None


def _read_split(
    split: str,
    index: FrameIndex,
    table: dict[int, tuple[int, ...]] | None,
    view: str | None = None,
    masked: bool = False,
) -> tuple[Tracklet, ...]:
    """Make the records of a split.

    Args:
        split: Name of the split, for messages.
        index: Its frames, with the values of ``parse_tracklet``.
        table: Attributes by pid; None when there is no table.
        view: The view that the split should hold; None for both.
        masked: Whether frame names outside the grammar are allowed; needs ``view``.
    """

    def make_tracklet(
        folder: TrackletFolder, paths: FramePaths, numbers: list[int], oddities: Counter[str]
    ) -> Tracklet:
        camid, altitude, day = numbers
        attributes = None if table is None else table.get(folder.pid, AGVPREID_SCHEME.unknown)
        if camid == UNKNOWN:
            if not masked or view is None:
                raise _bad_frame_name(next(path for path in paths if not _FRAME_NAME.fullmatch(os.path.basename(path))))
            oddities["have frame names outside the grammar: their camera is unknown"] += 1
            return Tracklet(folder.name, paths, folder.pid, UNKNOWN, view, None, attributes)
        seen_from = VIEW_OF_CAMERA[camid]
        count_wrong_view(seen_from, view, oddities)
        if seen_from == "aerial" and altitude == UNKNOWN:
            oddities["have an altitude level that is not in A0-A3 or changes: their altitude is unknown"] += 1
        return Tracklet(
            folder.name,
            paths,
            folder.pid,
            camid,
            seen_from,
            none_if_unknown(altitude),
            attributes,
            none_if_unknown(day),
        )

    tracklets = make_folder_tracklets(split, index, make_tracklet)
    pids = {tracklet.pid for tracklet in tracklets}
    if table is not None and (missing := pids - table.keys()):
        logger.warning(
            "%s: %d of %d identities are missing from the attribute table: all their attributes are unknown.",
            split,
            len(missing),
            len(pids),
        )
    return tracklets


def _bad_frame_name(name: str) -> ValueError:
    return ValueError(f"{name}: expected a frame name like P81T2310171A2C2E152K7F7528.jpg (DATASETS.NAMES agvpreid).")
