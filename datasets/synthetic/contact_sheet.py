"""A picture of synthetic people as all cameras see them."""

import logging

import numpy as np
from PIL import Image

from .cameras import CAMERAS
from .people import Person
from .rendering import render_tracklet

logger = logging.getLogger(__name__)

NUM_PEOPLE = 12
NUM_FRAMES = 2  # of each tracklet
AERIAL_ALTITUDES = (15, 30, 80, 120)  # metres, one aerial tracklet each
CELL = (130, 80)  # height and width, pixels
MAX_ZOOM = 2.5  # small aerial crops grow by at most this, so that they stay visibly small


def draw_contact_sheet(seed: int, num_people: int = NUM_PEOPLE) -> np.ndarray:
    """Draw people in rows: on the left one tracklet per ground camera, on the right one per altitude.

    Args:
        seed: Seed of people and tracklets.
        num_people: Rows.
    Returns:
        Sheet, (H, W, 3), uint8.
    """
    ground = [(camera, None) for camera in CAMERAS if camera.view == "ground"]
    drones = [camera for camera in CAMERAS if camera.view == "aerial"]
    aerial = [(drones[index % len(drones)], altitude) for index, altitude in enumerate(AERIAL_ALTITUDES)]
    shots = ground + aerial
    height, width = CELL
    sheet = np.full((num_people * height, len(shots) * NUM_FRAMES * width, 3), 255, dtype=np.uint8)
    for row in range(num_people):
        person = Person.sample(np.random.default_rng([seed, row]))
        logger.info("Row %d: %s.", row + 1, person.caption())
        for index, (camera, altitude) in enumerate(shots):
            rng = np.random.default_rng([seed, row, index])
            frames = render_tracklet(person, camera, 2 * NUM_FRAMES, rng, altitude)[::2]
            for column, frame in enumerate(frames, start=index * NUM_FRAMES):
                cell = _fit(frame)
                top, left = row * height, column * width
                sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet


def _fit(frame: np.ndarray) -> np.ndarray:
    """Resize a crop (H, W, 3) to fill a cell, less a narrow border, as far as ``MAX_ZOOM`` allows."""
    zoom = min((CELL[0] - 4) / frame.shape[0], (CELL[1] - 4) / frame.shape[1], MAX_ZOOM)
    size = (max(int(frame.shape[1] * zoom), 1), max(int(frame.shape[0] * zoom), 1))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
