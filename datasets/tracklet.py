"""The records that every data set returns: tracklets, and the matching directions made of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from utils.metrics import CROSS_CAMERA

from .attributes import AttributeScheme

VIEWS = ("ground", "aerial")
# The formats of ranking files that the challenges AG-VPReID 2025 and VReID-XFD ask for.
AGVPREID_RANKING, VREID_XFD_RANKING = "agvpreid", "vreid-xfd"


@dataclass(frozen=True, slots=True)
class Tracklet:
    """All frames of one pass of one person through one camera.

    Attributes:
        name: Name of the tracklet, such as its folder's; without spaces.
        frame_paths: Paths of the frames in time order; at least one. Large data sets make them on demand
            (``datasets.readers.manifest``).
        pid: Identity as annotated.
        camid: Camera as annotated; -1 if unknown.
        view: 'ground' or 'aerial'; always 'ground' in data sets with ground cameras only.
        altitude: Metres above ground; None if unknown, and for ground cameras.
        attributes: Codes in the data set's own scheme (``Case.scheme``); None if the split has no attributes.
        day: Day of the recording, YYMMDD; None if unknown.
    """

    name: str
    frame_paths: Sequence[str]
    pid: int
    camid: int
    view: str
    altitude: int | None
    attributes: tuple[int, ...] | None = None
    day: int | None = None

    @property
    def key(self) -> str:
        """The pid and the name, which are unique within a split; names alone may repeat between identities."""
        return f"{self.pid}/{self.name}"

    @property
    def middle_frame(self) -> str:
        """The path of the frame in the middle, which stands for the tracklet in pictures."""
        return self.frame_paths[len(self.frame_paths) // 2]


@dataclass(frozen=True, slots=True)
class Case:
    """One matching direction of a benchmark.

    Attributes:
        name: Name of the folder for its results, such as 'case1_aerial_to_ground'.
        title: Title for tables and logs, such as 'aerial to ground'.
        query: Tracklets to search for.
        gallery: Tracklets to rank.
        protocol: Name of the protocol that scores the ranking, of ``utils.metrics.PROTOCOLS``.
        scheme: Columns and unknown codes of the tracklets' attributes; None if the data set has none.
        ranking_form: Format of ranking files, ``AGVPREID_RANKING`` or ``VREID_XFD_RANKING``.
        identities_masked: Whether one number on the query and the gallery side is not one person, as in a challenge's
            copy: such a case can be ranked, but not scored.
    """

    name: str
    title: str
    query: tuple[Tracklet, ...]
    gallery: tuple[Tracklet, ...]
    protocol: str = CROSS_CAMERA.name
    scheme: AttributeScheme | None = None
    ranking_form: str = AGVPREID_RANKING
    identities_masked: bool = False


def label_map(values: Iterable[int]) -> dict[int, int]:
    """Number the distinct training pids, or camids, from 0 in ascending order."""
    return {value: label for label, value in enumerate(sorted(set(values)))}
