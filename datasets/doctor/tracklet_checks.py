"""The part of tools/check_dataset.py that runs in its worker processes: what one tracklet can tell about itself."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from utils.unknown import UNKNOWN

from ..benchmarks.case_folders import Sighting, none_if_unknown, shared_value
from ..clips.decoding import UnreadableFrameError, decode_frame
from ..storage.listing import TrackletFolder, list_images
from ..tracklet import Tracklet

DIGEST_BYTES = 8  # among 10 million frames, two different ones share a digest with a probability of 3e-6


class Problem(NamedTuple):
    """One thing found.

    Attributes:
        check: A key of ``check_dataset.CHECKS``.
        text: Path and, where it is not plain, what is wrong.
    """

    check: str
    text: str


@dataclass(slots=True)
class FrameResults:
    """What decoding the frames of a tracklet gave.

    Attributes:
        problems: Frames that are missing, empty, unreadable or repeated.
        digests: Of the files that were decoded, (N,), uint64.
        indices: Which frames these are, (N,), int64.
        seconds: Spent decoding them.
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
        pid: Identity, as the folder says.
        name: Of the tracklet.
        num_frames: Images, readable or not.
        camid: Camera; -1 when unknown or ambiguous.
        view: 'ground' or 'aerial'; None when unknown.
        altitude: Metres; None when unknown, and for ground cameras.
        day: YYMMDD; None when unknown.
        problems: Everything wrong.
        frames: What decoding gave.
        source: Folder (its images, sorted by name) or paths that ``frames.indices`` count.
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

    def frame_path(self, index: int) -> str:
        """Path of the frame that an entry of ``frames.indices`` means."""
        if isinstance(self.source, str):  # ten million paths would not fit in memory
            return os.path.join(self.source, list_images(self.source)[index])
        return self.source[index]


@dataclass(frozen=True, slots=True)
class FolderJob:
    """A tracklet folder of a data set whose folders are walked.

    Attributes:
        split: Where it lies.
        folder: Identity, name and path.
        parse_sighting: Reads the names of its frames, as ``FolderLayout.parse_sighting``.
        view: What the split claims to hold; None for any.
        masked: Whether frame names outside the grammar are tolerated.
    """

    split: str
    folder: TrackletFolder
    parse_sighting: Callable[[str], Sighting]
    view: str | None
    masked: bool


@dataclass(frozen=True, slots=True)
class RecordJob:
    """A tracklet that a loader has read."""

    split: str
    tracklet: Tracklet


def examine(job: FolderJob | RecordJob, size: tuple[int, int], sample: int) -> ExaminedTracklet:
    """Check names and frames of one tracklet; never raises for what the data are like.

    Args:
        job: The tracklet.
        size: Height and width to decode to, as training does.
        sample: Frames to decode, evenly spread; 0 for all.
    """
    if isinstance(job, FolderJob):
        return _examine_folder(job, size, sample)
    tracklet = job.tracklet
    frames = examine_frames(tracklet.frame_paths, size, sample)
    return ExaminedTracklet(
        job.split,
        tracklet.pid,
        tracklet.name,
        num_frames=len(tracklet.frame_paths),
        camid=tracklet.camid,
        view=tracklet.view,
        altitude=tracklet.altitude,
        day=tracklet.day,
        problems=frames.problems,
        frames=frames,
        source=tracklet.frame_paths,
    )


def _examine_folder(job: FolderJob, size: tuple[int, int], sample: int) -> ExaminedTracklet:
    path = job.folder.path
    result = ExaminedTracklet(job.split, job.folder.pid, job.folder.name, view=job.view, source=path)
    try:
        names = list_images(path)
        others = [name for name in set(os.listdir(path)).difference(names) if not name.startswith(".")]
    except ValueError as error:
        result.problems.append(Problem("empty folder", str(error)))
        return result
    except OSError as error:
        result.problems.append(Problem("unreachable folder", f"{path}: {error.strerror}"))
        return result
    result.problems += [Problem("stray file", os.path.join(path, name)) for name in sorted(others)]
    result.num_frames = len(names)
    _read_names(job, names, result)
    result.frames = examine_frames([os.path.join(path, name) for name in names], size, sample)
    result.problems += result.frames.problems
    return result


def _read_names(job: FolderJob, names: Sequence[str], result: ExaminedTracklet) -> None:
    """Fill in camera, view, altitude and day, and report what the names say that they should not."""
    path = job.folder.path
    readings = [_locate(job, name) for name in names]
    sightings = [reading for reading in readings if isinstance(reading, Sighting)]
    odd = [reading for reading in readings if isinstance(reading, Problem)]
    if odd and job.masked:
        result.problems.append(Problem("masked frame name", path))
        return
    result.problems += odd
    cameras = {sighting.camid: sighting.view for sighting in sightings}
    if len(cameras) > 1:
        result.problems.append(Problem("several cameras", f"{path}: cameras {sorted(cameras)}"))
    if strangers := [camid for camid, view in cameras.items() if view is None]:
        result.problems.append(Problem("unknown camera", f"{path}: camera {min(strangers)}"))
    if len(cameras) != 1 or strangers:
        return
    ((result.camid, result.view),) = cameras.items()
    if job.view not in (None, result.view):
        result.problems.append(Problem("other view", f"{path}: from the {result.view}"))
    result.day = none_if_unknown(shared_value(sighting.day for sighting in sightings))
    altitudes = {sighting.altitude for sighting in sightings}
    result.altitude = none_if_unknown(shared_value(altitudes))
    if result.view == "aerial" and result.altitude is None:
        found = sorted(f"{altitude} m" if altitude is not None else "unknown" for altitude in altitudes)
        result.problems.append(Problem("altitude", f"{path}: {', '.join(found)}"))


def _locate(job: FolderJob, name: str) -> Sighting | Problem:
    try:
        return job.parse_sighting(name)
    except ValueError as error:
        return Problem("frame name", os.path.join(job.folder.path, str(error)))


def examine_frames(paths: Sequence[str], size: tuple[int, int], sample: int) -> FrameResults:
    """Look at every file, decode all or some of them as training does, and find repetitions."""
    chosen = range(len(paths))
    if 0 < sample < len(paths):
        chosen = set(np.linspace(0, len(paths) - 1, sample).round().astype(int).tolist())
    results = FrameResults()
    first_with: dict[int, int] = {}  # index by digest
    decoded: list[tuple[int, int]] = []  # digest, index
    num_bad = 0
    for index, path in enumerate(paths):
        bad = _find_fault(path)
        if bad is None and index in chosen:
            started = time.perf_counter()
            try:
                decode_frame(path, size)
            except UnreadableFrameError as error:
                bad = Problem("unreadable frame", str(error))
            else:
                results.seconds += time.perf_counter() - started
                digest = _digest(path)
                decoded.append((digest, index))
                if first_with.setdefault(digest, index) != index:
                    results.problems.append(
                        Problem(
                            "repeated frame", f"{path} is the same as {os.path.basename(paths[first_with[digest]])}"
                        )
                    )
        if bad is not None:
            results.problems.append(bad)
            num_bad += 1
    if num_bad == len(paths):
        results.problems.append(Problem("no readable frame", os.path.dirname(paths[0])))
    results.digests = np.array([digest for digest, _ in decoded], dtype=np.uint64)
    results.indices = np.array([index for _, index in decoded], dtype=np.int64)
    return results


def _find_fault(path: str) -> Problem | None:
    """What can be wrong with a file without reading it."""
    try:
        num_bytes = os.stat(path).st_size
    except FileNotFoundError:
        return Problem("missing frame", path)
    except OSError as error:
        return Problem("unreadable frame", f"{path}: {error.strerror}")
    return None if num_bytes else Problem("empty frame", path)


def _digest(path: str) -> int:
    with open(path, "rb") as file:
        return int.from_bytes(hashlib.blake2b(file.read(), digest_size=DIGEST_BYTES).digest(), "little")
