"""Checks of one tracklet, its names and its frames. This part of the data check runs in worker processes."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..clips.decoding import UnreadableFrameError, decode_frame, read_frame_file
from ..readers.case_folders import Sighting, none_if_unknown, shared_value
from ..readers.listing import TrackletFolder, find_images
from ..tracklet import Tracklet
from .findings import ExaminedTracklet, FrameResults, Problem

DIGEST_BYTES = 8  # among 10 million frames, two different ones share a digest with a probability of 3e-6


@dataclass(frozen=True, slots=True)
class FolderJob:
    """A tracklet folder of a data set whose folders are walked.

    Attributes:
        split: Such as 'train' or 'case1_aerial_to_ground/query'.
        folder: Identity, name and path.
        parse_sighting: Reads the name of a frame, as ``FolderLayout.parse_sighting``.
        view: View that all tracklets of the split should have; None for any.
        masked: Whether frame names may be outside the naming scheme.
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
    """Check names and frames of one tracklet; problems of the data are returned, not raised.

    Args:
        job: The tracklet.
        size: Height and width to decode to, in pixels, as training does.
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


def frame_path(tracklet: ExaminedTracklet, index: int) -> str:
    """Return the path of the frame that an entry of ``tracklet.frames.indices`` counts."""
    if isinstance(tracklet.source, str):  # ten million paths would not fit in memory: list the folder again
        return os.path.join(tracklet.source, find_images(tracklet.source)[0][index])
    return tracklet.source[index]


def _examine_folder(job: FolderJob, size: tuple[int, int], sample: int) -> ExaminedTracklet:
    path = job.folder.path
    result = ExaminedTracklet(job.split, job.folder.pid, job.folder.name, view=job.view, source=path)
    try:
        names, unusable = find_images(path)
        others = [name for name in set(os.listdir(path)).difference(names) if not name.startswith(".")]
    except OSError as error:
        result.problems.append(Problem("unreachable folder", f"{path}: {error.strerror}"))
        return result
    result.problems += [Problem("unusable entry", text) for text in unusable.values()]
    result.problems += [Problem("stray file", os.path.join(path, name)) for name in sorted(others)]
    if not names:
        result.problems.append(Problem("empty folder", path))
        return result
    result.num_frames = len(names) - len(unusable)
    _read_names(job, names, result)
    reported = {os.path.join(path, name) for name in unusable}
    result.frames = examine_frames([os.path.join(path, name) for name in names], size, sample, reported)
    result.problems += result.frames.problems
    return result


def _read_names(job: FolderJob, names: Sequence[str], result: ExaminedTracklet) -> None:
    """Fill in camera, view, altitude and day from the names of the frames, and report what is wrong with these."""
    path = job.folder.path
    readings = [_parse_name(job, name) for name in names]
    sightings = [reading for reading in readings if isinstance(reading, Sighting)]
    odd = [reading for reading in readings if isinstance(reading, Problem)]
    if odd and job.masked:
        result.problems.append(Problem("masked frame name", path))
        return
    result.problems += odd
    cameras = {sighting.camid: sighting.view for sighting in sightings}
    if len(cameras) > 1:
        result.problems.append(Problem("several cameras", f"{path}: cameras {sorted(cameras)}"))
    if unknown := [camid for camid, view in cameras.items() if view is None]:
        result.problems.append(Problem("unknown camera", f"{path}: camera {min(unknown)}"))
    if len(cameras) != 1 or unknown:
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


def _parse_name(job: FolderJob, name: str) -> Sighting | Problem:
    try:
        return job.parse_sighting(name)
    except ValueError as error:
        return Problem("frame name", os.path.join(job.folder.path, str(error)))


def examine_frames(
    paths: Sequence[str], size: tuple[int, int], sample: int, reported: Collection[str] = ()
) -> FrameResults:
    """Look at every file, decode all or some of them as training does, and find repeated ones.

    Args:
        paths: The frames.
        size: Height and width to decode to, in pixels.
        sample: Frames to decode, evenly spread; 0 for all.
        reported: Frames that are no files, and are reported already.
    """
    results = FrameResults()
    chosen = _choose_frames(len(paths), sample)
    first_with: dict[int, int] = {}  # index by digest
    decoded: list[tuple[int, int]] = []  # digest, index
    num_bad = 0
    for index, path in enumerate(paths):
        if path in reported:
            num_bad += 1
            continue
        fault = _find_fault(path)
        if fault is None and index in chosen:
            started = time.perf_counter()
            try:
                decode_frame(path, size)
                seconds = time.perf_counter() - started
                digest = _digest(path)
            except UnreadableFrameError as error:
                fault = Problem("unreadable frame", str(error))
            else:
                results.seconds += seconds
                decoded.append((digest, index))
                if (first := first_with.setdefault(digest, index)) != index:
                    text = f"{path} is the same as {os.path.basename(paths[first])}"
                    results.problems.append(Problem("repeated frame", text))
        if fault is not None:
            results.problems.append(fault)
            num_bad += 1
    if num_bad == len(paths):
        results.problems.append(Problem("no readable frame", os.path.dirname(paths[0])))
    results.digests = np.array([digest for digest, _ in decoded], dtype=np.uint64)
    results.indices = np.array([index for _, index in decoded], dtype=np.int64)
    return results


def _choose_frames(num_frames: int, sample: int) -> Collection[int]:
    """Return the indices of the frames to decode."""
    if 0 < sample < num_frames:
        return set(np.linspace(0, num_frames - 1, sample).round().astype(int).tolist())
    return range(num_frames)


def _find_fault(path: str) -> Problem | None:
    """Return what is wrong with a file, as far as that shows without opening it: a pipe would block."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Problem("missing frame", path)
    except OSError as error:
        return Problem("unreadable frame", f"{path}: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return Problem("unreadable frame", f"{path}: it is not a regular file")
    return None if status.st_size else Problem("empty frame", path)


def _digest(path: str) -> int:
    """Hash the bytes of a frame's file."""
    return int.from_bytes(hashlib.blake2b(read_frame_file(path), digest_size=DIGEST_BYTES).digest(), "little")
