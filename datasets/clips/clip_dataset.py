"""The dataset of clips: which frames an item takes, decoded and stacked.

Pixels leave here as bytes; scaling, normalisation and augmentation are done on whole batches (``transforms``).
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from utils.unknown import UNKNOWN

from ..storage.frame_cache import FrameCache, frame_key
from ..tracklet import Tracklet
from .decoding import DECODER, UnreadableFrameError, decode_frame
from .sampling import consecutive_clips, sample_test_indices, sample_train_indices

logger = logging.getLogger(__name__)

SAMPLINGS = ("train", "test", "consecutive")


class ClipRequest(NamedTuple):
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
        seed: Of the random frames, with the epoch and position in a ``ClipRequest``.
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

    def __getitem__(self, item: int | ClipRequest) -> dict[str, torch.Tensor | int]:
        """The clip of an item; a plain index draws as position ``index`` of epoch 0."""
        request = item if isinstance(item, ClipRequest) else ClipRequest(int(item), 0, int(item))
        if not 0 <= request.index < len(self):
            raise IndexError(f"Item {request.index} of {len(self)} clips.")
        number = int(np.searchsorted(self._ends, request.index, side="right"))
        tracklet = self.tracklets[number]
        indices = self._sample(request, number)
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

    def _sample(self, request: ClipRequest, number: int) -> np.ndarray:
        num_frames = len(self.tracklets[number].frame_paths)
        if self.sampling == "train":
            seeds = np.random.SeedSequence([self.seed, request.epoch, request.position])
            return sample_train_indices(num_frames, self.clip_length, np.random.default_rng(seeds))
        if self.sampling == "test":
            clip = request.index - number * self.num_clips
            return sample_test_indices(num_frames, self.clip_length, clip, self.num_clips)
        clips = consecutive_clips(num_frames, self.clip_length)
        return clips[request.index - (self._ends[number] - len(clips))]

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
