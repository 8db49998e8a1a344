"""Keeps the paths of frames as bytes in arrays, and makes each string when it is asked for.

Millions of Python strings take gigabytes, and every loader process ends up with a copy: counting references writes to
the pages that a fork would share. Arrays are only read, so processes share them.
"""

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, overload

import numpy as np

from ..tracklet import Tracklet


class PathSequence(Sequence[str]):
    """Paths that are made on demand; equal to a tuple, or another such sequence, of the same strings."""

    __slots__ = ()

    @abstractmethod
    def path(self, number: int) -> str:
        """Return the path with a number, 0 to length - 1."""

    @overload
    def __getitem__(self, item: int) -> str: ...
    @overload
    def __getitem__(self, item: slice) -> Sequence[str]: ...
    def __getitem__(self, item: int | slice) -> str | Sequence[str]:
        if isinstance(item, slice):
            return self.part(range(*item.indices(len(self))))
        return self.path(range(len(self))[item])

    def part(self, numbers: range) -> Sequence[str]:
        """Return the paths with these numbers, each 0 to length - 1."""
        return tuple(self.path(number) for number in numbers)

    def __iter__(self) -> Iterator[str]:
        return (self.path(number) for number in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PathSequence | tuple):
            return NotImplemented
        return len(self) == len(other) and all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<{len(self)} frames of {os.path.dirname(self[0])}>" if len(self) else "<no frames>"


class PackedPaths(PathSequence):
    """Paths in one array of bytes and one of offsets; a slice is a view of the same arrays.

    Args:
        content: All paths, one after another, (number of bytes,), uint8.
        offsets: The start of each path, and the end of the last one, (n + 1,), int64.
    """

    __slots__ = ("_content", "_offsets")

    def __init__(self, content: np.ndarray, offsets: np.ndarray) -> None:
        self._content = content
        self._offsets = offsets

    @classmethod
    def pack(cls, paths: Iterable[str]) -> "PackedPaths":
        """Copy strings into new arrays."""
        encoded = [os.fsencode(path) for path in paths]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __reduce__(self) -> tuple[Any, ...]:
        first, end = int(self._offsets[0]), int(self._offsets[-1])  # a slice sends its own paths, not those of all
        return PackedPaths, (self._content[first:end], self._offsets - first)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def path(self, number: int) -> str:
        return os.fsdecode(self._content[self._offsets[number] : self._offsets[number + 1]].tobytes())

    def part(self, numbers: range) -> Sequence[str]:
        if numbers.step != 1:
            return super().part(numbers)
        return PackedPaths(self._content, self._offsets[numbers.start : max(numbers.start, numbers.stop) + 1])


def pack_tracklets(tracklets: Sequence[Tracklet]) -> tuple[Tracklet, ...]:
    """Return the same records, with all their paths in one pair of arrays."""
    paths = PackedPaths.pack(chain.from_iterable(tracklet.frame_paths for tracklet in tracklets))
    ends = np.cumsum([len(tracklet.frame_paths) for tracklet in tracklets]).tolist()
    return tuple(
        replace(tracklet, frame_paths=paths[end - len(tracklet.frame_paths) : end])
        for tracklet, end in zip(tracklets, ends, strict=True)
    )
