"""Read the boxes of a tracker, and choose which of them become frames of which tracklet, before a video is opened.

The file is that of the MOTChallenge: frame, id, left, top, width, height, confidence, one box a line.

Axes: N boxes of a file, K crops that are kept
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.mistake import MissingFile, Mistake
from utils.text import shorten

COLUMNS = ("frame", "id", "left", "top", "width", "height", "confidence")  # further columns are not read
LARGEST = 2**53  # of frame numbers and ids: float64 holds all integers up to it


@dataclass(frozen=True)
class Boxes:
    """The boxes of a file, sorted by frame, then by track."""

    path: Path  # the file, for messages
    lines: np.ndarray  # line of each box, from 1, (N,), int64
    frames: np.ndarray  # its frame, from 1, (N,), int64
    tracks: np.ndarray  # id of its track, (N,), int64
    corners: np.ndarray  # left, top, right and bottom edge in pixels; they may lie outside the frame, (N, 4), float64
    confidences: np.ndarray  # in the tracker's own scale, (N,), float64

    def __len__(self) -> int:
        return len(self.lines)


def read_boxes(path: Path) -> Boxes:
    """Read and check a file of boxes; its lines may be in any order."""
    if not path.is_file():
        raise MissingFile(f"{path} is not a file; it must hold the boxes, one per line: {', '.join(COLUMNS)}.")
    table = _read_table(path)
    table = table[np.lexsort((table[:, 2], table[:, 1]))]
    lines, frames, tracks = table[:, :3].astype(np.int64).T
    repeated = (frames[1:] == frames[:-1]) & (tracks[1:] == tracks[:-1])
    if repeated.any():
        place = int(repeated.argmax())
        raise Mistake(
            f"{path}, line {lines[place + 1]}: frame {frames[place]} has a box of track {tracks[place]} on line "
            f"{lines[place]} already; remove one of both."
        )
    corners = np.concatenate([table[:, 3:5], table[:, 3:5] + table[:, 5:7]], axis=1)
    return Boxes(path, lines, frames, tracks, corners, table[:, 7])


def _read_table(path: Path) -> np.ndarray:
    """Return the number of each line and its values, (N, 1 + columns), float64, in the order of the file."""
    values = array("d")  # eight bytes a value: a list of rows would take ten times as much
    num_columns = 0
    # Bytes that are no text become characters that are no number, so that the line is named.
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        # Not the csv module: to it, a quotation mark may join lines.
        for line_number, line in enumerate(file, start=1):
            row = line.strip().split(",")
            if not any(cell.strip() for cell in row):
                continue
            where = f"{path}, line {line_number}"
            num_columns = num_columns or len(row)
            if len(row) < len(COLUMNS):
                expected = f"at least {len(COLUMNS)} values with commas between them ({', '.join(COLUMNS)})"
                raise Mistake(f"{where}: expected {expected}, got {len(row)}.")
            if len(row) != num_columns:
                raise Mistake(f"{where}: expected {num_columns} values, as in the first line, got {len(row)}.")
            values.append(line_number)
            values.extend(_parse_row(row, where))
    if not values:
        raise Mistake(f"{path} holds no box.")
    return np.frombuffer(values).reshape(-1, 1 + len(COLUMNS))


def _parse_row(row: Sequence[str], where: str) -> list[float]:
    """Return the values of a line; those of frame and id are integers."""
    numbers = []
    for name, text in zip(COLUMNS, row, strict=False):
        try:
            number = float(text)
        except ValueError:
            number = None
        if number is None or "_" in text or not text.isascii():  # Python reads 1_0 and digits of other scripts, too
            raise Mistake(f"{where}: {name} must be a number, got {shorten(text)}.")
        if not math.isfinite(number):
            raise Mistake(f"{where}: {name} must be finite, got {shorten(text)}.")
        numbers.append(number)
    frame, track, _, _, width, height, _ = numbers
    if not (frame.is_integer() and 1 <= frame <= LARGEST):
        raise Mistake(f"{where}: frame must be an integer from 1 up, got {shorten(row[0])}.")
    if not (track.is_integer() and 0 <= track <= LARGEST):
        raise Mistake(
            f"{where}: id must be an integer from 0 up, got {shorten(row[1])}; -1 marks detections that no tracker "
            "has joined to tracks yet."
        )
    for name, size, text in (("width", width, row[4]), ("height", height, row[5])):
        if size < 0:
            raise Mistake(f"{where}: {name} must not be negative, got {shorten(text)}.")
    return numbers


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
class CutTracklet:
    """A tracklet to cut; ``mean_width`` and ``mean_height`` are those of its boxes inside the frame, in pixels."""

    folder: str
    track: int
    first_frame: int
    last_frame: int
    num_frames: int
    mean_width: float
    mean_height: float


@dataclass(frozen=True)
class Selection:
    """The crops to cut, sorted by frame, then by track."""

    tracklets: tuple[CutTracklet, ...]  # sorted by track, then by first frame
    frames: np.ndarray  # frame of each crop, (K,), int64
    owners: np.ndarray  # index of its tracklet, (K,), int64
    edges: np.ndarray  # left, top, right and bottom edge in whole pixels, all inside the frame, (K, 4), int64
    report: str  # how many boxes were read, clipped, and left out for which reason: one clause


def select_crops(boxes: Boxes, height: int, width: int, rules: SelectionRules) -> Selection:
    """Choose the crops of a video whose frames have this size."""
    whole = np.rint(boxes.corners)
    inside = _clip(whole, height, width)
    sizes = inside[:, 2:] - inside[:, :2]
    smallest = (rules.min_width, rules.min_height)
    reasons = {
        "outside the frame or empty": (sizes == 0).any(axis=1),
        "smaller than {}x{} pixels (--min_width, --min_height)".format(*smallest): (sizes < smallest).any(axis=1),
    }
    if rules.min_confidence is not None:
        reasons[f"below --min_confidence {rules.min_confidence:g}"] = boxes.confidences < rules.min_confidence
    kept = np.ones(len(boxes), dtype=bool)
    left_out = {reason: _remove(kept, mask) for reason, mask in reasons.items()}

    pieces, names = _split_tracks(boxes, kept, rules.gap)
    left_out[f"skipped by --stride {rules.stride}"] = _remove(kept, (boxes.frames - 1) % rules.stride != 0)
    num_frames = np.bincount(pieces[kept], minlength=len(boxes))
    short = f"in tracklets of fewer than {rules.min_frames} frames (--min_frames)"
    left_out[short] = _remove(kept, num_frames[pieces] < rules.min_frames)

    clauses = [f"{number:,} are {reason}" for reason, number in left_out.items() if number]
    report = f"of {len(boxes):,} boxes, " + (", ".join(clauses) or "none was left out")
    if not kept.any():
        raise Mistake(f"No tracklet is left: {report}. The boxes are those of {boxes.path}.")
    clipped = int((whole != inside)[kept].any(axis=1).sum())
    report += f"; {clipped:,} of the crops are clipped at the border of the frame"

    chosen, owners = np.unique(pieces[kept], return_inverse=True)
    frames, sizes = boxes.frames[kept], sizes[kept]
    tracks, first, last = np.zeros((3, len(chosen)), dtype=np.int64)
    last[owners] = frames  # frames ascend, and the last one written stays
    first[owners[::-1]] = frames[::-1]
    counts = np.bincount(owners)
    means = [np.bincount(owners, weights=sizes[:, side]) / counts for side in (0, 1)]
    tracks[owners] = boxes.tracks[kept]
    tracklets = tuple(
        CutTracklet(names[piece], *(values[index].item() for values in (tracks, first, last, counts, *means)))
        for index, piece in enumerate(chosen)
    )
    return Selection(tracklets, frames, owners, _add_margin(boxes.corners[kept], height, width, rules.margin), report)


def _clip(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Limit edges to the frame; those of a box outside of it become equal."""
    return np.clip(corners, 0, (width, height, width, height))


def _add_margin(corners: np.ndarray, height: int, width: int, margin: float) -> np.ndarray:
    sizes = margin * (corners[:, 2:] - corners[:, :2])
    grown = np.concatenate([corners[:, :2] - sizes, corners[:, 2:] + sizes], axis=1)
    return _clip(np.rint(grown), height, width).astype(np.int64)


def _remove(kept: np.ndarray, mask: np.ndarray) -> int:
    """Take the boxes of a mask out of those kept; returns how many were still kept."""
    number = int((kept & mask).sum())
    kept &= ~mask
    return number


def _split_tracks(boxes: Boxes, kept: np.ndarray, gap: int) -> tuple[np.ndarray, list[str]]:
    """Split the tracks where they are absent for too long: the piece of each kept box, (N,), and the names of pieces.

    The second piece of track 7 is track_0007_2, however few frames the first one has.
    """
    places = np.flatnonzero(kept)
    places = places[np.lexsort((boxes.frames[places], boxes.tracks[places]))]
    tracks, frames = boxes.tracks[places], boxes.frames[places]
    is_new_track = np.diff(tracks, prepend=-1) != 0
    is_new_piece = is_new_track | (np.diff(frames, prepend=0) - 1 > gap)
    pieces = np.zeros(len(boxes), dtype=np.int64)
    pieces[places] = np.cumsum(is_new_piece) - 1
    names: list[str] = []
    number = 0
    for track, is_first in zip(tracks[is_new_piece].tolist(), is_new_track[is_new_piece].tolist(), strict=True):
        number = 1 if is_first else number + 1
        names.append(f"track_{track:04d}" + (f"_{number}" if number > 1 else ""))
    return pieces, names
