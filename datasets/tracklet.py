"""Records: a tracklet, a matching direction, a data set that was read, and the options of reading it."""

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


@dataclass(frozen=True)
class DataSet:
    """A data set that has been read from disk."""

    title: str
    train: tuple[Tracklet, ...]  # in a fixed order; empty if they were not read
    cases: dict[str, Case]  # the matching directions that the copy holds, by key, in order ('case1', 'case2', ...)
    scheme: AttributeScheme | None = None  # of its attributes; None if it has none
    # Published counts, by name: '{split} identities', '{split} tracklets', or a key of ``counts``. Copies differ, so a
    # difference is never an error.
    published: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)  # beyond those of splits, to compare with published ones
    camera_words: Mapping[int, str] = field(default_factory=dict)  # what a user's table calls the cameras, by camid
    validation: dict[str, Case] = field(default_factory=dict)  # of held-out people, by the keys of ``cases``

    def splits(self) -> dict[str, tuple[Tracklet, ...]]:
        """Return the tracklets of 'train', unless they were not read, and of '{case}/query' and '{case}/gallery'."""
        splits = {"train": self.train} if self.train else {}
        for case in (*self.cases.values(), *self.validation.values()):
            splits |= {f"{case.name}/query": case.query, f"{case.name}/gallery": case.gallery}
        return splits


@dataclass(frozen=True)
class DatasetOptions:
    """Choices of reading. Every reader takes all of them and uses those that apply to it."""

    with_train: bool = True  # if not, the folder, tables and lists of the training data are never touched
    protocol: str = ""  # that scores, of ``utils.metrics.PROTOCOLS``; '' for the data set's own
    split: int = 1  # number of the division into training and test people, from 1 (iLIDS-VID)
    train_half: str = "second"  # half of such a division that trains, or 'first' (iLIDS-VID)
    aerial_camera: int = 0  # number of the aerial camera; 0 to infer it (G2A-VReID)
    identities_masked: bool = False  # whether each side numbers the test people anew, though names do not show it
    index_dir: str = ""  # for frame indices; '' for the user's cache folder (AG-VPReID, DetReIDX)
    table: str = "tracklets.csv"  # of the tracklets, relative to the root (own data)


DEFAULT_OPTIONS = DatasetOptions()


def label_map(values: Iterable[int]) -> dict[int, int]:
    """Number the distinct training pids, or camids, from 0 in ascending order."""
    return {value: label for label, value in enumerate(sorted(set(values)))}
