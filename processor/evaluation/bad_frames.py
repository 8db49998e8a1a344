"""Count and list the frames that could not be read in one pass of a loader: an epoch, CLIP memory, a feature set."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import torch

from datasets.clips.clip_dataset import NOT_REPLACED
from datasets.tracklet import Tracklet
from utils.pictures import UnreadableFrameError
from utils.processes import ALONE, Processes

logger = logging.getLogger(__name__)

MAX_LISTED = 100  # paths in the list at the end of a pass
MAX_NAMED = 5  # paths in the error


class BadFrames:
    """Count unreadable frames in the main process; batches carry the numbers of frames that workers replaced.

    All processes make a pass together, each ``num_batches`` of it, of which none is larger than the first. It stops
    above ``max_fraction``, 0..1, of all their frames (DATALOADER.MAX_BAD_FRACTION); a process whose own part holds too
    many bad frames for the whole pass stops at once. ``tracklets`` are those that the batches' indices refer to.
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        description: str,
        num_batches: int,
        max_fraction: float = 1.0,
        processes: Processes = ALONE,
    ) -> None:
        self.tracklets = tracklets
        self.description = description
        self.num_batches = num_batches
        self.max_fraction = max_fraction
        self.processes = processes
        self.num_frames = 0  # served so far, with the replaced ones
        self.replacements: Counter[str] = Counter()  # how often each unreadable path was replaced
        self.num_unreadable = 0  # those replaced so far, and those of black clips; after ``finish`` of all processes
        self._num_expected = 0  # frames of the whole pass, at most
        self._num_batches_of_all = sum(processes.gather_values(num_batches))

    def counts(self) -> list[tuple[int, dict[str, int]]]:
        """Return what every process has counted so far, by rank; all processes call this."""
        return self.processes.gather_values((self.num_frames, dict(self.replacements)))

    def go_on_from(self, counts: Sequence[tuple[int, Mapping[str, int]]]) -> None:
        """Go on from ``counts`` of the same pass, in which the number of processes may have differed."""
        for num_frames, replacements in counts[self.processes.rank :: self.processes.world_size]:
            self.num_frames += num_frames
            self.replacements.update(replacements)

    @property
    def num_replaced(self) -> int:
        return self.replacements.total()

    def add(self, batch: Mapping[str, torch.Tensor]) -> None:
        """Count a batch of ``TrackletClips``; raises as soon as the share is certain to exceed ``max_fraction``."""
        unreadable = batch["unreadable"]  # (B, T)
        self._num_expected = self._num_expected or self._num_batches_of_all * unreadable.numel()
        self.num_frames += unreadable.numel()
        self.num_unreadable += int((unreadable != NOT_REPLACED).sum())
        for row, place in (unreadable > NOT_REPLACED).nonzero().tolist():
            tracklet = self.tracklets[int(batch["tracklet"][row])]
            self.replacements[tracklet.frame_paths[int(unreadable[row, place])]] += 1
        if self.processes.is_alone or self.num_batches > 1:  # an only batch may be smaller than those of the others
            self._check(max(self.num_frames, self._num_expected))

    def finish(self) -> None:
        """Add up all processes and log the list of replaced frames; raises UnreadableFrameError for too many."""
        counts = self.counts()
        self.num_frames = sum(num_frames for num_frames, _ in counts)
        self.replacements = sum((Counter(replacements) for _, replacements in counts), Counter())
        self.num_unreadable = sum(self.processes.gather_values(self.num_unreadable))
        if self.replacements and self.processes.is_main:
            self._log()
        self._check(self.num_frames)

    def _log(self) -> None:
        lines = [f"  {path} ({times} times)" if times > 1 else f"  {path}" for path, times in self.replacements.items()]
        if len(lines) > MAX_LISTED:
            lines[MAX_LISTED:] = [f"  and {len(lines) - MAX_LISTED} more, each with a warning of its own"]
        found = f"{self.num_replaced} of {self.num_frames} frames ({self.num_replaced / self.num_frames:.2%})"
        text = "%s: %s could not be read, and neighbours took their place:\n%s"
        logger.warning(text, self.description, found, "\n".join(lines))

    def _check(self, num_frames: int) -> None:
        if self.num_replaced > self.max_fraction * num_frames:
            first = ", ".join(list(self.replacements)[:MAX_NAMED])
            raise UnreadableFrameError(
                f"{self.description}: {self.num_replaced} frames could not be read so far, more than "
                f"DATALOADER.MAX_BAD_FRACTION ({self.max_fraction:g}) of {num_frames}. First: {first}. Repair the copy "
                "of the data set, or raise the key."
            )
