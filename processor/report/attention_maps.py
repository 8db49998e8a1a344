"""What the similarity of two tracklets is drawn from: patches of both clips, and the weights of their frames."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display on a GPU box
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import SubFigure
from torch import Tensor

from datasets.clips.transforms import flip_clips
from datasets.tracklet import Tracklet
from model.relevance import trace_relevance
from utils.mistake import Mistake

from ..evaluation.features import FeatureExtractor, evaluation_mode

NUM_LAYERS = 4  # blocks of the encoder to go back; the erasing test came out much the same for 1 to 6
OPACITY = 0.7  # of the colour over the most relevant patch
COLOURS = matplotlib.colormaps["viridis"]  # readable with any kind of colour vision


@dataclass(frozen=True)
class PairExplanation:
    """What the similarity of a query and a gallery clip is drawn from, on the CPU.

    Attributes:
        similarity: Cosine of the two test descriptors; their distance, if they are normalised, is 2 - 2 * similarity.
        query_maps: Relevance of each patch, (T, rows, columns), at least 0, in no particular unit.
        gallery_maps: As ``query_maps``, for the gallery clip.
        query_weights: Weight of each frame in the pooling, (T,), summing to 1.
        gallery_weights: As ``query_weights``.
    """

    similarity: float
    query_maps: Tensor
    gallery_maps: Tensor
    query_weights: Tensor
    gallery_weights: Tensor


def explain_pair(
    extractor: FeatureExtractor,
    query: Tensor,
    gallery: Tensor,
    camids: Sequence[int] = (-1, -1),
    num_layers: int = NUM_LAYERS,
) -> PairExplanation:
    """Explain the similarity of two clips, in float32; with mirror images if the extractor uses them.

    Where the two descriptors are equal, no patch could raise the similarity, and the maps are zero.

    Args:
        extractor: Model, transform and device.
        query, gallery: Pixels, (T, C, H, W), uint8.
        camids: 0-based training cameras of the two; -1 if unknown.
        num_layers: Blocks of the encoder to go back, from the last.
    Raises:
        ValueError: If the encoder has fewer blocks.
    """
    device = extractor.runtime.device
    clips = extractor.transform(torch.stack([query, gallery]).to(device))  # (2, T, C, H, W)
    cameras = torch.tensor(camids, device=device)
    if extractor.flip:
        clips, cameras = torch.cat([clips, flip_clips(clips)]), cameras.repeat(2)
    with evaluation_mode(extractor.model):
        similarity, relevance = trace_relevance(extractor.model, clips, cameras, _compare, num_layers)
    maps = relevance.maps.unflatten(0, (-1, 2))  # (1 or 2, 2, T, rows, columns)
    if extractor.flip:
        maps = torch.stack([maps[0], maps[1].flip(-1)])
    maps = maps.mean(dim=0).cpu()
    weights = relevance.frame_weights.unflatten(0, (-1, 2)).mean(dim=0).cpu()  # (2, T)
    return PairExplanation(similarity.item(), *maps, *weights)


def _compare(descriptors: Tensor) -> Tensor:
    """Return the cosine of query and gallery from (2, width), or from (4, width) with those of mirror images last."""
    query, gallery = descriptors.unflatten(0, (-1, 2)).mean(dim=0)
    return F.cosine_similarity(query, gallery, dim=0)


def find_tracklet(key: str, tracklets: Sequence[Tracklet], option: str) -> int:
    """Return the index of the tracklet with this key; ValueError names the nearest keys if there is none."""
    keys = [tracklet.key for tracklet in tracklets]
    if key not in keys:
        nearest = ", ".join(difflib.get_close_matches(key, keys, n=3, cutoff=0.0)) or "none: it is empty"
        raise Mistake(f"{option} {key}: there is no such tracklet. The nearest keys: {nearest}")
    return keys.index(key)


def overlay(frame: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """Lay a map over a frame: the more relevant a patch, the brighter its colour and the less transparent.

    Args:
        frame: Pixels, (H, W, 3), uint8.
        relevance: Map, (rows, columns), within 0..1; interpolated to the frame. 0 leaves the frame as it is.
    Returns:
        Pixels, (H, W, 3), uint8.
    """
    values = torch.as_tensor(relevance, dtype=torch.float32)[None, None]
    large = F.interpolate(values, size=frame.shape[:2], mode="bilinear", align_corners=False)[0, 0].numpy()
    share = OPACITY * large[..., None]
    blended = (1 - share) * frame + share * 255 * COLOURS(large)[..., :3]
    return blended.round().astype(np.uint8)


def overlay_clip(clip: Tensor, maps: Tensor) -> list[np.ndarray]:
    """Lay maps, (T, rows, columns), over frames, (T, C, H, W), uint8; the highest value of all maps becomes 1."""
    scaled = maps / maps.max().clamp(min=torch.finfo(maps.dtype).tiny)
    frames = clip.permute(0, 2, 3, 1).numpy()
    return [overlay(frame, relevance) for frame, relevance in zip(frames, scaled.numpy(), strict=True)]


def draw_pair(explanation: PairExplanation, clips: Sequence[Tensor], tracklets: Sequence[Tracklet], path: Path) -> None:
    """Draw frames, maps and weights of the query (above) and of the gallery tracklet (below).

    Args:
        explanation: Of these two.
        clips: Their pixels, (T, C, H, W), uint8.
        tracklets: Their records.
        path: PNG to write.
    """
    T = len(explanation.query_weights)
    figure = plt.figure(figsize=(max(1.1 * T, 6), 11), layout="constrained")
    halves = figure.subfigures(2, 1, squeeze=False)[:, 0]
    highest = max(float(explanation.query_weights.max()), float(explanation.gallery_weights.max()))
    sides = [
        ("query", explanation.query_maps, explanation.query_weights),
        ("gallery", explanation.gallery_maps, explanation.gallery_weights),
    ]
    for half, (side, maps, weights), clip, tracklet in zip(halves, sides, clips, tracklets, strict=True):
        _draw_side(half, clip, maps, weights.tolist(), highest)
        where = tracklet.view if tracklet.altitude is None else f"{tracklet.view}, {tracklet.altitude} m"
        title = f"{side} {tracklet.key}, camera {tracklet.camid}, {where}"
        half.suptitle(title, x=0.02, ha="left", fontsize=9)
    figure.suptitle(f"Cosine similarity {explanation.similarity:.3f}", fontsize=11)
    figure.supxlabel(
        "Relevance: yellow marks the patches of the tracklet that count most\n"
        "for this similarity; no colour means none.\n"
        "Weight: share of the frame in the pooling.",
        fontsize=8,
    )
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _draw_side(half: SubFigure, clip: Tensor, maps: Tensor, weights: Sequence[float], highest: float) -> None:
    """Draw each frame of a clip, below it the frame with its map, and below that its weight as a bar.

    Args:
        half: Where to draw.
        clip: Pixels, (T, C, H, W), uint8.
        maps: Relevance, (T, rows, columns).
        weights: Weight of each frame, T of them.
        highest: Weight whose bar is the longest.
    """
    frames = clip.permute(0, 2, 3, 1).numpy()
    axes = half.subplots(3, len(weights), squeeze=False, height_ratios=[4, 4, 1.2])
    for (picture, covered, bar), frame, blended, weight in zip(
        axes.T, frames, overlay_clip(clip, maps), weights, strict=True
    ):
        picture.imshow(frame)
        covered.imshow(blended)
        bar.bar(0, weight, color="tab:gray")
        bar.set(xlim=(-1, 1), ylim=(0, 1.5 * highest))
        bar.text(0, weight, f"{weight:.0%}", ha="center", va="bottom", fontsize=8)
        for axis in (picture, covered, bar):
            axis.set(xticks=[], yticks=[])
    for axis, name in zip(axes[:, 0], ("frames", "relevance", "weight"), strict=True):
        axis.set_ylabel(name, fontsize=8)
