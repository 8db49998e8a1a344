"""An index of described tracklets: its rows, how they are searched, and its file."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from utils.commands import first_line
from utils.files import write_whole
from utils.mistake import MissingFile, Mistake
from utils.text import shorten

from .described import (
    COMPARED,
    TEXT_TOWER,
    UNREADABLE,
    DescribedTracklets,
    check_rows,
    described_as_arrays,
    described_from_arrays,
)
from .neighbours import CompactCodes, Effort, find_exactly

logger = logging.getLogger(__name__)

EXACT_LIMIT = 100_000  # tracklets up to which every feature is compared
# Entries of the file beside those of described tracklets: the compact codes, and the effort of a search as JSON. Of an
# index that is searched exactly, the effort is null, and there are no codes.
CODES, EFFORT = "codes", "effort"


class TrackletIndex:
    """Described tracklets that can be searched, added and removed.

    Up to a number of tracklets every feature is compared; beyond it, search is approximate: compact codes choose the
    features that are compared. They are fitted when they are needed first, and again after a removal, so that no
    feature of a removed tracklet is kept.

    Args:
        tracklets: The rows.
        codes: Of all rows, or of the first ones.
        exact_limit: Tracklets up to which search is exact.

    Attributes:
        tracklets: The rows.
    """

    def __init__(
        self, tracklets: DescribedTracklets, codes: CompactCodes | None = None, exact_limit: int = EXACT_LIMIT
    ) -> None:
        self.tracklets = tracklets
        self._codes = codes
        self._exact_limit = exact_limit

    def __len__(self) -> int:
        return len(self.tracklets.keys)

    def add(self, described: DescribedTracklets, source: str, replaces: bool = False) -> None:
        """Add tracklets, or nothing at all.

        Args:
            described: The tracklets.
            source: Their file, for messages.
            replaces: Whether a tracklet takes the place of one with its key.
        Raises:
            ValueError: If they were described otherwise than the index, or if a key is there already.
        """
        self.require_comparable(described, source)
        if (described.words is None) != (self.tracklets.words is None):
            have, lack = ("the index", source) if described.words is None else (source, "the index")
            raise Mistake(f"{source} cannot be added: {have} holds vectors to compare with texts, {lack} has none.")
        added = set(described.keys)
        present = [key for key in self.tracklets.keys if key in added]
        if present and not replaces:
            raise Mistake(f"{source}: the index holds {shorten(present[0])} already; --replace puts the new one there.")
        if present:
            self.remove(present)
        self.tracklets = self.tracklets.join(described)

    def remove(self, keys: Sequence[str]) -> None:
        """Remove tracklets, or none. ValueError: if there is no such key."""
        rows = self.tracklets.find_rows(keys, "The index")
        self.tracklets = self.tracklets.select(np.delete(np.arange(len(self)), rows))
        self._codes = None

    def require_comparable(self, described: DescribedTracklets, source: str) -> None:
        """Raise ValueError if another model or transform made the features of ``source``, or its vectors for texts."""
        both = described.words is not None and self.tracklets.words is not None
        for name in (*COMPARED, TEXT_TOWER) if both else COMPARED:
            expected, found = self.tracklets.origin.get(name), described.origin.get(name)
            if expected != found:
                raise Mistake(
                    f"{source} cannot be compared with the index: its {name} is {shorten(str(found))}, the index's "
                    f"{shorten(str(expected))}. Describe both with the same checkpoint and settings."
                )
        for own, other in ((self.tracklets.features, described.features), (self.tracklets.words, described.words)):
            if own is not None and other is not None and own.shape[1] != other.shape[1]:
                raise Mistake(f"{source} has vectors of {other.shape[1]} numbers, the index of {own.shape[1]}.")

    def prepare(self) -> CompactCodes | None:
        """Make or extend the codes if they are needed, and return them; None if search is exact."""
        if len(self) <= self._exact_limit:
            self._codes = None
        elif self._codes is None or len(self._codes) < len(self):
            start = time.perf_counter()
            if self._codes is None:
                self._codes = CompactCodes.fit(self.tracklets.features)
            else:
                self._codes.extend(self.tracklets.features)
            effort = self._codes.effort
            logger.info(
                "Above %s tracklets search is approximate (prepared in %.0f s): a query is compared with %d of them, "
                "which finds %.1f %% of the 10 nearest (recall@10 on a sample of the index).",
                f"{self._exact_limit:,}",
                time.perf_counter() - start,
                effort.candidates,
                100 * effort.recall,
            )
        return self._codes

    def find_nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the rows nearest to each query.

        Args:
            queries: Features, (Q, D), float32.
            k: How many; an index that is smaller is listed whole.
        Returns:
            The rows, (Q, k), and their squared Euclidean distances, float64; nearest first, of equal ones the first row
            first.
        """
        codes, features, k = self.prepare(), self.tracklets.features, min(k, len(self))
        rows = codes.find(features, queries, k) if codes else find_exactly(features, queries, k)
        # faiss computes in float32, where the distances of near-duplicates are mostly rounding.
        rows.sort(axis=1)
        distances = np.empty(rows.shape)
        for query, own, result in zip(queries, rows, distances, strict=True):
            result[:] = np.square(features[own] - query.astype(np.float64)).sum(axis=1)
        order = np.argsort(distances, axis=1, kind="stable")
        return np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1)


def write_index(index: TrackletIndex, path: Path) -> None:
    """Write the file of an index, whole or not at all. OSError: if the disk is full or the folder cannot be written."""
    codes = index.prepare()
    arrays = described_as_arrays(index.tracklets)
    arrays[EFFORT] = np.array(json.dumps(codes and asdict(codes.effort)))
    if codes is not None:
        arrays[CODES] = codes.as_array()
    write_whole(lambda file: np.savez(file, **arrays), path)  # type: ignore[arg-type]


def require_index(path: Path) -> None:
    """Raise FileNotFoundError if there is no file of an index."""
    if not path.is_file():
        raise MissingFile(f"{path} is not a file: `python -m tools.search build` makes an index.")


def read_index(path: Path, exact_limit: int = EXACT_LIMIT) -> TrackletIndex:
    """Read the file of an index.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, or another file.
    """
    require_index(path)
    try:
        with np.load(path, allow_pickle=False) as content:
            tracklets = described_from_arrays(content)
            check_rows(tracklets)
            effort = json.loads(str(content[EFFORT]))
            codes = None
            if effort is not None:
                codes = CompactCodes.restore(content[CODES], tracklets.features.shape, Effort(**effort))
    except UNREADABLE as error:
        raise Mistake(
            f"{path} is damaged, or no index of `python -m tools.search build`: {first_line(error):.200}"
        ) from error
    return TrackletIndex(tracklets, codes, exact_limit)
