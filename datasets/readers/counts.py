"""Counting the contents of a data set's copy, and comparing them with the published counts."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..tracklet import Tracklet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedCounts:
    """Published counts of a data set. Copies differ, so a difference is never an error.

    Attributes:
        counts: Numbers by name. '{split} identities' and '{split} tracklets' are compared by the data check, and others
            by the loader.
        lower_bounds: Names of counts that are only known to be at least this.
        remark: What the counts are of, and what else was published, in sentences for people; '' for nothing.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    lower_bounds: frozenset[str] = frozenset()
    remark: str = ""

    def differing(self, found: Mapping[str, int]) -> dict[str, str]:
        """Return the published numbers that found ones contradict, by name: '689' or 'at least 4416'."""
        differing = {}
        for name, count in found.items():
            number, is_bound = self.counts.get(name, count), name in self.lower_bounds
            if count < number or (count > number and not is_bound):
                differing[name] = f"at least {number}" if is_bound else str(number)
        return differing


def log_counts(split: str, tracklets: Sequence[Tracklet]) -> None:
    """Log the numbers of identities, tracklets and frames of a split."""
    logger.info(
        "%s: %d identities, %d tracklets, %d frames.",
        split,
        len({tracklet.pid for tracklet in tracklets}),
        len(tracklets),
        sum(len(tracklet.frame_paths) for tracklet in tracklets),
    )


def compare_counts(dataset: str, found: Mapping[str, int], published: PublishedCounts) -> None:
    """Warn of the counts that differ from the published ones; the copy is used all the same."""
    odd = [f"{name} {found[name]} instead of {number}" for name, number in published.differing(found).items()]
    if odd:
        logger.warning("%s: this copy differs from the published counts: %s.", dataset, ", ".join(odd))
