"""Draw a picture of synthetic people as all cameras see them, described in words."""

import logging
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .cameras import ALTITUDES, CAMERAS, Camera
from .people import Person
from .rendering import render_tracklet

logger = logging.getLogger(__name__)

NUM_FRAMES = 2  # of each tracklet
CELL = (130, 80)  # height and width, pixels
CAPTION_HEIGHT = 26  # pixels
FONT_SIZE = 13  # the longest caption is as wide as a sheet
MAX_ZOOM = 2.5  # small aerial crops grow by at most this, so that they stay visibly small


def write_contact_sheet(path: Path, seed: int, num_people: int, width: int | None) -> None:
    """Write a contact sheet as a PNG file: as it is drawn, or ``width`` pixels wide and without descriptions."""
    sheet = Image.fromarray(draw_contact_sheet(seed, num_people, captions=width is None))
    if width is not None:
        sheet = sheet.resize((width, round(width * sheet.height / sheet.width)), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
    logger.info("Wrote %s, %d KiB.", path, path.stat().st_size // 1024)


def draw_contact_sheet(seed: int, num_people: int, captions: bool = True) -> np.ndarray:
    """Draw people in rows, (H, W, 3), uint8: on the left one tracklet per ground camera, on the right one per altitude.

    With ``captions``, each person is described in words below the row.
    """
    drones = [camera for camera in CAMERAS if camera.view == "aerial"]
    shots: list[tuple[Camera, int | None]] = [(camera, None) for camera in CAMERAS if camera.view == "ground"]
    shots += [(drones[index % len(drones)], altitude) for index, altitude in enumerate(ALTITUDES)]
    width = CELL[1]
    height = CELL[0] + CAPTION_HEIGHT * captions
    sheet = np.full((num_people * height, len(shots) * NUM_FRAMES * width, 3), 255, dtype=np.uint8)
    for row in range(num_people):
        person = Person(np.random.default_rng([seed, row]))
        if captions:
            top = row * height + CELL[0]
            sheet[top : top + CAPTION_HEIGHT] = _draw_caption(person.caption(), sheet.shape[1])
        for index, (camera, altitude) in enumerate(shots):
            rng = np.random.default_rng([seed, row, index])
            frames = render_tracklet(person, camera, 2 * NUM_FRAMES, rng, altitude)[::2]
            for column, frame in enumerate(frames, start=index * NUM_FRAMES):
                cell = _fit(frame)
                top, left = row * height, column * width
                sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet


def _draw_caption(caption: str, width: int) -> np.ndarray:
    """Draw a line of text, (CAPTION_HEIGHT, width, 3), uint8."""
    strip = Image.new("RGB", (width, CAPTION_HEIGHT), "white")
    text = f"{caption[0].upper()}{caption[1:]}."
    ImageDraw.Draw(strip).text((4, 2), text, fill="black", font=ImageFont.load_default(FONT_SIZE))
    return np.asarray(strip)


def _fit(frame: np.ndarray) -> np.ndarray:
    """Resize a crop (H, W, 3) to fill a cell, less a narrow border, as far as ``MAX_ZOOM`` allows."""
    zoom = min((CELL[0] - 4) / frame.shape[0], (CELL[1] - 4) / frame.shape[1], MAX_ZOOM)
    size = (max(int(frame.shape[1] * zoom), 1), max(int(frame.shape[0] * zoom), 1))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
