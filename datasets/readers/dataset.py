"""A data set that has been read, the options of reading, and the comparison with published counts."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..attributes import AttributeScheme
from ..problems import Problems
from ..tracklet import Case, Tracklet

NUM_SHOWN = 4  # counts that a line of the log names


@dataclass(frozen=True)
class PublishedCounts:
    """Published counts of a data set. Copies differ, so a difference is never an error."""

    # By name: '{split} identities', '{split} tracklets', or a name of ``DataSet.counts``.
    counts: Mapping[str, int] = field(default_factory=dict)
    lower_bounds: frozenset[str] = frozenset()  # names of counts that are only known to be at least this
    remark: str = ""  # what the counts are of, and what else was published, in sentences

    def differing(self, found: Mapping[str, int]) -> dict[str, str]:
        """Return the published numbers that found ones contradict, by name: '689' or 'at least 4416'."""
        differing = {}
        for name, count in found.items():
            number, is_bound = self.counts.get(name, count), name in self.lower_bounds
            if count < number or (count > number and not is_bound):
                differing[name] = f"at least {number}" if is_bound else str(number)
        return differing


@dataclass(frozen=True)
class DataSet:
    """A data set that has been read from disk."""

    title: str
    train: tuple[Tracklet, ...]  # in a fixed order; empty if they were not read
    cases: dict[str, Case]  # the matching directions that the copy holds, by key, in order ('case1', 'case2', ...)
    scheme: AttributeScheme | None = None  # of its attributes; None if it has none
    published: PublishedCounts = PublishedCounts()
    counts: Mapping[str, int] = field(default_factory=dict)  # beyond those of splits, to compare with published ones
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
    """Note the counts of each split, and report those that differ from the published ones."""
    found = dict(dataset.counts)
    for split, tracklets in dataset.splits().items():
        people = len({tracklet.pid for tracklet in tracklets})
        num_frames = sum(len(tracklet.frame_paths) for tracklet in tracklets)
        problems.note(f"{split}: {people} identities, {len(tracklets)} tracklets, {num_frames} frames.")
        found |= {f"{split} identities": people, f"{split} tracklets": len(tracklets)}
    differing = dataset.published.differing(found)
    odd = [f"{name}: {found[name]} instead of {number}" for name, number in differing.items()]
    shown = ", ".join(odd[:NUM_SHOWN]) + (f", and {len(odd) - NUM_SHOWN} more" if len(odd) > NUM_SHOWN else "")
    text = f"{dataset.title}: this copy differs from the published counts: {shown}."
    problems.add("published counts", *odd, summary=text)


def report_odd_views(split: str, tracklets: Sequence[Tracklet], view: str, problems: Problems) -> None:
    """Report tracklets on the wrong side of a case, which should hold one view."""
    odd = [tracklet for tracklet in tracklets if tracklet.view != view]
    problems.add(
        "other view",
        *(f"{os.path.dirname(tracklet.frame_paths[0])}: from the {tracklet.view}" for tracklet in odd),
        summary=f"{split}: {len(odd)} of {len(tracklets)} tracklets are not from the {view}, as this side should be.",
    )
