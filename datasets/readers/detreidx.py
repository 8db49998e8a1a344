"""DetReIDX, in the form of the VReID-XFD challenge: people seen from drones at extreme distances, and from the ground.

Hambarde et al., "DetReIDX: A Stress-Test Dataset for Real-World UAV-Based Person Recognition", 2025;
https://github.com/kailashhambarde/DetReIDX and https://github.com/VReID-XFD/VReID-XFD. Expected tree, each split being
``{identity}/{tracklet}/{frame}.jpg`` with names as ``parse_frame_name`` says::

    root/
      train/
      case1_aerial_to_ground/{query,gallery}/
      case2_ground_to_aerial/{query,gallery}/
      case3_aerial_to_aerial/{query,gallery}/

Cameras are numbered 0 on the ground, and 1 and 2 for the drone's sessions. Ten soft-biometric labels stand in the names
from the air; unknown is -1. Their columns, 'attribute1' to 'attribute10', are named by position, because our sources do
not say which is which. A split in which no label is known has no attributes.

The challenge's two scoring files disagree on average precision; the protocol 'vreid-xfd' is the trapezoidal one of the
file that reads the CSV. Its filter compares the numbers in tracklet names instead of cameras, so tracklets from the
query's camera stay in the gallery. The names do not show whether a copy renumbers the test people on each side; set
DATASETS.IDENTITIES_MASKED for such a copy.
"""

import os
import re
from pathlib import Path

from utils.metrics import VREID_XFD
from utils.mistake import Mistake
from utils.unknown import UNKNOWN

from ..attributes import AttributeScheme
from ..problems import Problems
from ..tracklet import VREID_XFD_RANKING, DataSet, DatasetOptions
from .case_folders import AERIAL_TO_GROUND, GROUND_TO_AERIAL, CaseLayout, FolderLayout, Sighting, read_case_folders

GROUND_CAMERA = 0
MIN_AERIAL_FIELDS = 8  # names with fewer fields are from the ground
# The codes in the names are NOT those of datasets.attributes, so the columns have names of their own.
NUM_ATTRIBUTES = 10
SCHEME = AttributeScheme(
    tuple(f"attribute{place}" for place in range(1, NUM_ATTRIBUTES + 1)), (UNKNOWN,) * NUM_ATTRIBUTES
)

_SESSION = r"(?=0*[1-9])\d{1,6}"
_AERIAL_NAME = re.compile(
    r"[^_]*_(?P<day>\d{2})_(?P<month>\d{2})_\d{2}(?P<year>\d{2})_[^_]*_[^_]*"  # person, date and time
    r"_(?P<altitude>\d{1,6})_\d{1,6}_(?P<angle>\d{1,6})"  # with the distance
    r"(?:_(?P<facts>.*?))?"  # location, attributes, action and scene
    rf"_(?:[Ss](?P<marked>{_SESSION})|[Ss]?(?P<session>{_SESSION})_[Ff]?\d+)",
    re.ASCII | re.DOTALL,
)
_CODE = re.compile(r"-?\d{1,6}", re.ASCII)


def parse_frame_name(name: str) -> Sighting:
    """Read a frame's name.

    A name from the air is::

        PID_DD_MM_YYYY_HH_MM_altitude_distance_angle[_location]_{10 attributes}_action_scene_session[_frame]

    where the session, from 1, is ``S1`` or, before a frame number, also ``1``. A name with fewer than eight fields is
    from the ground. Attributes that are not ten integers are unknown.
    """
    stem = os.path.splitext(name)[0]
    if stem.count("_") < MIN_AERIAL_FIELDS - 1:
        return Sighting(GROUND_CAMERA, codes=SCHEME.unknown)
    match = _AERIAL_NAME.fullmatch(stem)
    if match is None:
        raise Mistake(
            f"{name}: expected PID_DD_MM_YYYY_HH_MM_altitude_distance_angle, then the attributes, and the session as "
            "last field (S1), or before a last field that is a number."
        )
    codes = (match["facts"] or "").split("_")[:-2][-NUM_ATTRIBUTES:]  # action and scene stand behind them
    are_codes = len(codes) == NUM_ATTRIBUTES and all(map(_CODE.fullmatch, codes))
    return Sighting(
        int(match["marked"] or match["session"]),
        int(match["altitude"]),
        int(match["year"] + match["month"] + match["day"]),
        int(match["angle"]),
        tuple(map(int, codes)) if are_codes else SCHEME.unknown,
    )


LAYOUT = FolderLayout(
    title="DetReIDX (VReID-XFD)",
    cases={
        "case1": AERIAL_TO_GROUND,
        "case2": GROUND_TO_AERIAL,
        "case3": CaseLayout("case3_aerial_to_aerial", "aerial to aerial", "aerial", "aerial"),
    },
    scheme=SCHEME,
    parse=parse_frame_name,
    parser_version="detreidx 2",
    view_of=lambda camid: "ground" if camid == GROUND_CAMERA else "aerial" if camid > GROUND_CAMERA else None,
    protocol=VREID_XFD.name,
    ranking_form=VREID_XFD_RANKING,
)


def read_detreidx(root: Path, options: DatasetOptions, problems: Problems) -> DataSet:
    """Read DetReIDX: 'case1' to 'case3', aerial to ground, ground to aerial, and aerial to aerial."""
    return read_case_folders(LAYOUT, root, options, problems)
