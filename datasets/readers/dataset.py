"""A data set that has been read, the options of reading, and the comparison with published counts."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..attributes import AttributeScheme
from ..problems import Problems
from ..tracklet import Case, Tracklet

logger = logging.getLogger(__name__)


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


def compare_counts(dataset: DataSet, problems: Problems) -> None:
    """Log the counts of each split, and report those that differ from the published ones."""
    found = dict(dataset.counts)
    for split, tracklets in dataset.splits().items():
        people = len({tracklet.pid for tracklet in tracklets})
        num_frames = sum(len(tracklet.frame_paths) for tracklet in tracklets)
        logger.info("%s: %d identities, %d tracklets, %d frames.", split, people, len(tracklets), num_frames)
        found |= {f"{split} identities": people, f"{split} tracklets": len(tracklets)}
    differing = [name for name, number in dataset.published.items() if found.get(name, number) != number]
    odd = [f"{name}: {found[name]} instead of {dataset.published[name]}" for name in differing]
    text = f"{dataset.title}: this copy differs from the published counts: {', '.join(odd)}."
    problems.add("published counts", *odd, summary=text)


def report_odd_views(split: str, tracklets: Sequence[Tracklet], view: str, problems: Problems) -> None:
    """Report tracklets on the wrong side of a case, which should hold one view."""
    odd = [tracklet for tracklet in tracklets if tracklet.view != view]
    problems.add(
        "other view",
        *(f"{os.path.dirname(tracklet.frame_paths[0])}: from the {tracklet.view}" for tracklet in odd),
        summary=f"{split}: {len(odd)} of {len(tracklets)} tracklets are not from the {view}, as this side should be.",
    )
