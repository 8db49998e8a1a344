"""Boxes of a tracker, one per line: frame, id, left, top, width, height, confidence, as in the MOTChallenge.

Everything that the file alone can be wrong about is found here, with the line, before the video is opened.

Axes: N boxes.
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
    """The boxes of a file, sorted by frame, then by track.

    Attributes:
        path: The file, for messages.
        lines: Line of each box, from 1, (N,), int64.
        frames: Its frame, from 1, (N,), int64.
        tracks: Id of its track, (N,), int64.
        corners: Left, top, right and bottom edge in pixels; they may lie outside the frame, (N, 4), float64.
        confidences: In the tracker's own scale, (N,), float64.
    """

    path: Path
    lines: np.ndarray
    frames: np.ndarray
    tracks: np.ndarray
    corners: np.ndarray
    confidences: np.ndarray

    def __len__(self) -> int:
        return len(self.lines)


def read_boxes(path: Path) -> Boxes:
    """Read and check a file of boxes; its lines may be in any order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no box, or a line is wrong; names the line.
    """
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
            _check_columns(row, num_columns, where)
            values.append(line_number)
            values.extend(_parse_row(row, where))
    if not values:
        raise Mistake(f"{path} holds no box.")
    return np.frombuffer(values).reshape(-1, 1 + len(COLUMNS))


def _check_columns(row: Sequence[str], num_columns: int, where: str) -> None:
    if len(row) < len(COLUMNS):
        raise Mistake(
            f"{where}: expected at least {len(COLUMNS)} values with commas between them ({', '.join(COLUMNS)}), got "
            f"{len(row)}."
        )
    if len(row) != num_columns:
        raise Mistake(f"{where}: expected {num_columns} values, as in the first line, got {len(row)}.")


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
