"""Extract features of tracklets that nobody has labelled, part by part, so that a stopped command goes on."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from datasets.build import make_test_loader
from datasets.clips.clip_dataset import sample_test_indices
from datasets.clips.decoding import resize_pixels
from datasets.readers.own_data import read_unlabelled
from datasets.tracklet import Tracklet
from model.text_space import TextSpace
from utils.mistake import Mistake
from utils.pictures import UnreadableFrameError
from utils.unknown import UNKNOWN

from .build import descriptor_settings, make_extractor, make_feature_cache
from .evaluation.cache import FeatureCache, hash_weights
from .evaluation.features import FeatureExtractor, FeatureSet, describe_unread, evaluation_mode
from .evaluation.open_run import TrainedRun

logger = logging.getLogger(__name__)

PART_SIZE = 512  # tracklets; a command that is stopped loses at most so many


def extract_folder(
    trained: TrainedRun,
    root: Path,
    camera: str | int | None = None,
    parts: Path | None = None,
    part_size: int = PART_SIZE,
    text_space: TextSpace | None = None,
    view: str = "",
) -> tuple[dict[str, Any], dict[str, str]]:
    """Extract the features of every tracklet in a folder, as evaluation would; under torchrun, all processes call this.

    ``camera`` is the training camera, as annotated, that recorded all, and ``view`` their view; None and '' if unknown.
    ``parts`` keeps finished parts, of ``part_size`` tracklets, for a next call like this one. Returns columns of a
    feature file, 'feature', (n, D), and with a text space 'words', (n, P), of length 1; and what its rows depend on,
    and could not be read.
    """
    cfg, runtime, model = trained.cfg, trained.runtime, trained.model
    cameras = _find_camera(trained, camera)
    (camid,) = cameras or (UNKNOWN,)
    tracklets = runtime.processes.run_on_main(lambda: read_unlabelled(root, camid, view))
    extractor = make_extractor(cfg, model, runtime)
    cache = make_feature_cache(cfg, model, runtime, cameras, parts) if parts else None
    compared = {"weights": hash_weights(model), "transform": descriptor_settings(cfg)}
    origin = {**trained.origin, "data": str(root), **compared}
    if text_space is not None:
        extractor = add_words(extractor, text_space.to(runtime.device))
        origin["text tower"] = text_space.sha256
        cache = cache and replace(cache, origin={**cache.origin, "text tower": text_space.sha256})
    make_loader = partial(make_test_loader, cfg, cameras=cameras, processes=runtime.processes)
    found = extract_in_parts(extractor, make_loader, tracklets, cache, part_size)
    width = text_space.texts.width if text_space else 0
    features, words = found.features.split([found.features.shape[1] - width, width], dim=1)
    if unread := describe_unread(found.num_left_out, found.num_unreadable):
        origin["unread"] = f"{root}: {unread}"
    columns = {
        "key": [tracklet.name for tracklet in found.tracklets],
        "feature": (F.normalize(features) if text_space and cfg.TEST.FEAT_NORM else features).numpy(),
        "picture": [tracklet.middle_frame for tracklet in found.tracklets],
    }
    return columns | ({"words": F.normalize(words).numpy()} if text_space else {}), origin


def describe_frames(
    trained: TrainedRun, tracklets: Iterable[Sequence[np.ndarray]], camera: str | int | None = None
) -> np.ndarray:
    """Describe tracklets in memory, (n, D), float32, as ``extract_folder`` would describe their files.

    Each is a sequence of frames in their order in time, (H, W, 3), uint8, RGB; H and W may differ between frames.
    """
    cfg, device = trained.cfg, trained.runtime.device
    extractor = make_extractor(cfg, trained.model, trained.runtime)
    cameras = _find_camera(trained, camera)
    (index,) = cameras.values() or (UNKNOWN,)
    rows, num_clips = [], cfg.TEST.NUM_CLIPS
    with evaluation_mode(trained.model), torch.inference_mode(), trained.runtime.autocast():
        for frames in tracklets:
            if not len(frames) or any(each.dtype != np.uint8 or each.shape[2:] != (3,) for each in frames):
                raise Mistake("Each tracklet must have frames, and each frame must be (H, W, 3), uint8, RGB.")
            chosen = [sample_test_indices(len(frames), cfg.INPUT.SEQ_LEN, clip, num_clips) for clip in range(num_clips)]
            pixels = [resize_pixels(frames[at].copy(), cfg.INPUT.SIZE_TEST) for own in chosen for at in own]
            clips = torch.stack(pixels).unflatten(0, (num_clips, -1)).to(device)  # (clips, T, C, H, W)
            camids = torch.full((num_clips,), index, device=device)
            rows.append(extractor.describe(extractor.transform(clips), camids).float().mean(dim=0))
    features = torch.stack(rows)
    return (F.normalize(features, dim=1) if extractor.normalize else features).cpu().numpy()


def add_words(extractor: FeatureExtractor, text_space: TextSpace) -> FeatureExtractor:
    """Return an extractor that computes a text space's vector of each clip, too, behind the descriptor."""

    def encode(clips: Tensor, camids: Tensor) -> Tensor:
        return torch.cat([extractor.describe(extractor.transform(clips), camids), text_space.encode_frames(clips)], 1)

    return replace(extractor, transform=lambda clips: clips, encode=encode, normalize=False)


def extract_in_parts(
    extractor: FeatureExtractor,
    make_loader: Callable[[Sequence[Tracklet]], DataLoader],
    tracklets: Sequence[Tracklet],
    cache: FeatureCache | None,
    part_size: int,
) -> FeatureSet:
    """Extract features with one loader after another, which bounds the memory, and keep those of each part."""
    parts, num_unreadable = [], 0
    for start in range(0, len(tracklets), part_size):
        part = tracklets[start : start + part_size]
        description = f"tracklets {start + 1} to {start + len(part)} of {len(tracklets)}"
        compute = partial(extractor.extract, make_loader(part), part, description)
        try:
            parts.append(cache.fetch(f"part_{start // part_size:05d}", part, compute) if cache else compute())
        except UnreadableFrameError as error:  # raised in all processes
            num_unreadable += sum(len(tracklet.frame_paths) for tracklet in part)
            if extractor.runtime.processes.is_main:
                names = ", ".join(tracklet.name for tracklet in part)
                logger.warning("%s They are left out: %s", error, names)
    if not parts:
        raise UnreadableFrameError(f"No frame of any of the {len(tracklets)} tracklets can be read.")
    readable = tuple(chain.from_iterable(part.tracklets for part in parts))
    num_unreadable += sum(part.num_unreadable for part in parts)
    features = torch.cat([part.features for part in parts])
    return FeatureSet(readable, features, len(tracklets) - len(readable), num_unreadable)


def _find_camera(trained: TrainedRun, camera: str | int | None) -> dict[int, int]:
    """Return the index of a camera in the model's camera embedding, by camid; nothing if it is unknown or has none."""
    if not trained.model.num_cameras:
        return {}
    if camera is None:
        logger.info("The camera is unknown: all tracklets get the neutral camera embedding (--camera names one).")
        return {}
    known = trained.camera_names
    if str(camera) not in known:
        names = ", ".join(known) or "which this checkpoint does not name"
        raise Mistake(f"--camera must be a training camera ({names}), got {camera}; without it, it is unknown.")
    index = known.index(str(camera))
    return {(trained.camids or ())[index]: index}
