"""Turn a picture that Pillow opened into upright RGB, alike for training, exported networks and folders of pictures."""

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")  # read by content, whatever the file is called
ORIENTATION = 0x0112  # EXIF's tag; 1 is upright


def upright_rgb(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF data say, and convert it to RGB.

    Of 16 bits a channel, the upper 8 are kept; files of 12 bits, as infrared cameras write, are recognised by their
    largest value.
    """
    if is_turned(image):
        ImageOps.exif_transpose(image, in_place=True)
    # Only of 16-bit grey does Pillow keep all bits, and ``convert`` would cut every value above 255.
    if image.mode.startswith("I"):
        values = np.asarray(image)
        bits = next(bits for bits in (8, 12, 32) if values.max() < 2**bits)
        image = Image.fromarray((values >> (min(bits, 16) - 8)).astype(np.uint8))
    return image.convert("RGB")


def is_turned(image: Image.Image) -> bool:
    """Return whether EXIF data say that a picture must be turned or mirrored; damaged data say nothing."""
    try:
        return image.getexif().get(ORIENTATION, 1) not in (0, 1)
    except Exception:  # Pillow promises no list of what it raises for damaged data
        return False
