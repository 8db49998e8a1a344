"""Compute the features of tracklets, and keep them with their tracklets."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import compress
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets.clips.clip_dataset import NO_FRAME
from datasets.clips.transforms import flip_clips
from datasets.tracklet import Tracklet
from model import XTFCLIP
from utils.mistake import Mistake
from utils.pictures import UnreadableFrameError
from utils.runtime import Runtime

from .bad_frames import BadFrames

logger = logging.getLogger(__name__)

MAX_LISTED = 20  # tracklets that the warning about unreadable ones names


@dataclass(frozen=True)
class FeatureSet:
    """Features and their tracklets, row by row."""

    tracklets: Sequence[Tracklet]  # n records
    features: Tensor  # (n, D), float32; ``FeatureExtractor`` and caches return them on the CPU
    num_left_out: int = 0  # tracklets that have no row, because none of their frames can be read
    num_unreadable: int = 0  # frames of the clips in whose place neighbours or nothing were taken
    joined: Tensor | None = None  # those of an ensemble side by side, (n, sum of all D), of length 1

    def to(self, device: torch.device) -> "FeatureSet":
        """Return the features on another device."""
        return replace(self, features=self.features.to(device))

    @property
    def pids(self) -> list[int]:
        return [tracklet.pid for tracklet in self.tracklets]

    @property
    def camids(self) -> list[int]:
        return [tracklet.camid for tracklet in self.tracklets]


def describe_unread(num_left_out: int, num_unreadable: int) -> str:
    """Say how many tracklets and frames could not be read, both as in ``FeatureSet``; '' if all could."""
    tracklets = f"{num_left_out} tracklets are left out, because none of their frames can be read"
    frames = f"{num_unreadable} frames of clips could not be read"
    return "; ".join([tracklets] * bool(num_left_out) + [frames] * bool(num_unreadable))


class Averages(NamedTuple):
    """Means over the readable clips of n tracklets."""

    features: Tensor  # (n, width), float32; NaN without a readable clip
    counts: Tensor  # numbers of readable clips, (n, 1)
    num_unreadable: int  # as in ``FeatureSet``


@dataclass(frozen=True)
class FeatureExtractor:
    """A model with everything that it needs to describe tracklets."""

    model: XTFCLIP  # on the runtime's device; every method puts it back into the mode it was found in
    transform: Callable[[Tensor], Tensor]  # turns uint8 clips (B, T, C, H, W) into normalised floats
    runtime: Runtime
    flip: bool = True  # whether a test descriptor is the mean of a clip's feature and that of its mirror image
    normalize: bool = True  # whether test descriptors are L2-normalised
    # In place of the model's test descriptors: clips (B, T, C, H, W) and camera indices (B,) to features (B, width).
    encode: Callable[[Tensor, Tensor], Tensor] | None = None

    def extract(self, loader: DataLoader, tracklets: Sequence[Tracklet], description: str) -> FeatureSet:
        """Compute the test descriptor of every tracklet, and list the frames that could not be read.

        A tracklet without a readable frame is left out, with a warning. With several processes, ``loader`` has the
        batches of this process's share, and every process gets all features.
        """
        averages = self.average_over_tracklets(self.encode or self.describe, loader, tracklets, description)
        features = averages.features
        features = (F.normalize(features, dim=1) if self.normalize else features).cpu()
        readable = (averages.counts[:, 0] > 0).tolist()
        if not any(readable):
            raise UnreadableFrameError(f"{description}: no frame of any of the {len(tracklets)} tracklets can be read.")
        pairs = zip(tracklets, readable, strict=True)
        left_out = [each.name if each.pid == -1 else each.key for each, kept in pairs if not kept]
        if left_out:
            if self.runtime.processes.is_main:
                names = ", ".join(left_out[:MAX_LISTED]) + (", ..." if len(left_out) > MAX_LISTED else "")
                text = "%s: %d of %d tracklets are left out, because none of their frames can be read: %s"
                logger.warning(text, description, len(left_out), len(tracklets), names)
            features, tracklets = features[readable], tuple(compress(tracklets, readable))
        return FeatureSet(tracklets, features, len(left_out), averages.num_unreadable)

    @torch.inference_mode()
    def average_over_tracklets(
        self,
        encode: Callable[[Tensor, Tensor], Tensor],
        loader: DataLoader,
        tracklets: Sequence[Tracklet],
        description: str,
        max_bad_fraction: float = 1.0,
    ) -> Averages:
        """Average ``encode`` over the readable clips of each tracklet, on the runtime's device.

        ``encode`` turns clips (B, T, C, H, W) and their camera indices (B,) into features (B, width). This stops above
        ``max_bad_fraction``, 0..1, of unreadable frames; the rest is as in ``extract``.
        """
        device, processes = self.runtime.device, self.runtime.processes
        bad_frames = BadFrames(tracklets, description, len(loader), max_bad_fraction, processes)
        sums: Tensor | None = None
        counts = torch.zeros(len(tracklets), 1, device=device)
        with evaluation_mode(self.model):
            for batch in self.runtime.show_progress(loader, description, "batch"):
                bad_frames.add(batch)
                clips = self.transform(batch["clips"].to(device, non_blocking=True))
                rows = batch["tracklet"].to(device)
                with self.runtime.autocast():
                    features = encode(clips, batch["camid"].to(device)).float()  # (B, width)
                # Found on the CPU, so that a GPU is not waited for; the others are black.
                readable = (batch["unreadable"] != NO_FRAME).all(dim=1).nonzero().flatten().to(device)
                features, rows = features[readable], rows[readable]
                if sums is None:
                    sums = torch.zeros(len(tracklets), features.shape[1], device=device)
                sums.index_add_(0, rows, features)
                counts.index_add_(0, rows, counts.new_ones(len(rows), 1))
        bad_frames.finish()
        width = max(processes.gather_values(0 if sums is None else sums.shape[1]))
        if not width:
            raise Mistake(f"There are no tracklets to compute {description} of.")
        if sums is None:  # fewer tracklets than processes: none for this one
            sums = torch.zeros(len(tracklets), width, device=device)
        # A tracklet is in one process only, and its sums are zero in the others: adding them up changes no digit.
        sums, counts = processes.sum_over(sums), processes.sum_over(counts)
        with torch.inference_mode(False):  # the means are ordinary tensors
            return Averages(sums / counts, counts, bad_frames.num_unreadable)

    def describe(self, clips: Tensor, camids: Tensor) -> Tensor:
        """Compute test descriptors, (B, D); a clip and its mirror image are in one batch of the model."""
        if not self.flip:
            return self.model(clips, camids)
        both = self.model(torch.cat([clips, flip_clips(clips)]), torch.cat([camids, camids]))
        return both.unflatten(0, (2, -1)).float().mean(dim=0)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and afterwards back into the mode it was found in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
