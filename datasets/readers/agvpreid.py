"""AG-VPReID: people seen from drones and by ground cameras.

Nguyen et al., "AG-VPReID: A Challenging Large-Scale Benchmark for Aerial-Ground Video-based Person Re-Identification",
CVPR 2025; challenge: arXiv 2506.22843; https://github.com/hieunguyen7337/AG-VPReID. Expected tree, each split being
``{identity}/{tracklet}/{frame}.jpg``::

    root/
      train/
      case1_aerial_to_ground/{query,gallery}/
      case2_ground_to_aerial/{query,gallery}/
      attributes/train.csv
      attributes/case1_aerial_to_ground/{query,gallery}.csv
      attributes/case2_ground_to_aerial/{query,gallery}.csv

The full version and the challenge's copy have this tree, these names and the 15 attributes. In the challenge's copy the
test identities are masked: the same folder number on the query and the gallery side is not the same person.
"""

import functools
import re
from dataclasses import replace
from pathlib import Path

from utils.mistake import Mistake
from utils.unknown import UNKNOWN

from ..attributes import AGVPREID_SCHEME
from ..problems import Problems
from ..tracklet import DataSet, DatasetOptions
from .case_folders import AERIAL_TO_GROUND, GROUND_TO_AERIAL, FolderLayout, Sighting, read_case_folders

# C0 and C1 are CCTV, C2 and C3 wearable cameras, C4 and C5 drones (AG-VPReID README).
VIEW_OF_CAMERA = {0: "ground", 1: "ground", 2: "ground", 3: "ground", 4: "aerial", 5: "aerial"}
# A2 and A3 by the authors' answer in AG-VPReID-Net issue 3; A0 and A1 follow from the paper's four altitudes.
METRES_OF_LEVEL = {0: 15, 1: 30, 2: 80, 3: 120}

_FRAME_NAME = re.compile(r"P(\d+)T(\d+)A(\d+)C(\d+)E(\d+)K(\d+)F(\d+)\.(?:jpg|jpeg|png)", re.ASCII | re.IGNORECASE)
# Names of test tracklets in the challenge's copy, which renumbers the identity folders on each side of a case.
_MASKED_NAMES = {
    "aerial": re.compile(r"tracklet_\d+", re.ASCII),
    "ground": re.compile(r"[a-z]{3}\d[a-z][A-Z]", re.ASCII),
}

# The challenge's copy, counted from its attribute tables, which hold fewer people than were published, and from its
# sample submission. That lists 4,416 tracklets of case 2's gallery, but there may be more, so they are not compared.
PUBLISHED = {
    "train identities": 689,
    "case1_aerial_to_ground/query identities": 645,
    "case1_aerial_to_ground/query tracklets": 3023,
    "case1_aerial_to_ground/gallery identities": 645,
    "case1_aerial_to_ground/gallery tracklets": 2751,
    "case2_ground_to_aerial/query identities": 645,
    "case2_ground_to_aerial/query tracklets": 2751,
    "case2_ground_to_aerial/gallery identities": 1309,
}
# The full version, counted from a third party's logs of a training on it.
PUBLISHED_FULL = {
    "train identities": 1604,
    "train tracklets": 13_300,
    "case1_aerial_to_ground/query identities": 1459,
    "case1_aerial_to_ground/query tracklets": 7320,
    "case1_aerial_to_ground/gallery tracklets": 6246,
    "case2_ground_to_aerial/query tracklets": 6246,
    "case2_ground_to_aerial/gallery tracklets": 12_775,
}


def parse_frame_name(name: str) -> Sighting:
    """Read a name such as ``P81T2310171A2C2E152K7F7528.jpg``.

    It states person (valid for that day only), time (YYMMDD and session), level of altitude (without meaning on the
    ground), camera, event, key point and frame number.
    """
    match = _FRAME_NAME.fullmatch(name)
    if match is None:
        raise Mistake(f"{name}: expected a frame name like P81T2310171A2C2E152K7F7528.jpg (DATASETS.NAMES agvpreid).")
    return _make_sighting(match[4], match[3], match[2][:-1])


@functools.lru_cache(4096)  # millions of names state few different facts
def _make_sighting(camera: str, level: str, date: str) -> Sighting:
    is_aerial = VIEW_OF_CAMERA.get(int(camera)) == "aerial"
    altitude = METRES_OF_LEVEL.get(int(level), UNKNOWN) if is_aerial else UNKNOWN
    return Sighting(int(camera), altitude, int(date) if len(date) == len("YYMMDD") else UNKNOWN)


LAYOUT = FolderLayout(
    title="AG-VPReID",
    cases={"case1": AERIAL_TO_GROUND, "case2": GROUND_TO_AERIAL},
    scheme=AGVPREID_SCHEME,
    parse=parse_frame_name,
    parser_version="agvpreid 3",
    view_of=VIEW_OF_CAMERA.get,
    table_folder="attributes",
    masked_names=_MASKED_NAMES,
)


def read_agvpreid(root: Path, options: DatasetOptions, problems: Problems) -> DataSet:
    """Read AG-VPReID: 'case1', aerial to ground, and 'case2', ground to aerial; it uses index_dir and with_train."""
    dataset = read_case_folders(LAYOUT, root, options, problems)
    sizes = {f"{case.name}/query tracklets": len(case.query) for case in dataset.cases.values()}
    versions = (PUBLISHED, PUBLISHED_FULL)
    nearer = min(versions, key=lambda version: sum(abs(version[name] - size) for name, size in sizes.items()))
    return replace(dataset, published=nearer)
