"""Frames that could not be read, counted and listed over one pass of a loader: an epoch, CLIP memory, a feature set."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import torch

from datasets import Tracklet
from datasets.clips.decoding import UnreadableFrameError
from utils.unknown import UNKNOWN

logger = logging.getLogger(__name__)

MAX_LISTED = 100  # paths in the list at the end of a pass
MAX_NAMED = 5  # paths in the error


class BadFrames:
    """The count of one pass, in the main process: batches carry what the loader's workers replaced.

    Args:
        tracklets: What the batches' ``tracklet`` numbers refer to.
        description: What the pass computes, for messages.
        num_batches: Batches of the pass, the first of which is the largest.
        max_fraction: Share of the pass's frames, 0..1, above which it is stopped (DATALOADER.MAX_BAD_FRACTION).
    """

    def __init__(
        self, tracklets: Sequence[Tracklet], description: str, num_batches: int, max_fraction: float = 1.0
    ) -> None:
        self.tracklets = tracklets
        self.description = description
        self.num_batches = num_batches
        self.max_fraction = max_fraction
        self.num_frames = 0  # served so far, replaced ones included
        self.times: Counter[str] = Counter()  # how often each path was asked for and replaced
        self._num_expected = 0  # frames of the whole pass, at most

    @property
    def num_replaced(self) -> int:
        return self.times.total()

    def add(self, batch: Mapping[str, torch.Tensor]) -> None:
        """Count a batch of ``TrackletClips``.

        Raises:
            UnreadableFrameError: As soon as the share of the whole pass is certain to be too large.
        """
        unreadable = batch["unreadable"]  # (B, T)
        self._num_expected = self._num_expected or self.num_batches * unreadable.numel()
        self.num_frames += unreadable.numel()
        for row, place in (unreadable != UNKNOWN).nonzero().tolist():
            tracklet = self.tracklets[int(batch["tracklet"][row])]
            self.times[tracklet.frame_paths[int(unreadable[row, place])]] += 1
        self._check(max(self.num_frames, self._num_expected))

    def finish(self) -> None:
        """List what was replaced; raises UnreadableFrameError if it was too much."""
        if not self.times:
            return
        lines = [f"  {path} ({times} times)" if times > 1 else f"  {path}" for path, times in self.times.items()]
        if len(lines) > MAX_LISTED:
            lines[MAX_LISTED:] = [f"  and {len(lines) - MAX_LISTED} more, each with a warning of its own"]
        logger.warning(
            "%s: %d of %d frames (%.2g %%) could not be read, and neighbours took their place:\n%s",
            self.description,
            self.num_replaced,
            self.num_frames,
            100 * self.num_replaced / self.num_frames,
            "\n".join(lines),
        )
        self._check(self.num_frames)

    def _check(self, num_frames: int) -> None:
        if self.num_replaced > self.max_fraction * num_frames:
            first = ", ".join(list(self.times)[:MAX_NAMED])
            raise UnreadableFrameError(
                f"{self.description}: {self.num_replaced} frames could not be read so far, more than "
                f"DATALOADER.MAX_BAD_FRACTION ({self.max_fraction:g}) of {num_frames}. First: {first}. Repair the copy "
                "of the data set, or raise the key."
            )
