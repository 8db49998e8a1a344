"""Read one frame: from an image file to a tensor of the wanted size, or to a small picture for a page."""

import base64
import contextlib
import io
import math
import os

import numpy as np
import PIL
import simplejpeg
import torch
import torch.nn.functional as F
from PIL import Image

from utils.mistake import Mistake
from utils.pictures import JPEG_MAGIC, frame_errors, is_turned, read_frame_file, read_rgb

TURNING = (b"Exif\0", b"Orientation")  # what announces that a JPEG may have to be turned
THUMBNAIL_HW = (128, 64)  # pixels of pictures on pages
THUMBNAIL_QUALITY = 60  # of WebP, 0..100

# A JPEG is decoded at a half, a quarter or an eighth if both sides then have at least this many times the pixels of the
# result. With fewer, fine texture would differ by more than a grey level (benchmarks/decoding.py). Other fractions are
# no faster than a full decode.
DECODE_MARGIN = 1.25

# Identifies the decoder, beside kept features. Bump the number when the pixels of ``decode_frame`` change; other
# versions of the libraries may change them, too.
DECODER = f"6, simplejpeg {simplejpeg.__version__}, Pillow {PIL.__version__}, torch {torch.__version__}"


def decode_frame(path: str, size_hw: tuple[int, int]) -> torch.Tensor:
    """Read an image as RGB, upright as its EXIF data say, and resize it bilinearly, antialiased: (C, H, W), uint8.

    JPEG files are decoded by a faster method, which differs from Pillow's by less than a grey level on average. Pillow
    decodes other formats, and JPEG files in which the fast decoder finds an irregularity.
    """
    content = read_frame_file(path)
    with frame_errors(path):
        if content.startswith(JPEG_MAGIC):
            with contextlib.suppress(ValueError):
                return _decode_jpeg(content, size_hw)
        return _decode_with_pillow(content, size_hw)


def _decode_jpeg(content: bytes, size_hw: tuple[int, int]) -> torch.Tensor:
    """Decode to pixels (C, H, W); raise ValueError for CMYK, turned pictures, and where the decoder would warn."""
    *sides, color_space, _ = simplejpeg.decode_jpeg_header(content)
    if color_space == "CMYK":
        raise Mistake("CMYK is left to Pillow, which rounds it differently.")
    if Image.MAX_IMAGE_PIXELS is not None and math.prod(sides) > 2 * Image.MAX_IMAGE_PIXELS:
        raise Mistake("Pillow refuses pictures of this size, whose pixels may not fit in memory.")
    if any(mark in content for mark in TURNING) and is_turned(Image.open(io.BytesIO(content))):
        raise Mistake("Pictures that must be turned are left to Pillow.")
    ratio = min(side / target for side, target in zip(sides, size_hw, strict=True)) / DECODE_MARGIN
    if ratio < 2:
        return resize_pixels(simplejpeg.decode_jpeg(content, "RGB"), size_hw)
    halving = next(factor for factor in (8, 4, 2) if ratio >= factor)
    height, width = (-(-side // halving) for side in sides)
    pixels = _channels_last(
        simplejpeg.decode_jpeg(content, "RGB", min_height=height, min_width=width, min_factor=halving)
    )
    # The decoder rounds odd sides up, so the last pixel lies partly outside the picture: scale by the exact size of the
    # picture. ``interpolate`` rounds the result's size down, so the factor keeps size times scale from falling short.
    scales = tuple((1 + 1e-9) * target * halving / side for side, target in zip(sides, size_hw, strict=True))
    return F.interpolate(pixels, scale_factor=scales, mode="bilinear", antialias=True)[0].contiguous()


def resize_pixels(pixels: np.ndarray, size_hw: tuple[int, int]) -> torch.Tensor:
    """Resize a picture, (height, width, C), uint8, bilinearly, antialiased, to (C, H, W)."""
    return F.interpolate(_channels_last(pixels), size_hw, mode="bilinear", antialias=True)[0].contiguous()


def _channels_last(pixels: np.ndarray) -> torch.Tensor:
    """View (height, width, C) as (1, C, height, width); torch resizes this memory layout fastest."""
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)


def _decode_with_pillow(content: bytes, size_hw: tuple[int, int]) -> torch.Tensor:
    """Decode to pixels (C, H, W), resized as torchvision resizes a Pillow image."""
    height, width = size_hw
    pixels = np.array(read_rgb(content).resize((width, height), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def read_thumbnail(path: str) -> str | None:
    """Return the picture of a frame, WebP in base64; None if it cannot be read, or is where it was no longer."""
    if not os.path.exists(path):
        return None
    try:
        return encode_thumbnail(decode_frame(path, THUMBNAIL_HW).permute(1, 2, 0).numpy())
    except Mistake:  # already warned about when its feature was computed
        return None


def encode_thumbnail(pixels: np.ndarray) -> str:
    """Return the picture of an image, (H, W, 3), uint8, which is scaled."""
    height, width = THUMBNAIL_HW
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(buffer, "WEBP", quality=THUMBNAIL_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
