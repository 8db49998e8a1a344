"""Cut the boxes of a tracker out of a video: one folder of JPEG frames for each tracklet.

The video is walked once. Memory holds the boxes and one decoded frame, however long the video is.
"""

import re
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageDraw, ImageFont, ImageOps

from datasets.readers.names import SHEETS_ENDING
from utils.files import whole_folder
from utils.mistake import Mistake
from utils.progress import track
from utils.text import format_csv

from .boxes import COLUMNS, Boxes, Selection, SelectionRules, read_boxes, select_crops
from .frames import first_number, read_frames, read_size, upright_pixels

TABLE = "cut.csv"  # lists the tracklets
QUALITY = 95  # of JPEG, 1 to 100
SHEET_FRAMES, SHEET_COLUMNS = 16, 8  # of a contact sheet
CELL = (84, 160)  # width and height, pixels
CAPTION_HEIGHT = 18  # pixels


def cut_tracklets(
    video: Path,
    boxes: Path,
    output: Path,
    rules: SelectionRules,
    force: bool = False,
    classes: Collection[str] = (),
    first_frame: int = 1,
    name: str = "",
) -> str:
    """Write tracklets and their contact sheets, whole or not at all; returns one sentence with all counts.

    ``output`` gets one folder per tracklet and a table of them, OUTPUT_contact_sheets one picture per tracklet.
    ``name``, '' for the video's, begins the names of the folders, so that those of two videos differ.
    """
    output = output.resolve()  # '.' and 'data/..' have no name
    contact_sheets = output.with_name(f"{output.name}{SHEETS_ENDING}")
    with whole_folder(contact_sheets, force) as sheets, whole_folder(output, force) as tracklets:
        read = read_boxes(boxes, classes, first_frame)
        if 1 < (first := first_number(video)) <= read.frames.min():
            both = f"the pictures of {video} begin with number {first}, and no box of {boxes} is before it"
            raise Mistake(f"{both}: frame {first} would be the picture at place {first}. Number both from 1.")
        size = read_size(video)
        selection = select_crops(read, *size, rules)
        for tracklet in selection.tracklets:
            tracklet["folder"] = f"{name_video(video, name)}_{tracklet['folder']}"
        _cut(video, size, read, selection, tracklets)
        for tracklet in track(selection.tracklets, "drawing contact sheets", "tracklet"):
            paths = sorted((tracklets / tracklet["folder"]).iterdir(), key=lambda path: int(path.stem))
            draw_tracklet_sheet(paths).save(sheets / f"{tracklet['folder']}.jpg", quality=QUALITY)
        table = format_csv([COLUMNS, *(tracklet.values() for tracklet in selection.tracklets)])
        (tracklets / TABLE).write_text(table, encoding="utf-8")
    counts = f"{len(selection.frames):,} frames of {len(selection.tracklets):,} tracklets"
    question = f"Look at {contact_sheets}, one picture per tracklet: does each show one person?"
    return f"Cut {counts} into {output}: {selection.report}. {question}"


def name_video(video: Path, name: str = "") -> str:
    """Return a name, or that of a video's file or folder, or of the folder around MOT's ``img1``, as a plain word."""
    path = video.resolve()
    name = name or (path.parent.name if path.name == "img1" else path.name if path.is_dir() else path.stem)
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "video"


def _cut(video: Path, size: tuple[int, int], boxes: Boxes, selection: Selection, output: Path) -> None:
    """Walk a video up to the last box, and write the crops of each frame."""
    folders = [output / tracklet["folder"] for tracklet in selection.tracklets]
    for folder in folders:
        folder.mkdir()
    last = int(boxes.frames.max())
    number = 0
    for number, frame in enumerate(track(islice(read_frames(video), last), "cutting", "frame", last), start=1):
        begin, end = np.searchsorted(selection.frames, (number, number + 1))
        if begin == end:
            continue
        pixels = upright_pixels(frame)
        if pixels.shape[:2] != size:
            raise Mistake(f"{video} changes its size before frame {number}. Boxes need one size; cut the video there.")
        for owner, edges in zip(selection.owners[begin:end], selection.edges[begin:end], strict=True):
            left, top, right, bottom = edges
            crop = np.ascontiguousarray(pixels[top:bottom, left:right])
            jpeg = simplejpeg.encode_jpeg(crop, QUALITY, "RGB")
            (folders[owner] / f"{number:06d}.jpg").write_bytes(jpeg)
    if number < last:
        raise Mistake(
            f"{video} ends after frame {number}, but {boxes.path} has a box in frame {last}: the video breaks off, or "
            "the boxes belong to another one."
        )


def draw_tracklet_sheet(paths: Sequence[Path]) -> Image.Image:
    """Draw frames of a tracklet, given all in time order, at equal steps, row by row, each above its name."""
    num_frames = min(SHEET_FRAMES, len(paths))
    shown = [paths[place] for place in np.linspace(0, len(paths) - 1, num_frames).round().astype(int)]
    height = CELL[1] + CAPTION_HEIGHT
    num_rows = -(-num_frames // SHEET_COLUMNS)
    sheet = Image.new("RGB", (min(num_frames, SHEET_COLUMNS) * CELL[0], num_rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for index, path in enumerate(shown):
        left, top = index % SHEET_COLUMNS * CELL[0], index // SHEET_COLUMNS * height
        with Image.open(path) as image:
            sheet.paste(ImageOps.contain(image, CELL), (left, top))
        draw.text((left, top + CELL[1]), path.stem.lstrip("0"), fill="black", font=font)
    return sheet
