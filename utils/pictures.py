"""Read a picture's file, and decode it by Pillow to upright RGB: alike for training, exported networks and videos."""

import contextlib
import errno
import io
import os
import stat
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .mistake import Mistake

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")  # read by content, whatever the file is called
ORIENTATION = 0x0112  # EXIF's tag; 1 is upright
JPEG_MAGIC = b"\xff\xd8\xff"
ENDS = {JPEG_MAGIC: b"\xff\xd9", b"\x89PNG": b"IEND\xaeB`\x82"}  # of files of a format, by how these begin
DARK = 64  # grey level below which a picture of 16 bits a channel holds at most 14
TORN = bytes(64)  # ends a file whose last blocks never reached the disk
# What the system says of storage that cannot deliver a file now, or of too many open files; and seconds between tries.
AWAY = {
    getattr(errno, name, -1) for name in ("EIO", "ESTALE", "EMFILE", "ENFILE", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN")
}
PAUSES = (1, 2, 4, 8)


class UnreadableFrameError(Mistake, OSError):
    """A frame, or every frame of a tracklet, could not be decoded."""


class StorageAwayError(Mistake):
    """Storage cannot deliver a file now: the frame itself may be good."""


def read_picture(path: str | os.PathLike[str]) -> Image.Image:
    """Read and decode a file as ``read_rgb``; raises the errors of ``read_frame_file``."""
    content = read_frame_file(path)
    with frame_errors(path):
        return read_rgb(content)


def read_frame_file(path: str | os.PathLike[str]) -> bytes:
    """Read a regular file whole. Storage that is away is asked again after pauses; if it stays away, the run ends."""
    for pause in PAUSES:
        with contextlib.suppress(StorageAwayError):
            return _read_regular(path)
        time.sleep(pause)
    return _read_regular(path)


def _read_regular(path: str | os.PathLike[str]) -> bytes:
    """Read a file, but no pipe, which would wait for its writer, and no device such as /dev/zero, which has no end."""
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                return file.read(status.st_size)  # not to the end: the file may still grow
    except (OSError, ValueError) as error:  # ValueError: the path holds a null character
        no_folder = isinstance(error, FileNotFoundError) and not os.path.isdir(os.path.dirname(os.path.abspath(path)))
        if no_folder or getattr(error, "errno", None) in AWAY:
            raise StorageAwayError(f"{path} cannot be read, because storage is away: {error}.") from error
        raise UnreadableFrameError(f"Cannot read frame {path}: {error}") from error
    raise UnreadableFrameError(f"Cannot read frame {path}: it is not a regular file.")


@contextlib.contextmanager
def frame_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise whatever a block raises about a frame as ``UnreadableFrameError``."""
    try:
        yield
    except Exception as error:  # decoders promise no list of what they raise for damaged files
        unknown = isinstance(error, UnidentifiedImageError)
        cause = f"it is damaged, or none of {', '.join(FORMATS)}." if unknown else str(error) or type(error).__name__
        raise UnreadableFrameError(f"Cannot read frame {path}: {cause}") from error


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


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return height and width of a picture as ``read_picture`` does; raises its errors for damaged heads of files."""
    content = read_frame_file(path)
    with frame_errors(path), Image.open(io.BytesIO(content), formats=FORMATS) as image:
        is_on_its_side = is_turned(image) and image.getexif()[ORIENTATION] in range(5, 9)
        return (image.width, image.height) if is_on_its_side else (image.height, image.width)


def is_turned(image: Image.Image) -> bool:
    """Return whether EXIF or XMP data say that a picture must be turned or mirrored; damaged data say nothing."""
    try:
        return image.getexif().get(ORIENTATION, 1) not in (0, 1)
    except Exception:  # Pillow promises no list of what it raises for damaged data
        return False
