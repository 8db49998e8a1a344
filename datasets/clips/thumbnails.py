"""Small pictures of tracklets for pages: WebP in base64, all of one size."""

import base64
import io

import numpy as np
from PIL import Image

from .decoding import UnreadableFrameError, decode_frame

THUMBNAIL_HW = (128, 64)  # pixels
QUALITY = 60  # of WebP, 0..100


def read_thumbnail(path: str) -> str | None:
    """Return the picture of a frame; None if it cannot be read."""
    try:
        return encode_thumbnail(decode_frame(path, THUMBNAIL_HW).permute(1, 2, 0).numpy())
    except UnreadableFrameError:  # already warned about when its feature was computed
        return None


def encode_thumbnail(pixels: np.ndarray) -> str:
    """Return the picture of an image, (H, W, 3), uint8, which is scaled."""
    height, width = THUMBNAIL_HW
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(buffer, "WEBP", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
