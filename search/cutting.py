"""Cut the boxes of a tracker out of a video, or a folder of pictures: one folder of JPEG frames for each tracklet.

The video is walked once. Memory holds the boxes and one decoded frame, however long the video is.
"""

import os
import re
from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import simplejpeg
from PIL import Image, ImageDraw, ImageFont, ImageOps

from datasets.readers.names import SHEETS_ENDING, frame_order, is_image_name, last_integer
from utils.files import whole_folder
from utils.mistake import MissingFile, Mistake
from utils.pictures import read_picture
from utils.progress import track
from utils.text import format_csv

from .boxes import COLUMNS, Boxes, Selection, SelectionRules, read_boxes, select_crops

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


def read_frames(path: Path) -> Generator[av.VideoFrame, None, None]:
    """Decode a video, or the pictures of a folder, in the order in which it is shown; one frame is held at a time."""
    if path.is_dir():
        yield from _read_pictures(path)
        return
    if not path.is_file():
        raise MissingFile(f"{path} is not a file; it must be the video, or a folder of its pictures.")
    try:
        # A file may be a list of others, such as a playlist: nothing is fetched from a network.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, OSError) as error:
        raise Mistake(f"{path} cannot be read as a video: {error.strerror}.") from error
    with container:
        stream = container.streams.best("video")
        # FFmpeg draws any text as on a terminal, such as the file of boxes.
        if not isinstance(stream, av.VideoStream) or container.format.name == "tty":
            raise Mistake(f"{path} holds no video.")
        stream.thread_type = "AUTO"
        number = 0
        try:
            for packet in container.demux(stream):
                # A packet that the end of the file cuts short is decoded to a frame that is partly grey.
                frames = stream.decode(None if packet.is_corrupt else packet)
                while frames:
                    number += 1
                    yield frames.pop(0)
                if packet.is_corrupt:
                    raise Mistake(f"{path} is cut short or damaged: it breaks off after frame {number}.")
        except av.error.FFmpegError as error:
            raise Mistake(f"{path} cannot be decoded after frame {number}: {error.strerror}.") from error


def _read_pictures(folder: Path) -> Generator[av.VideoFrame, None, None]:
    """Read the images of a folder in the order of frames, upright."""
    names = sorted(filter(is_image_name, os.listdir(folder)), key=frame_order)
    numbers = sorted(set(map(last_integer, names)))
    steps = [later - number for number, later in pairwise(numbers)]
    if len(numbers) == len(names) and 0 < sum(steps) - len(steps) <= len(names) // 2:
        gap = numbers[next(place for place, step in enumerate(steps) if step > 1)] + 1
        raise Mistake(f"{folder} lacks frame {gap}, so boxes would be cut out of wrong frames. Number the files anew.")
    for name in names:
        yield av.VideoFrame.from_image(read_picture(folder / name))


def first_number(path: Path) -> int:
    """Return the number in the name of a folder's first picture; 1 without pictures, numbers, or a folder."""
    names = filter(is_image_name, os.listdir(path)) if path.is_dir() else ()
    first = min(names, key=frame_order, default="")
    return last_integer(first) if last_integer(first) >= 0 else 1


def read_size(path: Path) -> tuple[int, int]:
    """Return height and width of a video, upright, from its first frame; errors as ``read_frames``."""
    with closing(read_frames(path)) as frames:
        if frame := next(frames, None):
            height, width, _ = upright_pixels(frame).shape
            return height, width
    raise Mistake(f"{path} holds no frame that can be decoded.")


def upright_pixels(frame: av.VideoFrame) -> np.ndarray:
    """Convert a frame to RGB, (H, W, 3), uint8, turned counterclockwise as its metadata ask."""
    return np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
