"""Cut the boxes of a tracker out of a video: one folder of JPEG frames for each tracklet.

The video is walked once. Memory holds the boxes and one decoded frame, however long the video is.
"""

import csv
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageDraw, ImageFont, ImageOps

from utils.files import whole_folder
from utils.mistake import Mistake
from utils.progress import track

from .boxes import Boxes, Selection, SelectionRules, read_boxes, select_crops
from .frames import read_frames, read_size, upright_pixels, upright_size

TABLE = "cut.csv"  # lists the tracklets, in both folders
_SHEET_QUALITY = 90
SHEET_FRAMES = 16  # of a contact sheet
SHEET_COLUMNS = 8
CELL = (84, 160)  # width and height, pixels
CAPTION_HEIGHT = 18  # pixels
BORDER = 2  # pixels around each frame


def cut_tracklets(
    video: Path,
    boxes: Path,
    output: Path,
    contact_sheets: Path,
    rules: SelectionRules,
    quality: int,
    force: bool = False,
) -> str:
    """Write tracklets and their contact sheets, whole or not at all; returns one sentence with all counts.

    ``output`` gets one folder per tracklet and a table of them, ``contact_sheets``, outside of it, one picture per
    tracklet and the same table. ``quality`` is that of JPEG, 1 to 100. ``force`` replaces what was written here before.
    """
    # Not Path.resolve, to which a loop of links is no error of the file system.
    output, contact_sheets = (Path(os.path.realpath(folder)) for folder in (output, contact_sheets))
    if contact_sheets == output or output in contact_sheets.parents or contact_sheets in output.parents:
        raise Mistake(
            f"--contact_sheets must be a folder outside of the tracklets in {output}, got {contact_sheets}: other "
            "commands would take the sheets for frames."
        )
    with whole_folder(contact_sheets, force) as sheets, whole_folder(output, force) as tracklets:
        read = read_boxes(boxes)
        size = read_size(video)
        selection = select_crops(read, *size, rules)
        _cut(video, size, read, selection, tracklets, quality)
        for tracklet in track(selection.tracklets, "drawing contact sheets", "tracklet"):
            paths = sorted((tracklets / tracklet["folder"]).iterdir(), key=lambda path: int(path.stem))
            draw_tracklet_sheet(paths).save(sheets / f"{tracklet['folder']}.jpg", quality=_SHEET_QUALITY)
        for folder in (tracklets, sheets):
            _write_table(folder / TABLE, selection.tracklets)
    return (
        f"Cut {len(selection.frames):,} frames of {len(selection.tracklets):,} tracklets into {output}: "
        f"{selection.report}."
    )


def _cut(video: Path, size: tuple[int, int], boxes: Boxes, selection: Selection, output: Path, quality: int) -> None:
    """Walk a video up to the last box, and write the crops of each frame."""
    folders = [output / tracklet["folder"] for tracklet in selection.tracklets]
    for folder in folders:
        folder.mkdir()
    last = int(boxes.frames.max())
    number = 0
    for number, frame in enumerate(track(islice(read_frames(video), last), "cutting", "frame", last), start=1):
        if upright_size(frame) != size:
            sizes = "{1}x{0} pixels from frame {2} on, {4}x{3} before".format(*upright_size(frame), number, *size)
            raise Mistake(f"{video} changes its size: {sizes}. Boxes need one size; cut the video there.")
        begin, end = np.searchsorted(selection.frames, (number, number + 1))
        if begin < end:
            pixels = upright_pixels(frame)
            for owner, edges in zip(selection.owners[begin:end], selection.edges[begin:end], strict=True):
                _write_crop(folders[owner] / f"{number:06d}.jpg", pixels, edges, quality)
    if number < last:
        raise Mistake(
            f"{video} ends after frame {number}, but {boxes.path} has a box in frame {last}: the video breaks off, or "
            "the boxes belong to another one."
        )


def _write_crop(path: Path, pixels: np.ndarray, edges: np.ndarray, quality: int) -> None:
    """Write the part of a frame, (H, W, 3), that lies within left, top, right and bottom edge."""
    left, top, right, bottom = edges
    crop = np.ascontiguousarray(pixels[top:bottom, left:right])
    path.write_bytes(simplejpeg.encode_jpeg(crop, quality, "RGB"))


def _write_table(path: Path, tracklets: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, tracklets[0], lineterminator="\n")
        writer.writeheader()
        for row in tracklets:
            writer.writerow(row | {name: f"{row[name]:.1f}" for name in ("mean_width", "mean_height")})


def draw_tracklet_sheet(paths: Sequence[Path]) -> Image.Image:
    """Draw frames of a tracklet, given all in time order, at equal steps, row by row, each above its name."""
    num_frames = min(SHEET_FRAMES, len(paths))
    # The first and the last frame are always shown.
    shown = [paths[round(index * (len(paths) - 1) / max(num_frames - 1, 1))] for index in range(num_frames)]
    height = CELL[1] + CAPTION_HEIGHT
    num_rows = -(-num_frames // SHEET_COLUMNS)
    sheet = Image.new("RGB", (min(num_frames, SHEET_COLUMNS) * CELL[0], num_rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for index, path in enumerate(shown):
        left, top = index % SHEET_COLUMNS * CELL[0], index // SHEET_COLUMNS * height
        with Image.open(path) as image:
            cell = ImageOps.contain(image, (CELL[0] - 2 * BORDER, CELL[1] - 2 * BORDER))
        sheet.paste(cell, (left + BORDER, top + BORDER))
        draw.text((left + BORDER, top + CELL[1]), path.stem.lstrip("0"), fill="black", font=font)
    return sheet
