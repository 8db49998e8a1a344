"""What a data check finds: levels, the table of all checks, and the records that hold the findings."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from utils.unknown import UNKNOWN

from ..readers.counts import PublishedCounts
from ..readers.listing import printable

BLOCKING, WARNING, REMARK = "blocking", "warning", "remark"
LEVELS = (BLOCKING, WARNING, REMARK)
FRAME_FAULTS = ("missing frame", "empty frame", "unreadable frame")  # checks that say a frame cannot be used

# Every check: the level of its findings, and what a finding means.
CHECKS: dict[str, tuple[str, str]] = {
    "missing folder": (BLOCKING, "the data set cannot be read without it"),
    "unreachable folder": (BLOCKING, "it cannot be listed"),
    "unusable entry": (BLOCKING, "it is not the folder or regular file that is expected there, nor a link to one"),
    "identity folder": (BLOCKING, "an identity is a folder named by its own number, which holds tracklet folders"),
    "tracklet name": (BLOCKING, "ranking files separate names by spaces, in UTF-8"),
    "empty folder": (BLOCKING, "the loader refuses a tracklet without frames"),
    "frame name": (BLOCKING, "it does not follow the naming scheme of the data set in DATASETS.NAMES"),
    "several cameras": (BLOCKING, "the frames of a tracklet must come from one camera"),
    "unknown camera": (BLOCKING, "the data set has no camera with this number"),
    "no readable frame": (BLOCKING, "training stops when it draws this tracklet"),
    "too many bad frames": (BLOCKING, "training would stop: repair the copy, or raise DATALOADER.MAX_BAD_FRACTION"),
    "attribute table": (BLOCKING, "the loader cannot read it"),
    "loader": (BLOCKING, "the loader refuses the data set with this message"),
    "worker": (BLOCKING, "a decoding process died: memory ran out, or a file crashed the decoder"),
    "batches": (BLOCKING, "the config's batches of P identities with K tracklets each cannot be drawn"),
    "missing frame": (WARNING, "it is listed but does not exist; the nearest readable frame replaces it"),
    "empty frame": (WARNING, "the file has 0 bytes; the nearest readable frame replaces it"),
    "unreadable frame": (WARNING, "it cannot be decoded completely; the nearest readable frame replaces it"),
    "probably too many bad frames": (
        WARNING,
        "estimated from the sample; training stops above DATALOADER.MAX_BAD_FRACTION",
    ),
    "repeated frame": (WARNING, "two files of a tracklet have the same bytes"),
    "frame of two people": (WARNING, "files of two identities have the same bytes"),
    "people in train and test": (WARNING, "scores do not show how well the model handles new people"),
    "attribute code": (WARNING, "the code is not in the table of codes and is read as unknown"),
    "people without attributes": (WARNING, "all their attributes are read as unknown"),
    "other view": (WARNING, "the tracklet is on the wrong side of its case"),
    "altitude": (WARNING, "an aerial tracklet without exactly one known altitude: its altitude is read as unknown"),
    "query without match": (WARNING, "the gallery has no tracklet that counts as a match under the protocol"),
    "query in its gallery": (
        WARNING,
        "the gallery has a tracklet of its identity and name: the query may find itself",
    ),
    "short tracklet": (WARNING, "it has fewer frames than INPUT.SEQ_LEN: frames repeat in every clip"),
    "one tracklet": (WARNING, "this training identity has no second tracklet to match"),
    "one view": (WARNING, "this training identity was seen only from the ground, or only from the air"),
    "camera only in test": (WARNING, "training has no tracklet of this camera: it gets no camera embedding"),
    "masked identities": (REMARK, "this copy can be ranked and submitted, but not scored"),
    "masked frame name": (REMARK, "it does not follow the naming scheme, as masked copies may: its camera is unknown"),
    "few tracklets": (REMARK, "fewer tracklets than DATALOADER.NUM_INSTANCE: they repeat in a batch"),
    "missing direction": (REMARK, "this case is left out of evaluation"),
    "no attribute table": (REMARK, "only visual results are reported for it"),
    "stray file": (REMARK, "it is ignored"),
    "published counts": (REMARK, "copies differ; docs/datasets.md says which copy was counted"),
    "loader's remark": (REMARK, "the loader logs this warning"),
}


class Problem(NamedTuple):
    """One finding.

    Attributes:
        check: A key of ``CHECKS``.
        text: The place, usually a path, and details where the check does not say everything.
    """

    check: str
    text: str


@dataclass(slots=True)
class FrameResults:
    """What was found in the frames of a tracklet.

    Attributes:
        problems: Frames that are missing, empty, unreadable or repeated.
        digests: Of the files that were decoded, (N,), uint64.
        indices: Which frames these are, (N,), int64.
        seconds: Time that decoding them took.
    """

    problems: list[Problem] = field(default_factory=list)
    digests: np.ndarray = field(default_factory=partial(np.empty, 0, np.uint64))
    indices: np.ndarray = field(default_factory=partial(np.empty, 0, np.int64))
    seconds: float = 0.0


@dataclass(slots=True)
class ExaminedTracklet:
    """One tracklet, examined.

    Attributes:
        split: Such as 'train' or 'case1_aerial_to_ground/query'.
        pid: Identity as annotated.
        name: Name of the tracklet.
        num_frames: Images, readable or not.
        camid: Camera; -1 when unknown or ambiguous.
        view: 'ground' or 'aerial'; None when unknown.
        altitude: Metres; None when unknown, and for ground cameras.
        day: YYMMDD; None when unknown.
        problems: Everything that is wrong with it, problems of its frames included.
        frames: What was found in its frames.
        source: Folder whose images, sorted by name, ``frames.indices`` count; or the paths that they count.
    """

    split: str
    pid: int
    name: str
    num_frames: int = 0
    camid: int = UNKNOWN
    view: str | None = None
    altitude: int | None = None
    day: int | None = None
    problems: list[Problem] = field(default_factory=list)
    frames: FrameResults = field(default_factory=FrameResults)
    source: str | Sequence[str] = ()

    @property
    def case(self) -> str:
        """Name of the matching direction it belongs to; 'train' for none."""
        return self.split.split("/")[0]


@dataclass(frozen=True)
class AttributeCounts:
    """What is known of the attributes of a split.

    Attributes:
        rows: Rows of its attribute table; where there is no table, tracklets that have attributes.
        people: Identities that have attributes.
        people_with_known_code: How many of them have a known code, by column.
    """

    rows: int
    people: int
    people_with_known_code: dict[str, int]


@dataclass(frozen=True)
class EpochEstimate:
    """How long decoding takes, and what that was computed from.

    Attributes:
        frames_decoded: Frames that were timed.
        frames_per_second_per_core: Measured.
        workers: Processes that will decode in training.
        cores: Of this machine.
        batches_per_epoch: As training draws them.
        frames_per_epoch: Frames of these batches.
        epoch_seconds: Decoding time of an epoch, if every worker has a core.
        memory_frames: All training frames, which CLIP memory reads once.
        memory_seconds: Decoding time of these.
    """

    frames_decoded: int
    frames_per_second_per_core: float
    workers: int
    cores: int
    batches_per_epoch: int
    frames_per_epoch: int
    epoch_seconds: float
    memory_frames: int
    memory_seconds: float


@dataclass
class Report:
    """Everything that was found in a copy of a data set.

    Attributes:
        dataset: DATASETS.NAMES.
        root: DATASETS.ROOT_DIR.
        findings: Texts by check, a key of ``CHECKS``.
        tracklets: Those examined, in the order of the splits.
        attributes: By split, for those that have attributes.
        published: Published counts of the data set.
        not_checked: What was left out, in words.
        epoch: Estimated decoding times; None when not known.
        complete: Whether the check ran to its end.
    """

    dataset: str
    root: str
    findings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tracklets: list[ExaminedTracklet] = field(default_factory=list)
    attributes: dict[str, AttributeCounts] = field(default_factory=dict)
    published: PublishedCounts = PublishedCounts()
    not_checked: list[str] = field(default_factory=list)
    epoch: EpochEstimate | None = None
    complete: bool = True

    def add(self, check: str, *texts: str) -> None:
        """Note findings of a check; what cannot be printed in a text, as in odd file names, is escaped."""
        if texts:
            self.findings[check] += map(printable, texts)

    def of_level(self, level: str) -> dict[str, list[str]]:
        """Return the findings of a level, in the order of ``CHECKS``."""
        return {check: self.findings[check] for check in CHECKS if CHECKS[check][0] == level and check in self.findings}

    @property
    def can_train(self) -> bool | None:
        """Whether training can start; None when an interrupted check found nothing that prevents it."""
        if self.of_level(BLOCKING):
            return False
        return True if self.complete else None

    @property
    def masked_cases(self) -> Sequence[str]:
        """Names of the cases in which query and gallery number their people independently."""
        return self.findings.get("masked identities", ())

    def splits(self) -> dict[str, list[ExaminedTracklet]]:
        """Group the tracklets by split, in the order found."""
        splits: dict[str, list[ExaminedTracklet]] = {}
        for tracklet in self.tracklets:
            splits.setdefault(tracklet.split, []).append(tracklet)
        return splits
