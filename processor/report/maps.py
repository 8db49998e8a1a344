"""Map what the similarity of two tracklets is drawn from: patches of both clips, and the weights of their frames."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.data import DataLoader

from datasets.clips.transforms import flip_clips
from datasets.tracklet import Tracklet
from model.relevance import trace_relevance

from ..evaluation.features import FeatureExtractor, evaluation_mode
from .direction import RankedDirection
from .pictures import describe_camera, describe_view

NUM_LAYERS = 4  # blocks of the encoder to go back; the erasing test came out much the same for 1 to 6
OPACITY = 0.7  # of the colour over the most relevant patch
COLOURS = mpl.colormaps["viridis"]  # readable with any kind of colour vision


class PairExplanation(NamedTuple):
    """What the similarity of a query and a gallery clip is drawn from, on the CPU."""

    similarity: float  # cosine of the two test descriptors
    maps: Tensor  # relevance of each patch of both clips, (2, T, rows, columns), at least 0, in no particular unit
    weights: Tensor  # weight of each of their frames in the pooling, (2, T), each row summing to 1


class QueryMaps(NamedTuple):
    """What the network looked at in a query, and in the gallery tracklet that was ranked first."""

    weights: list[float]  # of each frame of the clip in the pooling, in time order, T of them, summing to 1
    frames: list[np.ndarray]  # frames of the clip with their relevance drawn over them, each (H, W, 3), uint8
    match: np.ndarray  # the frame of the gallery tracklet with the most relevant patch, likewise


MakeMaps = Callable[[RankedDirection], dict[int, QueryMaps]]  # maps some queries, by their index in the case


def explain_pair(
    extractor: FeatureExtractor, query: Tensor, gallery: Tensor, camids: Sequence[int | Tensor] = (-1, -1)
) -> PairExplanation:
    """Explain the similarity of two clips, (T, C, H, W), uint8; with mirror images if the extractor uses them.

    Where the two descriptors are equal, no patch could raise the similarity, and the maps are zero. ``camids`` are
    those of the two in ``TrackletClips``.
    """
    device = extractor.runtime.device
    clips = extractor.transform(torch.stack([query, gallery]).to(device))  # (2, T, C, H, W)
    cameras = torch.stack([torch.as_tensor(each, device=device) for each in camids])
    if extractor.flip:
        clips, cameras = torch.cat([clips, flip_clips(clips)]), torch.cat([cameras, cameras])
    num_layers = min(NUM_LAYERS, len(extractor.model.encoder.blocks))
    with evaluation_mode(extractor.model):
        similarity, maps, weights = trace_relevance(extractor.model, clips, cameras, _compare, num_layers)
    maps = maps.unflatten(0, (-1, 2))  # (1 or 2, 2, T, rows, columns)
    if extractor.flip:
        maps = torch.stack([maps[0], maps[1].flip(-1)])
    weights = weights.unflatten(0, (-1, 2)).mean(dim=0)  # (2, T)
    return PairExplanation(similarity.item(), maps.mean(dim=0).cpu(), weights.cpu())


def _compare(descriptors: Tensor) -> Tensor:
    """Return the cosine of query and gallery from (2, width), or from (4, width) with those of mirror images last."""
    query, gallery = descriptors.unflatten(0, (-1, 2)).mean(dim=0)
    return F.cosine_similarity(query, gallery, dim=0)


def overlay_clip(clip: Tensor, maps: Tensor) -> list[np.ndarray]:
    """Lay maps, (T, rows, columns), over frames, (T, C, H, W), uint8; returns pixels of each, (H, W, C), uint8.

    The more relevant a patch, the brighter its colour and the less transparent; 0 leaves a frame as it is.
    """
    frames = clip.permute(0, 2, 3, 1).numpy()
    scaled = maps / maps.max().clamp(min=torch.finfo(maps.dtype).tiny)
    large = F.interpolate(scaled[:, None], size=frames.shape[1:3], mode="bilinear", align_corners=False)[:, 0].numpy()
    share = OPACITY * large[..., None]
    blended = (1 - share) * frames + share * 255 * COLOURS(large)[..., :3]
    return list(blended.round().astype(np.uint8))


def map_queries(
    direction: RankedDirection,
    extractor: FeatureExtractor,
    make_loader: Callable[[Sequence[Tracklet]], DataLoader],
    num_people: int,
) -> dict[int, QueryMaps]:
    """Map the worst query of each of the people with the lowest average precision, by the query's index in the case."""
    case, maps = direction.case, {}
    chosen = direction.hardest_people(num_people)
    for query in extractor.runtime.show_progress(chosen, f"{case.title}: maps", "query"):
        clips = make_loader([case.query[query.index], case.gallery[query.places[0].gallery]]).dataset
        items = [clips[0], clips[len(clips) // 2]]  # type: ignore[arg-type]  # the first clip of each
        pixels = [item["clips"] for item in items]
        explained = explain_pair(extractor, pixels[0], pixels[1], [item["camid"] for item in items])
        frames, match_frames = (overlay_clip(*pair) for pair in zip(pixels, explained.maps, strict=True))
        best = int(explained.maps[1].flatten(1).amax(dim=1).argmax())
        maps[query.index] = QueryMaps(explained.weights[0].tolist(), frames, match_frames[best])
    return maps


def draw_pair(
    explanation: PairExplanation, clips: Sequence[Tensor], tracklets: Sequence[Tracklet], about: str, path: Path
) -> None:
    """Draw frames, maps and weights of the query (above) and of the gallery tracklet (below) into a PNG.

    ``clips`` are the pixels of both, (T, C, H, W), uint8; ``about`` names run, data and date.
    """
    num_frames = explanation.weights.shape[1]
    figure = Figure(figsize=(max(1.1 * num_frames, 6), 10), layout="constrained")
    halves = np.asarray(figure.subfigures(2, 1))
    sides = zip(halves, clips, explanation.maps, explanation.weights, tracklets, strict=True)
    for half, clip, maps, weights, tracklet in sides:
        title = f"{tracklet.key}, {describe_camera(tracklet)}, {describe_view(tracklet)}"
        half.suptitle(title, x=0.02, ha="left", fontsize=9, parse_math=False)  # keys may hold dollar signs
        axes = half.subplots(2, num_frames, squeeze=False, subplot_kw={"xticks": [], "yticks": []})
        columns = zip(axes.T, clip.permute(0, 2, 3, 1).numpy(), overlay_clip(clip, maps), weights, strict=True)
        for (picture, covered), frame, blended, weight in columns:
            picture.imshow(frame)
            covered.imshow(blended)
            covered.set_xlabel(f"weight {weight:.1%}", fontsize=8)
    title = f"Query and gallery tracklet: cosine similarity {explanation.similarity:.3f}\n{about}"
    figure.suptitle(title, fontsize=11, wrap=True, parse_math=False)
    figure.savefig(path, dpi=100)
