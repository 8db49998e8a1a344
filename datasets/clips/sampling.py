"""Chooses the frames of a tracklet that make a clip."""

import numpy as np


def sample_train_indices(num_frames: int, clip_length: int, rng: np.random.Generator) -> np.ndarray:
    """Return one random frame of each of ``clip_length`` equal segments, (T,), in time order.

    The tracklet is first padded with its last frame to a multiple of ``clip_length``.
    """
    starts, segment_length = _segments(num_frames, clip_length)
    return np.minimum(starts + rng.integers(segment_length, size=clip_length), num_frames - 1)


def sample_test_indices(num_frames: int, clip_length: int, clip: int = 0, num_clips: int = 1) -> np.ndarray:
    """Return one frame of each of ``clip_length`` equal segments, (T,), padded as in training.

    Clip 0 of ``num_clips`` takes the first frame of each segment, and further clips take later ones, at evenly spaced
    offsets. If a segment has fewer frames than there are clips, some clips are equal.
    """
    starts, segment_length = _segments(num_frames, clip_length)
    return np.minimum(starts + clip * segment_length // num_clips, num_frames - 1)


def count_test_clips(num_frames: int, clip_length: int, num_clips: int) -> int:
    """Return how many of the ``num_clips`` clips of ``sample_test_indices`` differ."""
    return min(num_clips, _segments(num_frames, clip_length)[1])


def consecutive_clips(num_frames: int, clip_length: int) -> np.ndarray:
    """Return all frames in consecutive clips, (num_clips, T); the last clip is filled up by repeating its frames."""
    starts = np.arange(0, num_frames, clip_length)
    sizes = np.minimum(clip_length, num_frames - starts)
    return starts[:, None] + np.arange(clip_length) % sizes[:, None]


def _segments(num_frames: int, clip_length: int) -> tuple[np.ndarray, int]:
    """Return the first frame of each segment, (T,), and the length of the segments."""
    segment_length = -(-num_frames // clip_length)
    return np.arange(clip_length) * segment_length, segment_length
