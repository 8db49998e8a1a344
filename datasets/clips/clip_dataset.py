"""Turn tracklets into clips: choose the frames of an item, decode and stack them.

Clips hold pixels as bytes; scaling, normalisation and augmentation are done on whole batches (``transforms``).
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from utils.pictures import UnreadableFrameError
from utils.unknown import UNKNOWN

from ..tracklet import Tracklet
from .decoding import decode_frame

logger = logging.getLogger(__name__)

FACT_DROPOUT = 0.1  # probability that training takes a fact of the capture for unknown (MODEL.VIEW_PROMPTS)
NOT_REPLACED = -1  # in ``unreadable``: the frame was read
NO_FRAME = -2  # in ``unreadable``: the tracklet has no readable frame, and the clip is black


class ClipRequest(NamedTuple):
    """One draw of a training epoch. It and the seed decide on the random frames, whichever worker decodes them."""

    item: int  # index in the dataset
    epoch: int
    position: int  # number of the draw within the epoch, over all processes; an item can be drawn repeatedly


@dataclass(eq=False)
class TrackletClips(Dataset):
    """Clips of tracklets, decoded.

    An item is a dict of ``clips``, (T, C, H, W), uint8; ``label``, the training label of the person, and ``camid``, the
    0-based training camera, both -1 when unknown; ``tracklet``, the index into ``tracklets``; and ``unreadable``, (T,),
    int64: for each frame that could not be read its index in the tracklet, and -1 for all others. ``with_captures``
    puts ``Tracklet.capture`` behind the camera in ``camid``, (4,).

    A frame that cannot be read is replaced by the nearest readable one of its tracklet, with one warning, which worker
    processes share. If no frame of a tracklet can be read, ``UnreadableFrameError`` is raised; with
    ``black_if_unreadable``, the clip is black instead, and ``unreadable`` holds ``NO_FRAME`` only.

    With ``sampling`` 'train', an item is a tracklet, of which it takes a random frame from each of T segments. With
    'test', an item is a clip with the first frame of each segment, or with several clips of a tracklet a later one;
    with 'consecutive', it is one of the clips that hold all frames of a tracklet in order. The clips of a tracklet are
    consecutive items.
    """

    tracklets: Sequence[Tracklet]
    size: tuple[int, int]  # height and width of the frames, in pixels
    clip_length: int  # frames in a clip, T
    sampling: str
    seed: int = 0  # of the random frames, together with the epoch and position of a ``ClipRequest``
    labels: Mapping[int, int] = field(default_factory=dict)  # training label by pid
    cameras: Mapping[int, int] = field(default_factory=dict)  # 0-based training camera by camid
    num_clips: int = 1  # of each tracklet with sampling 'test'; must be 1 otherwise
    black_if_unreadable: bool = False
    with_captures: bool = False

    def __post_init__(self) -> None:
        lengths = np.array([len(tracklet.frame_paths) for tracklet in self.tracklets], dtype=np.int64)
        num_items = np.full_like(lengths, self.num_clips)
        if self.sampling == "consecutive":
            num_items = -(-lengths // self.clip_length)
        self._ends = np.cumsum(num_items)  # number of items up to and including each tracklet
        self._first_frames = np.cumsum(lengths) - lengths  # of each tracklet, counted over all tracklets
        self._is_unreadable = torch.zeros(int(lengths.sum()), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def share(self, rank: int, world_size: int) -> range:
        """Return the items of one of several processes: whole tracklets, and about as many clips as the others get."""
        starts = np.concatenate([[0], self._ends])  # first item of each tracklet, and the end
        bounds = [len(self) * part // world_size for part in (rank, rank + 1)]
        first, stop = starts[np.searchsorted(starts, bounds)].tolist()
        return range(first, stop)

    def __getitem__(self, item: int | ClipRequest) -> dict[str, torch.Tensor | int]:
        """Return the clip of an item; a plain index i stands for ``ClipRequest(i, 0, i)``."""
        request = item if isinstance(item, ClipRequest) else ClipRequest(int(item), 0, int(item))
        if not 0 <= request.item < len(self):
            raise IndexError(f"Item {request.item} of {len(self)} clips.")
        number = int(np.searchsorted(self._ends, request.item, side="right"))
        tracklet, indices = self.tracklets[number], self._sample(request, number)
        requested = torch.from_numpy(indices)
        try:
            frames = {index: self._read_frame(number, index) for index in dict.fromkeys(indices.tolist())}
            is_unreadable = self._is_unreadable[requested + int(self._first_frames[number])]
            unreadable = torch.where(is_unreadable, requested, NOT_REPLACED)
        except UnreadableFrameError:
            if not self.black_if_unreadable:
                raise
            frames = dict.fromkeys(indices.tolist(), torch.zeros(3, *self.size, dtype=torch.uint8))
            unreadable = torch.full_like(requested, NO_FRAME)
        return {
            "clips": torch.stack([frames[index] for index in indices.tolist()]),
            "label": self.labels.get(tracklet.pid, UNKNOWN),
            "camid": self._describe_capture(tracklet, request),
            "tracklet": number,
            "unreadable": unreadable,
        }

    def _describe_capture(self, tracklet: Tracklet, request: ClipRequest) -> torch.Tensor | int:
        """Return the training camera, or with it how the tracklet was taken, of which training forgets some facts."""
        camera = self.cameras.get(tracklet.camid, UNKNOWN)
        if not self.with_captures:
            return camera
        facts = np.array(tracklet.capture)
        if self.sampling == "train":
            seeds = np.random.SeedSequence([self.seed, request.epoch, request.position, 1])  # not those of the frames
            facts[np.random.default_rng(seeds).random(len(facts)) < FACT_DROPOUT] = UNKNOWN
        return torch.tensor([camera, *facts])

    def _sample(self, request: ClipRequest, number: int) -> np.ndarray:
        """Choose the frames of a clip of tracklet ``number``: their indices in the tracklet, (T,)."""
        num_frames = len(self.tracklets[number].frame_paths)
        if self.sampling == "train":
            seeds = np.random.SeedSequence([self.seed, request.epoch, request.position])
            return sample_train_indices(num_frames, self.clip_length, np.random.default_rng(seeds))
        if self.sampling == "test":
            clip = request.item - number * self.num_clips
            return sample_test_indices(num_frames, self.clip_length, clip, self.num_clips)
        clips = consecutive_clips(num_frames, self.clip_length)
        return clips[request.item - (self._ends[number] - len(clips))]

    def _read_frame(self, number: int, index: int) -> torch.Tensor:
        """Return a frame of a tracklet, or the nearest readable one."""
        paths = self.tracklets[number].frame_paths
        first = int(self._first_frames[number])
        errors = []
        for candidate in _by_closeness(index, len(paths)):
            if self._is_unreadable[first + candidate]:
                continue
            try:
                frame = decode_frame(paths[candidate], self.size)
            except UnreadableFrameError as error:
                self._is_unreadable[first + candidate] = True
                errors.append(error)
                continue
            for problem in errors:
                logger.warning("%s; the nearest readable frame of the tracklet replaces it.", problem)
            return frame
        folder = os.path.dirname(paths[0])
        raise UnreadableFrameError(f"None of the {len(paths)} frames of tracklet {folder} can be read.")


def _by_closeness(index: int, num_frames: int) -> Iterator[int]:
    """Yield all frames of a tracklet, nearest to ``index`` first; of two at the same distance, the earlier first."""
    yield index
    yield from sorted(range(num_frames), key=lambda other: abs(other - index))[1:]


def sample_train_indices(num_frames: int, clip_length: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random frame of each of T equal segments, (T,); the last frame pads the tracklet to a multiple of T."""
    starts, segment_length = _segments(num_frames, clip_length)
    return np.minimum(starts + rng.integers(segment_length, size=clip_length), num_frames - 1)


def sample_test_indices(num_frames: int, clip_length: int, clip: int = 0, num_clips: int = 1) -> np.ndarray:
    """Return one frame of each of ``clip_length`` equal segments, (T,), padded as in training.

    Clip 0 of ``num_clips`` takes the first frame of each segment, further clips later ones, at evenly spaced offsets.
    """
    starts, segment_length = _segments(num_frames, clip_length)
    return np.minimum(starts + clip * segment_length // num_clips, num_frames - 1)


def consecutive_clips(num_frames: int, clip_length: int) -> np.ndarray:
    """Return all frames in consecutive clips, (num_clips, T); the last clip is filled up by repeating its frames."""
    starts = np.arange(0, num_frames, clip_length)
    sizes = np.minimum(clip_length, num_frames - starts)
    return starts[:, None] + np.arange(clip_length) % sizes[:, None]


def _segments(num_frames: int, clip_length: int) -> tuple[np.ndarray, int]:
    """Return the first frame of each segment, (T,), and the length of the segments."""
    segment_length = -(-num_frames // clip_length)
    return np.arange(clip_length) * segment_length, segment_length
