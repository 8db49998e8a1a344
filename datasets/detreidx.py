"""DetReIDX (VReID-XFD): people seen from drones at extreme distances, and from the ground."""

import logging
import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from datasets.options import DEFAULT_OPTIONS, DatasetOptions
from datasets.reading import (
    AERIAL_TO_GROUND,
    GROUND_TO_AERIAL,
    CaseLayout,
    TrackletFolder,
    join_sorted,
    last_integer,
    list_images,
    list_tracklet_folders,
    log_counts,
    missing,
)
from datasets.tracklet import Case, Tracklet
from utils.metrics import VREID_XFD

logger = logging.getLogger(__name__)

_TITLE = "DetReIDX (VReID-XFD)"
GROUND_CAMERA = 0
# Names with fewer fields are from the ground; names from the air have altitude, distance and angle at these places.
MIN_AERIAL_FIELDS = 8
_ALTITUDE, _DISTANCE, _ANGLE = 6, 7, 8
NUM_ATTRIBUTES = 10
# Codes of this data set where we know them. They are NOT those of datasets.attributes: 'ethnicity' 0 is Indian here and
# White there, and 'unknown' is -1 in every column. Which place in the name is which attribute is not known to us.
UNKNOWN_CODE = -1
CODES = {"gender": {2: "other"}, "ethnicity": {0: "Indian", 1: "Black", 2: "Turkish White", 3: "White"}}

_SESSION = re.compile(r"[Ss]?(\d+)", re.ASCII)
_MARKED_SESSION = re.compile(r"[Ss](\d+)", re.ASCII)
_FRAME = re.compile(r"[Ff]?(\d+)", re.ASCII)


_CASES = {
    "case1": AERIAL_TO_GROUND,
    "case2": GROUND_TO_AERIAL,
    "case3": CaseLayout("case3_aerial_to_aerial", "aerial to aerial", "aerial", "aerial"),
}


class FrameName(NamedTuple):
    """What the file name of a frame says.

    Attributes:
        camid: 0 on the ground, else the recording session, from 1.
        altitude: Metres; None on the ground, as the next two.
        distance: Metres along the ground.
        angle: Degrees.
        frame: Number within the tracklet: the last integer of the name.
        attributes: Raw codes in the order of the name; None where the ten fields are not integers.
    """

    camid: int
    altitude: int | None
    distance: int | None
    angle: int | None
    frame: int
    attributes: tuple[int, ...] | None


def parse_frame_name(name: str) -> FrameName:
    """Read a frame's name.

    A name from the air is::

        PID_DD_MM_YYYY_HH_MM_altitude_distance_angle[_location]_{10 attributes}_action_scene_session[_frame]

    where the session is ``S1`` or, before a frame number, also ``1``. A name with fewer than eight fields is from the
    ground.

    Raises:
        ValueError: If a name from the air lacks an integer altitude, distance or angle, or a session from 1.
    """
    stem = os.path.splitext(name)[0]
    fields = stem.split("_")
    frame = last_integer(name)
    if len(fields) < MIN_AERIAL_FIELDS:
        return FrameName(GROUND_CAMERA, None, None, None, frame, None)
    measures = fields[_ALTITUDE : _ANGLE + 1]
    if len(measures) < 3 or not all(re.fullmatch(r"\d+", text, re.ASCII) for text in measures):
        raise ValueError(f"{name}: expected integers as fields 7 to 9 (altitude, distance, angle), got {measures}.")
    end, session = _find_session(name, fields)
    codes = fields[_ANGLE + 1 : end - 2][-NUM_ATTRIBUTES:]  # action and scene stand between them and the session
    known = len(codes) == NUM_ATTRIBUTES and all(re.fullmatch(r"-?\d+", code, re.ASCII) for code in codes)
    altitude, distance, angle = map(int, measures)
    return FrameName(session, altitude, distance, angle, frame, tuple(map(int, codes)) if known else None)


def _find_session(name: str, fields: list[str]) -> tuple[int, int]:
    """Index and value of the session: the last field if it is marked with S, else the one before a frame number."""
    rest = fields[_ANGLE + 1 :]
    if rest and (match := _MARKED_SESSION.fullmatch(rest[-1])):
        index = len(fields) - 1
    elif len(rest) > 1 and _FRAME.fullmatch(rest[-1]) and (match := _SESSION.fullmatch(rest[-2])):
        index = len(fields) - 2
    else:
        raise ValueError(f"{name}: expected the session as last field (S1), or before a last field that is a number.")
    session = int(match[1])
    if session < 1:
        raise ValueError(f"{name}: the session must be at least 1, got {session}.")
    return index, session


class DetReIDX:
    """DetReIDX in the form of the VReID-XFD challenge, for matching people between far drones and the ground.

    Reference:
        Hambarde et al., "DetReIDX: A Stress-Test Dataset for Real-World UAV-Based Person Recognition", 2025.
    URL:
        https://github.com/kailashhambarde/DetReIDX and https://github.com/VReID-XFD/VReID-XFD

    Expected tree, each split being ``{identity}/{tracklet}/{frame}.jpg``; see ``parse_frame_name`` for the names::

        root/
          train/
          case1_aerial_to_ground/{query,gallery}/
          case2_ground_to_aerial/{query,gallery}/
          case3_aerial_to_aerial/{query,gallery}/

    Statistics: three cameras (0 on the ground, the drone's sessions 1 and 2), 16 soft-biometric labels, of which ten
    stand in the names. The sizes of the splits are not known to us and not compared.

    The labels in the names have codes of their own (``CODES``), so ``Tracklet.attributes``, which are AG-VPReID's, stay
    None, and the soft-biometric mask never sees them.

    The protocol is 'vreid-xfd' unless chosen. The challenge's two scoring files disagree on average precision; this is
    the one that reads the CSV, trapezoidal. Its filter compares the numbers in tracklet names instead of cameras, so
    the query's camera stays in the gallery; 'cross-camera' would leave out a person's tracklets of the same session.

    Attributes and arguments: see ``datasets.agvpreid.AGVPReID``; ``cases`` has up to three.

    Raises:
        FileNotFoundError: If the root or a required split is missing.
        ValueError: On an empty split, identity or tracklet, a folder that is not an identity number, a frame name
            outside the grammar, or frames of several cameras in one tracklet.
    """

    def __init__(self, root: str | Path, need_train: bool = True, options: DatasetOptions = DEFAULT_OPTIONS) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise missing(self.root, _TITLE)
        self.train: tuple[Tracklet, ...] = ()
        self.cases: dict[str, Case] = {}
        self.identities_masked = False
        protocol = options.choose_protocol(VREID_XFD.name)

        if need_train or (self.root / "train").is_dir():
            self.train = self._read_split("train")
        present = {key: layout for key, layout in _CASES.items() if (self.root / layout.folder).is_dir()}
        if not present:
            raise missing(self.root / _CASES["case1"].folder, _TITLE)
        for key in _CASES.keys() - present.keys():
            logger.info("%s: no folder %s: this direction is left out.", self.root, _CASES[key].folder)
        for key, layout in present.items():
            query = self._read_split(f"{layout.folder}/query", layout.query_view)
            gallery = self._read_split(f"{layout.folder}/gallery", layout.gallery_view)
            if both := len({t.key for t in query} & {t.key for t in gallery}):
                logger.warning(
                    "%s: %d of %d queries have the identity and name of a gallery tracklet: they may find themselves.",
                    layout.folder,
                    both,
                    len(query),
                )
            self.cases[key] = Case(layout.folder, layout.title, query, gallery, protocol)
        self.attributes_available = dict.fromkeys(["train", *self.cases], False)

    def _read_split(self, split: str, view: str | None = None) -> tuple[Tracklet, ...]:
        oddities: Counter[str] = Counter()
        folders = list_tracklet_folders(self.root / split, _TITLE)
        tracklets = tuple(_read_tracklet(folder, view, oddities) for folder in folders)
        for text, num_tracklets in sorted(oddities.items()):
            logger.warning("%s: %d of %d tracklets %s.", split, num_tracklets, len(tracklets), text)
        log_counts(split, tracklets)
        return tracklets


def _read_tracklet(folder: TrackletFolder, view: str | None, oddities: Counter[str]) -> Tracklet:
    names = list_images(folder.path)
    try:
        frames = [parse_frame_name(name) for name in names]
    except ValueError as error:
        raise ValueError(f"{folder.path}: {error}") from error
    cameras = {frame.camid for frame in frames}
    if len(cameras) > 1:
        raise ValueError(f"{folder.path}: the frames come from several cameras, {sorted(cameras)}.")
    camid = cameras.pop()
    seen_from = "ground" if camid == GROUND_CAMERA else "aerial"
    if view is not None and seen_from != view:
        oddities[f"are from the {'air' if seen_from == 'aerial' else 'ground'} on the {view} side"] += 1
    altitudes = {frame.altitude for frame in frames}
    if len(altitudes) > 1:
        oddities["change their altitude: it is unknown"] += 1
    altitude = altitudes.pop() if len(altitudes) == 1 else None
    paths = join_sorted(folder.path, zip((frame.frame for frame in frames), names, strict=True))
    return Tracklet(folder.name, paths, folder.pid, camid, seen_from, altitude)
