"""Read the boxes of a tracker, and choose which of them become frames of which tracklet, before a video is opened.

The file is that of the MOTChallenge: frame, id, left, top, width, height, confidence, one box a line. In ground truths
column 7 is a flag, 0 for what does not count, and column 8 a class (MOT17, VisDrone).

Axes: N boxes of a file, K crops that are kept
"""

import math
from array import array
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.mistake import MissingFile, Mistake
from utils.text import read_word, shorten

# What is read of a line: names and places of its values.
PLACES = {"frame": 0, "id": 1, "left": 2, "top": 3, "width": 4, "height": 5, "confidence": 6}
CLASS = 7  # place of the class, where a line has one
PEOPLE = ("1", "person", "pedestrian")  # classes that are people, unless --classes names others
ONLY_CLASSES = (*PEOPLE, "0", "")  # those that may be the only one of a file: COCO's people are 0
COLUMNS = ("folder", "track", "first_frame", "last_frame", "num_frames", "mean_width", "mean_height")  # of cut.csv
MANY_BEYOND = 0.2  # share of boxes that leave the frame, from which on their form is doubted
NEARLY_ALL = 0.95  # share of boxes
LARGEST = 2**53  # of frame numbers and ids: float64 holds all integers up to it


@dataclass(frozen=True)
class Boxes:
    """The boxes of a file, sorted by track, then by frame."""

    path: Path  # the file, for messages
    frames: np.ndarray  # frame of each box, from 1, (N,), int64
    tracks: np.ndarray  # id of its track, (N,), int64
    corners: np.ndarray  # left, top, right and bottom edge in pixels; they may lie outside the frame, (N, 4), float64
    confidences: np.ndarray  # in the tracker's own scale, (N,), float64
    left_out: dict[str, int]  # boxes of the file that are not of people, by the reason


def read_boxes(path: Path, classes: Collection[str] = (), first_frame: int = 1) -> Boxes:
    """Read and check a file of boxes; its lines may be in any order."""
    expected = f"{', '.join(PLACES)}, with commas between them"
    if not path.is_file():
        raise MissingFile(f"{path} is not a file; it must hold the boxes, one per line: {expected}.")
    words: dict[str, int] = {}  # of the class, by the order in which they first stand there
    values = array("d")  # eight bytes a value: a list of rows would take ten times as much
    # Bytes that are no text become characters that are no number, so that the line is named.
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            # Not by the csv module: to it, a quotation mark may join lines.
            cells = line.split(next((mark for mark in ";," if mark in line), None))
            try:
                numbers = [float(cells[place]) for place in PLACES.values()]
            except (ValueError, IndexError):
                numbers = [math.nan]
            if not all(map(math.isfinite, numbers)):
                found = shorten(line.strip())
                raise Mistake(f"{path}, line {number}: expected finite numbers {expected}, got {found}.")
            word = read_word(cells[CLASS].strip().strip("\"'")).casefold() if len(cells) > CLASS else ""
            word = "" if "." in word else word  # a place in the world, as in MOT15
            values.extend((number, *numbers, words.setdefault(word, len(words))))
    if not values:
        raise Mistake(f"{path} holds no box.")
    table = np.frombuffer(values).reshape(-1, 2 + len(PLACES))
    table, left_out = _choose_people(path, table, list(words), classes)
    table = table[np.lexsort((table[:, 1], table[:, 2]))]
    table[:, 1] += 1 - first_frame
    lines, frames, tracks, left, top, width, height, confidences, _ = table.T
    repeated = (np.diff(frames, prepend=0) == 0) & (np.diff(tracks, prepend=-1) == 0)
    no_frame = (frames < 1) | (frames > LARGEST) | (frames % 1 != 0)
    no_id = (tracks < 0) | (tracks > LARGEST) | (tracks % 1 != 0)
    problems = {
        "frame must be an integer from 1 up; --first_frame 0 is for files that count from 0": no_frame,
        "id must be an integer from 0 up; -1 marks detections that no tracker has joined to tracks yet": no_id,
        "width and height must not be negative": (width < 0) | (height < 0),
        "another line has a box of this track in this frame; remove one of both": repeated,
    }
    for problem, mask in problems.items():
        if mask.any():
            row = ", ".join(f"{value:g}" for value in table[mask.argmax(), 1:-1])
            raise Mistake(f"{path}, line {lines[mask.argmax()]:.0f}: {problem}, got {row}.")
    corners = np.stack([left, top, left + width, top + height], axis=1)
    if corners.max() < 2 and (corners % 1).any():
        advice = "multiply columns 3 to 6 by the frame's width and height, and give left and top edges, not centres"
        raise Mistake(f"{path}: the boxes are shares of the frame, not pixels; {advice}.")
    return Boxes(path, frames.astype(np.int64), tracks.astype(np.int64), corners, confidences, left_out)


def _choose_people(
    path: Path, table: np.ndarray, words: list[str], classes: Collection[str]
) -> tuple[np.ndarray, dict[str, int]]:
    """Leave out boxes flagged 0 and those of other classes; returns the others, and how many are left out and why."""
    of_class = table[:, -1].astype(np.int64)
    counts = Counter(words[index] or "none" for index in of_class.tolist())
    held = ", ".join(f"{word} ({number:,})" for word, number in counts.most_common())
    wanted = [read_word(word).casefold() for word in classes] or (ONLY_CLASSES if len(words) == 1 else (*PEOPLE, ""))
    chosen = np.isin(of_class, [index for index, word in enumerate(words) if word in wanted])
    if not chosen.any():
        raise Mistake(f"{path}: column 8 holds the classes {held}; name those that are people with --classes.")
    left_out = {f"of other classes in column 8, which holds {held} (--classes)": int((~chosen).sum())}
    flags = table[:, 1 + PLACES["confidence"]]
    if set(np.unique(flags)) == {0, 1}:  # a flag, no confidence
        left_out["flagged 0 in column 7"] = int((chosen & (flags == 0)).sum())
        chosen &= flags == 1
    if not chosen.any():
        raise Mistake(f"{path}: all boxes of people are flagged 0 in column 7: they do not count.")
    return table[chosen], left_out


@dataclass(frozen=True)
class SelectionRules:
    """What is kept, and how much of the frame around it."""

    min_frames: int  # frames that a tracklet must have, after ``stride``
    # smallest size in pixels of the part of a box inside the frame, without margin
    min_width: int
    min_height: int
    min_confidence: float | None  # smallest confidence; None keeps every box
    margin: float  # added to each side of a box, as a share of its width or height
    stride: int  # of the video, frames 1, 1 + stride, 1 + 2 * stride, ... are kept
    gap: int  # a track that is absent for more than so many frames is split


@dataclass(frozen=True)
class Selection:
    """The crops to cut, sorted by frame, then by track."""

    # by COLUMNS, sorted by track, then by first frame; sizes are those of boxes inside the frame, in pixels
    tracklets: list[dict[str, Any]]
    frames: np.ndarray  # frame of each crop, (K,), int64
    owners: np.ndarray  # index of its tracklet, (K,), int64
    edges: np.ndarray  # left, top, right and bottom edge in whole pixels, all inside the frame, (K, 4), int64
    report: str  # how many boxes were read, clipped, and left out for which reason: one clause


def select_crops(boxes: Boxes, height: int, width: int, rules: SelectionRules) -> Selection:
    """Choose the crops of a video whose frames have this size."""
    limits = (width, height, width, height)
    whole = np.rint(boxes.corners)
    inside = np.clip(whole, 0, limits)  # the edges of a box outside of the frame become equal
    sizes = inside[:, 2:] - inside[:, :2]
    smallest = (rules.min_width, rules.min_height)
    reasons = {
        "outside the frame or empty": (sizes == 0).any(axis=1),
        "smaller than {}x{} pixels (--min_width, --min_height)".format(*smallest): (sizes < smallest).any(axis=1),
    }
    if rules.min_confidence is not None:
        reasons[f"below --min_confidence {rules.min_confidence:g}"] = boxes.confidences < rules.min_confidence
    right, bottom = (boxes.corners[:, 2:] - boxes.corners[:, :2]).T  # if the file holds corners in place of sizes
    beyond = (boxes.corners[:, 2:] > 1.05 * np.array([width, height])).any(axis=1).mean()
    left, top = boxes.corners[:, :2].T
    within = (right > left) & (right <= 1.05 * width) & (bottom > top) & (bottom <= 1.05 * height)
    moves = _spread(boxes.tracks, right) + _spread(boxes.tracks, bottom)
    stays = _spread(boxes.tracks, right - left) + _spread(boxes.tracks, bottom - top)
    if within.mean() > NEARLY_ALL and (beyond > MANY_BEYOND or stays < moves / 2):
        advice = "subtract left from column 5 and top from column 6"
        raise Mistake(
            f"{boxes.path}: columns 5 and 6 seem to be right and bottom edges, not width and height; {advice}."
        )
    kept = np.ones(len(boxes.frames), dtype=bool)
    left_out = {reason: _remove(kept, mask) for reason, mask in reasons.items()}

    pieces, names = _split_tracks(boxes, kept, rules.gap)
    left_out[f"skipped by --stride {rules.stride}"] = _remove(kept, (boxes.frames - 1) % rules.stride != 0)
    num_frames = np.bincount(pieces[kept], minlength=len(kept))
    short = f"in tracklets of fewer than {rules.min_frames} frames (--min_frames)"
    left_out[short] = _remove(kept, num_frames[pieces] < rules.min_frames)

    total = len(kept) + sum(boxes.left_out.values())
    left_out = boxes.left_out | left_out
    clauses = [f"{number:,} are {reason}" for reason, number in left_out.items() if number]
    report = f"of {total:,} boxes, " + (", ".join(clauses) or "none was left out")
    if not kept.any():
        raise Mistake(f"No tracklet is left: {report}.")
    clipped = int((whole != inside)[kept].any(axis=1).sum())
    report += f"; {clipped:,} of the crops are clipped at the border of the frame"

    tracks, frames, corners, sizes = boxes.tracks[kept], boxes.frames[kept], boxes.corners[kept], sizes[kept]
    chosen, starts, owners = np.unique(pieces[kept], return_index=True, return_inverse=True)
    tracklets = []
    for piece, start, end in zip(chosen, starts, [*starts[1:], len(frames)], strict=True):
        span, means = frames[start:end], sizes[start:end].mean(axis=0).round(1).tolist()
        values = (names[piece], tracks[start].item(), span[0].item(), span[-1].item(), len(span), *means)
        tracklets.append(dict(zip(COLUMNS, values, strict=True)))
    margins = rules.margin * (corners[:, 2:] - corners[:, :2])
    edges = np.clip(np.rint(corners + np.hstack([-margins, margins])), 0, limits).astype(np.int64)
    order = np.argsort(frames, kind="stable")
    return Selection(tracklets, frames[order], owners[order], edges[order], report)


def _spread(tracks: np.ndarray, values: np.ndarray) -> float:
    """Return how far values are from the mean of their track, on average; ``tracks`` are sorted."""
    _, owners, counts = np.unique(tracks, return_inverse=True, return_counts=True)
    with np.errstate(over="ignore", invalid="ignore"):  # of boxes far outside of any frame
        means = np.bincount(owners, values) / counts
        return float(np.abs(values - means[owners]).mean())


def _remove(kept: np.ndarray, mask: np.ndarray) -> int:
    """Take the boxes of a mask out of those kept; returns how many were still kept."""
    number = int((kept & mask).sum())
    kept &= ~mask
    return number


def _split_tracks(boxes: Boxes, kept: np.ndarray, gap: int) -> tuple[np.ndarray, list[str]]:
    """Split the tracks where they are absent for too long: the piece of each kept box, (N,), and the names of pieces.

    The second piece of track 7 is track_0007_2, however few frames the first one has.
    """
    tracks, frames = boxes.tracks[kept], boxes.frames[kept]
    is_new = (np.diff(tracks, prepend=-1) != 0) | (np.diff(frames, prepend=0) - 1 > gap)
    pieces = np.zeros(len(kept), dtype=np.int64)
    pieces[kept] = np.cumsum(is_new) - 1
    owners = tracks[is_new]  # ascending
    numbers = np.arange(len(owners)) - np.searchsorted(owners, owners) + 1  # of a piece in its track
    endings = ["" if number == 1 else f"_{number}" for number in numbers]
    names = [f"track_{track:04d}{ending}" for track, ending in zip(owners, endings, strict=True)]
    return pieces, names
