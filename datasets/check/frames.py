"""Examine the frames of one tracklet: files that are missing, empty, damaged or repeated. Runs in worker processes."""

import hashlib
import os
import stat
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from ..clips.decoding import UnreadableFrameError, decode_frame, read_frame_file
from ..problems import FRAME_FAULTS

DIGEST_BYTES = 8  # among 10 million frames, two different ones share a digest with a probability of 3e-6


class FrameProblem(NamedTuple):
    """A key of ``problems.CHECKS``, and where."""

    check: str
    text: str


@dataclass(slots=True)
class FrameResults:
    """What was found in the frames of a tracklet."""

    problems: list[FrameProblem] = field(default_factory=list)  # frames missing, empty, unreadable or repeated
    digests: np.ndarray = field(default_factory=partial(np.empty, 0, np.uint64))  # of the decoded files, (N,), uint64
    indices: np.ndarray = field(default_factory=partial(np.empty, 0, np.int64))  # which frames these are, (N,), int64
    seconds: float = 0.0  # that decoding them took

    def count_bad(self, *checks: str) -> int:
        """Count the frames that cannot be used; with ``checks``, for these reasons only."""
        return sum(problem.check in (checks or FRAME_FAULTS) for problem in self.problems)


def examine_frames(paths: Sequence[str], size: tuple[int, int], sample: int) -> FrameResults:
    """Look at every file, decode an evenly spread ``sample`` (0: all) as training does, and find repeated frames."""
    results = FrameResults()
    chosen: Collection[int] = range(len(paths))
    if 0 < sample < len(paths):
        chosen = set(np.linspace(0, len(paths) - 1, sample).round().astype(int).tolist())
    first_with: dict[int, int] = {}  # index by digest
    decoded: list[tuple[int, int]] = []  # digest, index
    for index, path in enumerate(paths):
        problem = _find_fault(path)
        if problem is None and index in chosen:
            started = time.perf_counter()
            try:
                decode_frame(path, size)
                seconds = time.perf_counter() - started
                content = read_frame_file(path)
                digest = int.from_bytes(hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest(), "little")
            except UnreadableFrameError as error:
                problem = FrameProblem("unreadable frame", str(error))
            else:
                results.seconds += seconds
                decoded.append((digest, index))
                if (first := first_with.setdefault(digest, index)) != index:
                    text = f"{path} is the same as {os.path.basename(paths[first])}"
                    problem = FrameProblem("repeated frame", text)
        if problem is not None:
            results.problems.append(problem)
    if results.count_bad() == len(paths):
        results.problems.append(FrameProblem("no readable frame", os.path.dirname(paths[0])))
    results.digests = np.array([digest for digest, _ in decoded], dtype=np.uint64)
    results.indices = np.array([index for _, index in decoded], dtype=np.int64)
    return results


def _find_fault(path: str) -> FrameProblem | None:
    """Return what is wrong with a file, as far as that shows without opening it: a pipe would block."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return FrameProblem("missing frame", path)
    except OSError as error:
        return FrameProblem("unreadable frame", f"{path}: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return FrameProblem("unreadable frame", f"{path}: it is not a regular file")
    return None if status.st_size else FrameProblem("empty frame", path)
