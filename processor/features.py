"""Clips to keyed features: every feature travels with the tracklet it describes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets import Tracklet
from datasets.clips.transforms import flip_clips
from model import XTFCLIP
from utils.runtime import Runtime

from .bad_frames import BadFrames


@dataclass(frozen=True)
class FeatureSet:
    """Features and their tracklets, row by row.

    Attributes:
        tracklets: n records.
        features: (n, D), float32, on the CPU.
    """

    tracklets: Sequence[Tracklet]
    features: Tensor

    @property
    def pids(self) -> list[int]:
        return [tracklet.pid for tracklet in self.tracklets]

    @property
    def camids(self) -> list[int]:
        return [tracklet.camid for tracklet in self.tracklets]

    @property
    def keys(self) -> list[str]:
        return [tracklet.key for tracklet in self.tracklets]


@dataclass(frozen=True)
class FeatureExtractor:
    """A model with everything that it needs to describe tracklets.

    Attributes:
        model: On the runtime's device, in any mode; every method puts it back into the mode it was found in.
        transform: Turns uint8 clips (B, T, C, H, W) into normalised floats.
        runtime: Device and precision.
        flip: Whether a test descriptor is the mean of a clip's feature and that of its mirror image.
        normalize: Whether test descriptors are L2-normalised.
    """

    model: XTFCLIP
    transform: Callable[[Tensor], Tensor]
    runtime: Runtime
    flip: bool = True
    normalize: bool = True

    def extract(self, loader: DataLoader, tracklets: Sequence[Tracklet], description: str) -> FeatureSet:
        """Compute the test descriptor of every tracklet, and list the frames that could not be read.

        Args:
            loader: Batches of ``TrackletClips`` over ``tracklets``; a tracklet with several clips gets their mean.
            tracklets: The records that the batches' ``tracklet`` indices refer to.
            description: What is computed, for the progress bar and messages.
        """
        features = self.average_over_tracklets(self._describe, loader, tracklets, description)
        return FeatureSet(tracklets, (F.normalize(features, dim=1) if self.normalize else features).cpu())

    @torch.inference_mode()
    def average_over_tracklets(
        self,
        encode: Callable[[Tensor, Tensor], Tensor],
        loader: DataLoader,
        tracklets: Sequence[Tracklet],
        description: str,
        max_bad_fraction: float = 1.0,
    ) -> Tensor:
        """Average ``encode(clips, camids)`` over the clips of each tracklet.

        Args:
            encode: Clips (B, T, C, H, W) and their camera indices (B,) to features (B, width).
            loader, tracklets, description: As in ``extract``.
            max_bad_fraction: Share of unreadable frames, 0..1, above which this stops.
        Returns:
            (number of tracklets, width), float32, on the runtime's device.
        Raises:
            UnreadableFrameError: If too many frames cannot be read.
            ValueError: If there are no tracklets.
        """
        device = self.runtime.device
        bad_frames = BadFrames(tracklets, description, len(loader), max_bad_fraction)
        sums: Tensor | None = None
        counts = torch.zeros(len(tracklets), 1, device=device)
        with evaluation_mode(self.model):
            for batch in self.runtime.show_progress(loader, description, "batch"):
                bad_frames.add(batch)
                clips = self.transform(batch["clips"].to(device, non_blocking=True))
                rows = batch["tracklet"].to(device)
                with self.runtime.autocast():
                    features = encode(clips, batch["camid"].to(device)).float()  # (B, width)
                if sums is None:
                    sums = torch.zeros(len(tracklets), features.shape[1], device=device)
                sums.index_add_(0, rows, features)
                counts.index_add_(0, rows, counts.new_ones(len(rows), 1))
        if sums is None:
            raise ValueError(f"There are no tracklets to compute {description} of.")
        bad_frames.finish()
        return sums / counts

    def _describe(self, clips: Tensor, camids: Tensor) -> Tensor:
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
