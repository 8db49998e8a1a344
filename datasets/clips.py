"""Clips: which frames of a tracklet to take, and how they get from disk into a tensor.

Pixels leave here as bytes; scaling, normalisation and augmentation are done on whole batches
(``transforms``).
"""

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import PIL
import simplejpeg
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import Dataset

from datasets.frame_cache import FrameCache, frame_key
from datasets.tracklet import Tracklet

logger = logging.getLogger(__name__)

SAMPLINGS = ("train", "test", "consecutive")
UNKNOWN = -1  # label or camera that training does not know
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


class Draw(NamedTuple):
    """One item of a training epoch. Its randomness depends on this and the seed, not on the worker that serves it.

    Attributes:
        index: Item of the dataset.
        epoch: Number of the epoch.
        position: Running number of the draw within the epoch, over all processes: an item can be drawn
            repeatedly.
    """

    index: int
    epoch: int
    position: int


def sample_train_indices(num_frames: int, clip_length: int, rng: np.random.Generator) -> np.ndarray:
    """One random frame of each of ``clip_length`` equal segments, (T,), in time order.

    The tracklet is first padded with its last frame to a multiple of ``clip_length``.
    """
    starts, segment_length = _segments(num_frames, clip_length)
    return np.minimum(starts + rng.integers(segment_length, size=clip_length), num_frames - 1)


def sample_test_indices(num_frames: int, clip_length: int, clip: int = 0, num_clips: int = 1) -> np.ndarray:
    """One frame of each of ``clip_length`` equal segments, (T,), padded as in training: the first one in clip 0.

    Further clips start later in the segments, at evenly spread offsets. Where a segment has fewer frames than
    there are clips, some of them are the same.

    Args:
        num_frames: Frames of the tracklet.
        clip_length: Frames of a clip, T.
        clip: Number of the clip, 0..num_clips - 1.
        num_clips: How many clips share the segments.
    """
    if not 0 <= clip < num_clips:
        raise ValueError(f"clip must be in 0..num_clips - 1 (TEST.NUM_CLIPS {num_clips}), got {clip}.")
    starts, segment_length = _segments(num_frames, clip_length)
    return np.minimum(starts + clip * segment_length // num_clips, num_frames - 1)


def consecutive_clips(num_frames: int, clip_length: int) -> np.ndarray:
    """All frames in consecutive clips, (num_clips, T); the last clip repeats its own frames in turn."""
    _check_lengths(num_frames, clip_length)
    starts = np.arange(0, num_frames, clip_length)
    sizes = np.minimum(clip_length, num_frames - starts)
    return starts[:, None] + np.arange(clip_length) % sizes[:, None]


def _segments(num_frames: int, clip_length: int) -> tuple[np.ndarray, int]:
    _check_lengths(num_frames, clip_length)
    segment_length = -(-num_frames // clip_length)
    return np.arange(clip_length) * segment_length, segment_length


def _check_lengths(num_frames: int, clip_length: int) -> None:
    if num_frames < 1 or clip_length < 1:
        raise ValueError(
            f"num_frames and clip_length (INPUT.SEQ_LEN) must be at least 1, got {num_frames} and {clip_length}."
        )


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


class TrackletClips(Dataset):
    """Clips of tracklets, decoded.

    An item is a dict of ``clips``, (T, C, H, W), uint8; ``label``, the training label of the person, and
    ``camid``, the 0-based training camera, both -1 when unknown; ``tracklet``, the index into ``tracklets``;
    and ``unreadable``, (T,), int64: the numbers within the tracklet of frames that could not be read, -1 for
    all others.

    A frame that cannot be read is replaced by the nearest one of its tracklet that can, with one warning: worker
    processes share what is known to be unreadable (one byte a frame), so that it is not tried again either.

    Args:
        tracklets: Tracklets to serve, in this order.
        size: Height and width of the frames, in pixels.
        clip_length: Frames of a clip, T.
        sampling: 'train' takes a random frame of each of T segments, and an item is a tracklet; 'test' takes
            the first one, and with several clips later ones. 'consecutive' cuts every tracklet in clips of T
            frames. With both, an item is a clip, and those of a tracklet follow one another.
        seed: Of the random frames, with the epoch and position in a ``Draw``.
        labels: Training label by pid; None for none.
        cameras: 0-based training camera by camid; None for none.
        num_clips: Clips of each tracklet with sampling 'test'; the others have no choice.
        cache: Where decoded frames are kept and looked up; None for nowhere. Items are the same, to the bit.
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        size: tuple[int, int],
        clip_length: int,
        sampling: str,
        seed: int = 0,
        labels: Mapping[int, int] | None = None,
        cameras: Mapping[int, int] | None = None,
        num_clips: int = 1,
        cache: FrameCache | None = None,
    ) -> None:
        if sampling not in SAMPLINGS:
            raise ValueError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {sampling!r}.")
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size must be a height and a width in pixels, got {tuple(size)}.")
        if clip_length < 1:
            raise ValueError(f"clip_length (INPUT.SEQ_LEN) must be at least 1, got {clip_length}.")
        if num_clips < 1 or (num_clips > 1 and sampling != "test"):
            raise ValueError(
                f"num_clips (TEST.NUM_CLIPS) must be at least 1, and 1 unless sampling is 'test', got {num_clips} "
                f"for {sampling!r}."
            )
        self.tracklets = tracklets
        self.size = tuple(size)
        self.clip_length = clip_length
        self.sampling = sampling
        self.num_clips = num_clips
        self.cache = cache
        self.seed = seed
        self.labels = labels or {}
        self.cameras = cameras or {}
        for tracklet in tracklets:
            if not tracklet.frame_paths:
                raise ValueError(f"Tracklet {tracklet.key} has no frames.")
        lengths = np.array([len(tracklet.frame_paths) for tracklet in tracklets], dtype=np.int64)
        num_items = -(-lengths // clip_length) if sampling == "consecutive" else np.full_like(lengths, num_clips)
        self._ends = np.cumsum(num_items)  # items up to and including each tracklet
        self._first_frames = np.cumsum(lengths) - lengths  # of each tracklet, among the frames of all
        self._is_unreadable = torch.zeros(int(lengths.sum()), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, item: int | Draw) -> dict[str, torch.Tensor | int]:
        """The clip of an item; a plain index draws as position ``index`` of epoch 0."""
        draw = item if isinstance(item, Draw) else Draw(int(item), 0, int(item))
        if not 0 <= draw.index < len(self):
            raise IndexError(f"Item {draw.index} of {len(self)} clips.")
        number = int(np.searchsorted(self._ends, draw.index, side="right"))
        tracklet = self.tracklets[number]
        indices = self._sample(draw, number)
        decoded: dict[bytes, torch.Tensor] = {}
        frames = {index: self._read(number, index, decoded) for index in dict.fromkeys(indices.tolist())}
        if decoded:
            self.cache.put(decoded)
        asked = torch.from_numpy(indices)
        is_unreadable = self._is_unreadable[asked + int(self._first_frames[number])]
        return {
            "clips": torch.stack([frames[index] for index in indices.tolist()]),
            "label": self.labels.get(tracklet.pid, UNKNOWN),
            "camid": self.cameras.get(tracklet.camid, UNKNOWN),
            "tracklet": number,
            "unreadable": torch.where(is_unreadable, asked, UNKNOWN),
        }

    def _sample(self, draw: Draw, number: int) -> np.ndarray:
        num_frames = len(self.tracklets[number].frame_paths)
        if self.sampling == "train":
            seeds = np.random.SeedSequence([self.seed, draw.epoch, draw.position])
            return sample_train_indices(num_frames, self.clip_length, np.random.default_rng(seeds))
        if self.sampling == "test":
            clip = draw.index - number * self.num_clips
            return sample_test_indices(num_frames, self.clip_length, clip, self.num_clips)
        clips = consecutive_clips(num_frames, self.clip_length)
        return clips[draw.index - (self._ends[number] - len(clips))]

    def _read(self, number: int, index: int, decoded: dict[bytes, torch.Tensor]) -> torch.Tensor:
        """The frame of a tracklet, or the nearest readable one; ``decoded`` as for ``_look_up``."""
        paths = self.tracklets[number].frame_paths
        first = int(self._first_frames[number])
        for candidate in _by_closeness(index, len(paths)):
            if self._is_unreadable[first + candidate]:
                continue
            try:
                return self._look_up(paths[candidate], decoded)
            except UnreadableFrameError as error:
                self._is_unreadable[first + candidate] = True
                logger.warning("%s; the nearest readable frame of the tracklet takes its place.", error)
        folder = os.path.dirname(paths[0])
        raise UnreadableFrameError(f"None of the {len(paths)} frames of tracklet {folder} can be read.")

    def _look_up(self, path: str, decoded: dict[bytes, torch.Tensor]) -> torch.Tensor:
        """The frame of a file, cached or decoded; what the cache lacks is added to ``decoded`` by its key."""
        key = None if self.cache is None else frame_key(path, self.size, DECODER)
        if key is None:
            return decode_frame(path, self.size)
        frame = self.cache.get(key, self.size)
        if frame is None:
            frame = decoded[key] = decode_frame(path, self.size)
        return frame


def _by_closeness(index: int, num_frames: int) -> Iterator[int]:
    """All frames, nearest to ``index`` first; of two equally near, the earlier."""
    yield index
    for distance in range(1, num_frames):
        for other in (index - distance, index + distance):
            if 0 <= other < num_frames:
                yield other
