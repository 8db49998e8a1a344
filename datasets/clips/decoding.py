"""Reading one frame: from an image file to a tensor of the wanted size."""

import contextlib
import io

import numpy as np
import PIL
import simplejpeg
import torch
import torch.nn.functional as F
from PIL import Image

JPEG_MAGIC = b"\xff\xd8\xff"

# A JPEG is decoded at a half, a quarter or an eighth where that leaves at least this many times the pixels that the
# result needs on both sides. Below it fine texture would differ by more than a grey level (benchmarks/decoding.py);
# other fractions are no faster than a full decode.
DECODE_MARGIN = 1.25

# What makes the pixels of ``decode_frame``, for the frame cache. Raise the number whenever they change; other versions
# of the libraries may change them, too.
DECODER = f"1, simplejpeg {simplejpeg.__version__}, Pillow {PIL.__version__}, torch {torch.__version__}"


class UnreadableFrameError(OSError):
    """A frame, or every frame of a tracklet, could not be decoded."""


def decode_frame(path: str, size_hw: tuple[int, int]) -> torch.Tensor:
    """Read an image as RGB and resize it bilinearly, antialiased.

    JPEG files take a short way, which differs from Pillow's decode and resize by less than a grey level on average.
    All others, and JPEG files in which it finds anything odd, go through Pillow, which knows what can be tolerated.
    Whoever changes the pixels raises the number in ``DECODER``: frame caches hold those of earlier runs.

    Args:
        path: Image file.
        size_hw: Height and width of the result, in pixels.
    Returns:
        Pixels, (C, H, W), uint8.
    Raises:
        UnreadableFrameError: If the file is missing, or is not an image that can be decoded to its end.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
        if content.startswith(JPEG_MAGIC):
            with contextlib.suppress(ValueError):
                return _decode_jpeg(content, size_hw)
        return _decode_with_pillow(content, size_hw)
    # Pillow's plugins answer broken files with any of these.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UnreadableFrameError(f"Cannot read frame {path}: {error}") from error


def _decode_jpeg(content: bytes, size_hw: tuple[int, int]) -> torch.Tensor:
    """Pixels (C, H, W); raises ValueError for whatever the decoder would only warn of, and for CMYK."""
    *sides, color_space, _ = simplejpeg.decode_jpeg_header(content)
    if color_space == "CMYK":
        raise ValueError("CMYK is left to Pillow, which rounds it differently.")
    ratio = min(side / target for side, target in zip(sides, size_hw, strict=True)) / DECODE_MARGIN
    if ratio < 2:
        pixels = _channels_last(simplejpeg.decode_jpeg(content, "RGB"))
        return F.interpolate(pixels, size_hw, mode="bilinear", antialias=True)[0].contiguous()
    halving = next(factor for factor in (8, 4, 2) if ratio >= factor)
    height, width = (-(-side // halving) for side in sides)
    pixels = _channels_last(
        simplejpeg.decode_jpeg(content, "RGB", min_height=height, min_width=width, min_factor=halving)
    )
    # What remains of an odd side makes one pixel more, but the picture ends within it: scale what it covers. The
    # result's size is rounded down, so keep the product of size and scale from falling short of it.
    scales = tuple((1 + 1e-9) * target * halving / side for side, target in zip(sides, size_hw, strict=True))
    return F.interpolate(pixels, scale_factor=scales, mode="bilinear", antialias=True)[0].contiguous()


def _channels_last(pixels: np.ndarray) -> torch.Tensor:
    """(height, width, C) as (1, C, height, width), a view: the layout that torch resizes fastest."""
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)


def _decode_with_pillow(content: bytes, size_hw: tuple[int, int]) -> torch.Tensor:
    """Pixels (C, H, W), as torchvision resizes a Pillow image."""
    height, width = size_hw
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.array(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
