"""Decode a picture by Pillow to upright RGB, alike for training, exported networks and folders of pictures."""

import io

import numpy as np
from PIL import Image, ImageOps

from .mistake import Mistake

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")  # read by content, whatever the file is called
ORIENTATION = 0x0112  # EXIF's tag; 1 is upright
JPEG_MAGIC = b"\xff\xd8\xff"
ENDS = {JPEG_MAGIC: b"\xff\xd9", b"\x89PNG": b"IEND\xaeB`\x82"}  # of files of a format, by how these begin
TORN = bytes(64)  # ends a file whose last blocks never reached the disk
DARK = 64  # grey level below which a picture of 16 bits a channel holds at most 14


def read_rgb(content: bytes) -> Image.Image:
    """Decode a file's content, turn it as its EXIF or XMP data say, and convert it to RGB.

    Of 16 bits a channel, the upper 8 are kept; grey pictures of 10, 12 or 14 bits, as infrared cameras write, are
    recognised by their largest value.
    """
    end = next((end for magic, end in ENDS.items() if content.startswith(magic)), b"")
    if content.endswith(TORN) and not content.rstrip(b"\0").endswith(end):
        raise Mistake("its end was never written")
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        is_deep = image.format == "PNG" and image.mode[0] != "I" and any(";16" in str(tile) for tile in image.tile)
        if is_turned(image):
            ImageOps.exif_transpose(image, in_place=True)
        # Only of 16-bit grey does Pillow keep all bits, and ``convert`` would cut every value above 255.
        if image.mode.startswith("I"):
            values = np.asarray(image)
            bits = next(bits for bits in (8, 10, 12, 14, 32) if values.max() < 2**bits)
            image = Image.fromarray((values >> (min(bits, 16) - 8)).astype(np.uint8))
        rgb = image.convert("RGB")
    if is_deep and max(high for _, high in rgb.getextrema()) < DARK:
        raise Mistake("it uses fewer than its 16 bits a channel, and would be black; save it with 8 bits")
    return rgb


def is_turned(image: Image.Image) -> bool:
    """Return whether EXIF or XMP data say that a picture must be turned or mirrored; damaged data say nothing."""
    try:
        return image.getexif().get(ORIENTATION, 1) not in (0, 1)
    except Exception:  # Pillow promises no list of what it raises for damaged data
        return False
