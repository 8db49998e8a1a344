"""Clips to keyed features: every feature travels with the tracklet it describes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from datasets import Tracklet
from datasets.clips.transforms import Normalizer, flip_clips
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


def extract_features(
    model: nn.Module,
    loader: DataLoader,
    tracklets: Sequence[Tracklet],
    transform: Normalizer,
    runtime: Runtime,
    flip: bool = True,
    normalize: bool = True,
    description: str = "features",
) -> FeatureSet:
    """Describe every tracklet by the model's test descriptor; frames that could not be read are listed.

    Args:
        model: In any mode; it is put back into the mode it was found in.
        loader: Batches of ``TrackletClips`` over ``tracklets``; a tracklet with several clips gets their mean.
        tracklets: What the batches' ``tracklet`` indices refer to.
        transform: uint8 clips to normalised floats.
        runtime: Device and precision.
        flip: Average each clip's feature with its mirror image's; both are computed in one batch.
        normalize: L2-normalise the result.
        description: For the progress bar.
    """

    def describe(clips: Tensor, camids: Tensor) -> Tensor:
        if not flip:
            return model(clips, camids)
        both = model(torch.cat([clips, flip_clips(clips)]), torch.cat([camids, camids]))
        return both.unflatten(0, (2, -1)).float().mean(dim=0)  # (B, D)

    bad_frames = BadFrames(tracklets, description, len(loader))
    with evaluating(model):
        features = average_over_tracklets(describe, loader, len(tracklets), transform, runtime, description, bad_frames)
    return FeatureSet(tracklets, (F.normalize(features, dim=1) if normalize else features).cpu())


@torch.inference_mode()
def average_over_tracklets(
    encode: Callable[[Tensor, Tensor], Tensor],
    loader: DataLoader,
    num_tracklets: int,
    transform: Normalizer,
    runtime: Runtime,
    description: str,
    bad_frames: BadFrames | None = None,
) -> Tensor:
    """Mean over each tracklet's clips of ``encode(clips, camids)``: (num_tracklets, width), float32, on the device."""
    sums: Tensor | None = None
    counts = torch.zeros(num_tracklets, 1, device=runtime.device)
    for batch in tqdm(loader, desc=description, unit="batch", disable=None, leave=False):
        if bad_frames is not None:
            bad_frames.add(batch)
        clips = transform(batch["clips"].to(runtime.device, non_blocking=True))
        rows = batch["tracklet"].to(runtime.device)
        with runtime.autocast():
            features = encode(clips, batch["camid"].to(runtime.device)).float()  # (B, width)
        if sums is None:
            sums = torch.zeros(num_tracklets, features.shape[1], device=runtime.device)
        sums.index_add_(0, rows, features)
        counts.index_add_(0, rows, counts.new_ones(len(rows), 1))
    if sums is None:
        raise ValueError(f"There are no tracklets to compute {description} of.")
    if bad_frames is not None:
        bad_frames.finish()
    return sums / counts


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in test mode, and back into the mode it was found in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
