"""DetReIDX (VReID-XFD): people seen from drones at extreme distances, and from the ground."""

import logging
import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from utils.metrics import VREID_XFD
from utils.mistake import Mistake
from utils.unknown import UNKNOWN

from ..attributes import AttributeScheme
from ..tracklet import VREID_XFD_RANKING, Case, Tracklet
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
from .manifest import FramePaths

logger = logging.getLogger(__name__)

GROUND_CAMERA = 0
# Names with fewer fields are from the ground; names from the air have altitude, distance and angle at these indices.
MIN_AERIAL_FIELDS = 8
_ALTITUDE, _DISTANCE, _ANGLE = 6, 7, 8
NUM_ATTRIBUTES = 10
# The codes in the names are NOT those of datasets.attributes: ethnicity 0 is Indian here and White there, gender 2 is
# 'other' here and 'unknown' there, and 'unknown' is -1 in every column. Our sources do not say which of the ten fields
# is which attribute, so columns are named by their position.
SCHEME = AttributeScheme(
    tuple(f"attribute{place}" for place in range(1, NUM_ATTRIBUTES + 1)), (UNKNOWN,) * NUM_ATTRIBUTES
)

_MEASURE = re.compile(r"\d{1,6}", re.ASCII)
_CODE = re.compile(r"-?\d{1,6}", re.ASCII)
_DATE = re.compile(r"(\d{2})_(\d{2})_(\d{4})", re.ASCII)
_SESSION = re.compile(r"[Ss]?(\d{1,6})", re.ASCII)
_MARKED_SESSION = re.compile(r"[Ss](\d{1,6})", re.ASCII)
_FRAME = re.compile(r"[Ff]?(\d+)", re.ASCII)


class FrameName(NamedTuple):
    """The fields of a frame's file name.

    Attributes:
        camid: 0 on the ground, else the recording session, from 1.
        altitude: Metres; None on the ground.
        distance: Metres along the ground; None on the ground.
        angle: Degrees; None on the ground.
        frame: Number within the tracklet: the last integer of the name.
        attributes: Raw codes in the order of the name; None if the ten fields are not integers.
        day: YYMMDD; None on the ground.
    """

    camid: int
    altitude: int | None
    distance: int | None
    angle: int | None
    frame: int
    attributes: tuple[int, ...] | None
    day: int | None


def parse_frame_name(name: str) -> FrameName:
    """Read a frame's name.

    A name from the air is::

        PID_DD_MM_YYYY_HH_MM_altitude_distance_angle[_location]_{10 attributes}_action_scene_session[_frame]

    where the session is ``S1`` or, before a frame number, also ``1``. A name with fewer than eight fields is from the
    ground.

    Raises:
        ValueError: If a name from the air lacks a date, an integer altitude, distance or angle, or a session from 1.
    """
    stem = os.path.splitext(name)[0]
    fields = stem.split("_")
    frame = last_integer(name)
    if len(fields) < MIN_AERIAL_FIELDS:
        return FrameName(GROUND_CAMERA, None, None, None, frame, None, None)
    measures = fields[_ALTITUDE : _ANGLE + 1]
    if len(measures) < 3 or not all(map(_MEASURE.fullmatch, measures)):
        raise Mistake(f"{name}: expected integers as fields 7 to 9 (altitude, distance, angle), got {measures}.")
    altitude, distance, angle = map(int, measures)
    end, session = _find_session(name, fields)
    codes = fields[_ANGLE + 1 : end - 2][-NUM_ATTRIBUTES:]  # action and scene stand between them and the session
    attributes = None
    if len(codes) == NUM_ATTRIBUTES and all(map(_CODE.fullmatch, codes)):
        attributes = tuple(map(int, codes))
    if (date := _DATE.fullmatch("_".join(fields[1:4]))) is None:
        raise Mistake(f"{name}: expected a date, DD_MM_YYYY, as fields 2 to 4, got {fields[1:4]}.")
    day, month, year = date.groups()
    return FrameName(session, altitude, distance, angle, frame, attributes, int(year[2:] + month + day))


def _find_session(name: str, fields: list[str]) -> tuple[int, int]:
    """Return index and value of the session: the last field if it begins with S, else the one before a frame number."""
    rest = fields[_ANGLE + 1 :]
    if rest and (match := _MARKED_SESSION.fullmatch(rest[-1])):
        index = len(fields) - 1
    elif len(rest) > 1 and _FRAME.fullmatch(rest[-1]) and (match := _SESSION.fullmatch(rest[-2])):
        index = len(fields) - 2
    else:
        raise Mistake(f"{name}: expected the session as last field (S1), or before a last field that is a number.")
    session = int(match[1])
    if session < 1:
        raise Mistake(f"{name}: the session must be at least 1, got {session}.")
    return index, session


def parse_sighting(name: str) -> Sighting:
    """Read camera, view, altitude and day from the name of a frame; ValueError as ``parse_frame_name``."""
    frame = parse_frame_name(name)
    return Sighting(frame.camid, _view(frame.camid), frame.altitude, frame.day)


def parse_tracklet(folder: TrackletFolder, names: list[str]) -> tuple[list[str], tuple[int, ...]]:
    """Put the frames of a tracklet in order and check that they belong together.

    Args:
        folder: The tracklet.
        names: File names of its images.
    Returns:
        The names, sorted by frame number, then name; and the camera, the altitude in metres, the day (YYMMDD) and the
        ten attribute codes. All but the camera are ``UNKNOWN`` on the ground, or if they change.
    Raises:
        ValueError: If a name is outside the grammar, or if the frames come from several cameras.
    """
    try:
        frames = [parse_frame_name(name) for name in names]
    except ValueError as error:
        raise Mistake(f"{folder.path}: {error}") from error
    cameras = {frame.camid for frame in frames}
    if len(cameras) > 1:
        raise Mistake(f"{folder.path}: the frames come from several cameras, {sorted(cameras)}.")
    labels = {frame.attributes for frame in frames}
    codes = labels.pop() if len(labels) == 1 else None
    ordered = sorted(zip((frame.frame for frame in frames), names, strict=True))
    altitude, day = shared_value(frame.altitude for frame in frames), shared_value(frame.day for frame in frames)
    return [name for _, name in ordered], (cameras.pop(), altitude, day, *(codes or SCHEME.unknown))


def _view(camid: int) -> str:
    return "ground" if camid == GROUND_CAMERA else "aerial"


LAYOUT = FolderLayout(
    title="DetReIDX (VReID-XFD)",
    cases={
        "case1": AERIAL_TO_GROUND,
        "case2": GROUND_TO_AERIAL,
        "case3": CaseLayout("case3_aerial_to_aerial", "aerial to aerial", "aerial", "aerial"),
    },
    parse_sighting=parse_sighting,
    parse_tracklet=parse_tracklet,
    parser_version="detreidx 1",
)


class DetReIDX:
    """DetReIDX in the form of the VReID-XFD challenge, for matching people between far drones and the ground.

    Reference:
        Hambarde et al., "DetReIDX: A Stress-Test Dataset for Real-World UAV-Based Person Recognition", 2025.
    URL:
        https://github.com/kailashhambarde/DetReIDX and https://github.com/VReID-XFD/VReID-XFD

    Expected tree, each split being ``{identity}/{tracklet}/{frame}.jpg``. Frames from the air are named
    ``PID_DD_MM_YYYY_HH_MM_altitude_distance_angle[_location]_{10 attributes}_action_scene_session[_frame]``, those from
    the ground have fewer than eight fields (``parse_frame_name``)::

        root/
          train/
          case1_aerial_to_ground/{query,gallery}/
          case2_ground_to_aerial/{query,gallery}/
          case3_aerial_to_aerial/{query,gallery}/

    Cameras are numbered 0 on the ground, and 1 and 2 for the drone's sessions. Statistics are in docs/datasets.md; the
    sizes of the splits are not known to us and not compared.

    Ten soft-biometric labels stand in the names from the air. Their codes are this data set's own: unknown is -1;
    ethnicity is 0 Indian, 1 Black, 2 Turkish White, 3 White; gender 2 is 'other'. They become ``Tracklet.attributes``
    in the columns 'attribute1' to 'attribute10', named by position, because our sources do not say which is which.
    TEST.MASK_ATTRIBUTES may name them. Names from the ground have no labels; a split in which no label is known has no
    attributes.

    The protocol is 'vreid-xfd' unless chosen. The challenge's two scoring files disagree on average precision; this is
    the trapezoidal one of the file that reads the CSV. Its filter compares the numbers in tracklet names instead of
    cameras, so tracklets from the query's camera stay in the gallery; 'cross-camera' would leave out those of the same
    person.

    Rankings are written in the challenge's form: case, query, ranked gallery. The names do not show whether a copy
    renumbers the test people on each side; set DATASETS.IDENTITIES_MASKED for such a copy.

    Attributes and arguments: see ``datasets.Benchmark``. The cases are 'case1', aerial to ground, 'case2',
    ground to aerial, and 'case3', aerial to aerial; some of them may be absent. Of the options, ``protocol`` and
    ``index_dir`` apply.

    Raises:
        FileNotFoundError: If the root or a required split is missing.
        ValueError: If a split, identity or tracklet is empty, an identity folder is not named by a number, a frame name
            is outside the grammar, or the frames of a tracklet come from several cameras.
    """

    scheme: AttributeScheme | None = SCHEME
    layout: FolderLayout | None = LAYOUT
    published = PublishedCounts()

    def __init__(self, root: str | Path, with_train: bool = True, options: DatasetOptions = DEFAULT_OPTIONS) -> None:
        self.root = find_root(root, LAYOUT.title)
        self.train: tuple[Tracklet, ...] = ()
        self.cases: dict[str, Case] = {}
        if with_train:
            self.train = _read_split(self.root, "train", None, options.index_dir)
        for key, layout in LAYOUT.find_cases(self.root).items():
            query = _read_split(self.root, f"{layout.folder}/query", layout.query_view, options.index_dir)
            gallery = _read_split(self.root, f"{layout.folder}/gallery", layout.gallery_view, options.index_dir)
            if not options.identities_masked and (both := len({t.key for t in query} & {t.key for t in gallery})):
                logger.warning(
                    "%s: %d of %d queries have the identity and name of a gallery tracklet: they may find themselves.",
                    layout.folder,
                    both,
                    len(query),
                )
            self.cases[key] = Case(
                layout.folder,
                layout.title,
                query,
                gallery,
                options.choose_protocol(VREID_XFD.name),
                self.scheme,
                VREID_XFD_RANKING,
                options.identities_masked,
            )


def _read_split(root: Path, split: str, view: str | None, index_dir: str | Path) -> tuple[Tracklet, ...]:
    """Make the records of a split; ``view`` is what it should hold, None for both."""
    index = LAYOUT.open_index(root, split, index_dir)
    has_codes = bool((index.values[:, -NUM_ATTRIBUTES:] != UNKNOWN).any())

    def make_tracklet(
        folder: TrackletFolder, paths: FramePaths, numbers: list[int], oddities: Counter[str]
    ) -> Tracklet:
        camid, altitude, day, *codes = numbers
        seen_from = _view(camid)
        count_wrong_view(seen_from, view, oddities)
        if seen_from == "aerial" and altitude == UNKNOWN:
            oddities["change their altitude: it is unknown"] += 1
        attributes = tuple(codes) if has_codes else None
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

    return make_folder_tracklets(split, index, make_tracklet)
