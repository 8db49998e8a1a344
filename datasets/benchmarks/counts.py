"""Counting the contents of a data set's copy, and comparing them with the published counts."""

import logging
from collections.abc import Mapping, Sequence

from ..tracklet import Tracklet

logger = logging.getLogger(__name__)


def log_counts(split: str, tracklets: Sequence[Tracklet]) -> None:
    """Log the numbers of identities, tracklets and frames of a split."""
    logger.info(
        "%s: %d identities, %d tracklets, %d frames.",
        split,
        len({tracklet.pid for tracklet in tracklets}),
        len(tracklets),
        sum(len(tracklet.frame_paths) for tracklet in tracklets),
    )


def compare_counts(dataset: str, found: Mapping[str, int], published: Mapping[str, int]) -> None:
    """Warn of the counts that differ from the published ones; the copy is used all the same."""
    odd = [f"{name} {found[name]} instead of {number}" for name, number in published.items() if found[name] != number]
    if odd:
        logger.warning("%s: this copy differs from the published counts: %s.", dataset, ", ".join(odd))
