"""The records that every data set returns: tracklets, and the matching directions made of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from utils.metrics import CROSS_CAMERA
from utils.unknown import UNKNOWN

from .attributes import AttributeScheme

VIEWS = ("ground", "aerial")
# The formats of ranking files that the challenges AG-VPReID 2025 and VReID-XFD ask for.
AGVPREID_RANKING, VREID_XFD_RANKING = "agvpreid", "vreid-xfd"


@dataclass(frozen=True, slots=True)
class Tracklet:
    """All frames of one pass of one person through one camera."""

    name: str  # such as its folder's; without spaces
    frame_paths: Sequence[str]  # in time order, at least one; large data sets make them on demand (``manifest``)
    pid: int  # identity as annotated
    camid: int  # camera as annotated; -1 if unknown
    view: str  # 'ground' or 'aerial', '' if unknown; always 'ground' in data sets with ground cameras only
    altitude: int | None  # metres above ground; None if unknown, and for ground cameras
    attributes: tuple[int, ...] | None = None  # codes of ``Case.scheme``; None if the split has no attributes
    day: int | None = None  # of the recording, YYMMDD; None if unknown
    angle: int | None = None  # degrees by which the camera looks down; None if unknown, and for ground cameras
    # what a user's table calls the pid and the camid; '' where they are called by the numbers
    person_word: str = ""
    camera_word: str = ""

    @property
    def person(self) -> str | int:
        """What people are shown for the pid."""
        return self.person_word or self.pid

    @property
    def camera(self) -> str | int:
        """What people are shown for the camid; -1 if it is unknown."""
        return self.camera_word or self.camid

    @property
    def capture(self) -> list[int]:
        """How it was taken: the index of the view in ``VIEWS``, altitude and angle; -1 where unknown."""
        view = VIEWS.index(self.view) if self.view else UNKNOWN
        return [view, *(UNKNOWN if number is None else number for number in (self.altitude, self.angle))]

    @property
    def key(self) -> str:
        """The person and the name, which are unique within a split; names alone may repeat between identities."""
        return f"{self.person}/{self.name}"

    @property
    def middle_frame(self) -> str:
        """The path of the frame in the middle, which stands for the tracklet in pictures."""
        return self.frame_paths[len(self.frame_paths) // 2]


@dataclass(frozen=True, slots=True)
class Case:
    """One matching direction of a benchmark."""

    name: str  # of the folder for its results, such as 'case1_aerial_to_ground'
    title: str  # for tables and logs, such as 'aerial to ground'
    query: tuple[Tracklet, ...]  # to search for
    gallery: tuple[Tracklet, ...]  # to rank
    protocol: str = CROSS_CAMERA.name  # that scores the ranking, of ``utils.metrics.PROTOCOLS``
    scheme: AttributeScheme | None = None  # of the tracklets' attributes; None if the data set has none
    ranking_form: str = AGVPREID_RANKING  # format of ranking files, or ``VREID_XFD_RANKING``
    identities_masked: bool = False  # one number on both sides is not one person: it can be ranked, but not scored
    # what a user's table calls the codes of attributes, by column
    attribute_words: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


def label_map(values: Iterable[int]) -> dict[int, int]:
    """Number the distinct training pids, or camids, from 0 in ascending order."""
    return {value: label for label, value in enumerate(sorted(set(values)))}
