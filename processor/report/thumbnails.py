"""Small pictures of tracklets for the page, as many and as sharp as a number of bytes allows."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from datasets import Tracklet
from datasets.clips.decoding import UnreadableFrameError, decode_frame

INDEX_BYTES = 8  # at most, of a picture's index with a comma
NUM_SAMPLES = 48  # frames whose pictures are measured, to estimate the bytes of all


@dataclass(frozen=True)
class PictureForm:
    """Height and width of a picture in pixels, and its WebP quality, 0..100."""

    size_hw: tuple[int, int]
    quality: int


# Tried in order: the first whose pictures fit is taken.
FORMS = (
    PictureForm((160, 80), 70),
    PictureForm((128, 64), 60),
    PictureForm((128, 64), 35),
    PictureForm((96, 48), 30),
    PictureForm((64, 32), 25),
)


@dataclass
class PictureTable:
    """Pictures, each held once and named by its index.

    Attributes:
        form: Of every picture.
        max_bytes: What all of them may take.
        pictures: WebP files in base64.
        num_bytes: What they take together, with the places that name them.
    """

    form: PictureForm
    max_bytes: int
    pictures: list[str] = field(default_factory=list)
    num_bytes: int = 0
    _indices: dict[str, int | None] = field(default_factory=dict)  # by the frame's path

    def add_frame(self, path: str) -> int | None:
        """Add a frame, if it is new; returns its index, or None if it cannot be read or there is no room left."""
        if path in self._indices:
            self.num_bytes += INDEX_BYTES
        elif self._has_room():
            self._indices[path] = self._add(_encode_frame(path, self.form))
        return self._indices.get(path)

    def add_pixels(self, pixels: np.ndarray) -> int | None:
        """Add an image (H, W, 3), uint8, scaled to the table's form; returns its index, or None without room."""
        return self._add(_encode(pixels, self.form)) if self._has_room() else None

    def _has_room(self) -> bool:
        return self.num_bytes < self.max_bytes

    def _add(self, picture: str | None) -> int | None:
        if picture is None:
            return None
        self.pictures.append(picture)
        self.num_bytes += len(picture) + len('"",') + INDEX_BYTES
        return len(self.pictures) - 1


def choose_form(paths: Sequence[str], max_bytes: int) -> PictureForm:
    """Choose the sharpest form in which a picture of each frame probably fits into ``max_bytes``, else the smallest.

    The bytes of a picture are measured on frames at equal steps.
    """
    samples = paths[:: max(1, len(paths) // NUM_SAMPLES)]
    for form in FORMS:
        pictures = [_encode_frame(path, form) for path in samples]
        sizes = [len(picture) for picture in pictures if picture is not None]
        if not sizes or np.mean(sizes) * len(paths) <= max_bytes:
            return form
    return FORMS[-1]


def spread_frames(tracklet: Tracklet, number: int) -> list[str]:
    """Return the paths of frames at equal steps in time order, ``number`` of them or all if there are fewer."""
    count = len(tracklet.frame_paths)
    number = min(number, count)
    return [tracklet.frame_paths[(2 * step + 1) * count // (2 * number)] for step in range(number)]


def _encode_frame(path: str, form: PictureForm) -> str | None:
    try:
        return _encode(decode_frame(path, form.size_hw).permute(1, 2, 0).numpy(), form)
    except UnreadableFrameError:  # already warned about when its feature was computed
        return None


def _encode(pixels: np.ndarray, form: PictureForm) -> str:
    height, width = form.size_hw
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(buffer, "WEBP", quality=form.quality)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
