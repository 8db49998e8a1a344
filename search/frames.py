"""The frames of a video, one after the other and as a player shows them: upright."""

import os
from collections.abc import Generator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from datasets.readers.names import frame_order, is_image_name, last_integer
from utils.mistake import MissingFile, Mistake
from utils.pictures import read_picture


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
