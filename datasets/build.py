"""Benchmarks and loaders: the one registry of datasets, and what turns them into batches.

Axes of a batch: B clips, T frames, C channels, H and W pixels.
"""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from .attributes import AttributeScheme
from .benchmarks.agvpreid import AGVPReID
from .benchmarks.dataset_options import DatasetOptions
from .benchmarks.detreidx import DetReIDX
from .benchmarks.g2avreid import G2AVReID
from .benchmarks.ilidsvid import ILIDSVID
from .benchmarks.lsvid import LSVID
from .benchmarks.mars import MARS
from .clips.batch_sampler import IdentityBatchSampler
from .clips.clip_dataset import TrackletClips
from .storage.frame_cache import FrameCache
from .tracklet import Benchmark, Tracklet, label_map

logger = logging.getLogger(__name__)

# Every data set is built as (root, with_train, options) and is a ``Benchmark``.
DATASETS = {
    "agvpreid": AGVPReID,
    "detreidx": DetReIDX,
    "g2avreid": G2AVReID,
    "ilidsvid": ILIDSVID,
    "lsvid": LSVID,
    "mars": MARS,
}


def make_dataset(cfg: CfgNode, with_train: bool = True) -> Benchmark:
    """Read the dataset that the config names.

    Args:
        cfg: The config.
        with_train: Whether to read the training split, which must then exist; evaluation can do without.
    """
    name = cfg.DATASETS.NAMES
    if name not in DATASETS:
        raise ValueError(f"DATASETS.NAMES must be one of {', '.join(sorted(DATASETS))}, got {name!r}.")
    _check_columns(name, DATASETS[name].scheme, cfg.TEST.MASK_ATTRIBUTES)
    options = DatasetOptions(
        protocol=cfg.TEST.PROTOCOL,
        split=cfg.DATASETS.SPLIT,
        train_half=cfg.DATASETS.TRAIN_HALF,
        aerial_camera=cfg.DATASETS.AERIAL_CAMERA,
        identities_masked=cfg.DATASETS.IDENTITIES_MASKED,
        index_dir=cfg.DATASETS.INDEX_DIR,
    )
    return DATASETS[name](cfg.DATASETS.ROOT_DIR, with_train=with_train, options=options)


def _check_columns(name: str, scheme: AttributeScheme | None, columns: Sequence[str]) -> None:
    """A data set without attributes is not masked, whatever the columns; one with others must not be by wrong ones."""
    for column in columns:
        if scheme is not None and column not in scheme.columns:
            raise ValueError(
                f"TEST.MASK_ATTRIBUTES must be among {', '.join(scheme.columns)} (the columns of {name}), "
                f'or "()" for no mask; got {column!r}.'
            )


def make_train_loader(cfg: CfgNode, dataset: Benchmark, rank: int = 0, world_size: int = 1) -> DataLoader:
    """Batches of identities for training, with labels and cameras numbered from 0.

    Call ``loader.batch_sampler.set_epoch(epoch)`` before each epoch. Batches are the dicts of
    ``TrackletClips``, with ``clips`` (B, T, C, H, W), uint8, and the rest (B,), int64.
    """
    pids = [tracklet.pid for tracklet in dataset.train]
    clips = TrackletClips(
        dataset.train,
        size=cfg.INPUT.SIZE_TRAIN,
        clip_length=cfg.INPUT.SEQ_LEN,
        sampling="train",
        seed=cfg.SOLVER.SEED,
        labels=label_map(pids),
        cameras=train_cameras(dataset.train),
        cache=_make_frame_cache(cfg),
    )
    sampler = IdentityBatchSampler(
        pids,
        batch_size=cfg.SOLVER.STAGE2.IMS_PER_BATCH,
        num_instances=cfg.DATALOADER.NUM_INSTANCE,
        seed=cfg.SOLVER.SEED,
        rank=rank,
        world_size=world_size,
        views=[tracklet.view for tracklet in dataset.train],
        altitudes=[tracklet.altitude for tracklet in dataset.train],
        both_views=cfg.DATALOADER.BOTH_VIEWS,
        balance_altitudes=cfg.DATALOADER.BALANCE_ALTITUDES,
    )
    return DataLoader(clips, batch_sampler=sampler, **_loader_options(cfg))


def make_memory_loader(cfg: CfgNode, dataset: Benchmark) -> DataLoader:
    """All frames of the training tracklets, in order, in consecutive clips: what CLIP memory is built of."""
    clips = TrackletClips(
        dataset.train,
        size=cfg.INPUT.SIZE_TRAIN,
        clip_length=cfg.INPUT.SEQ_LEN,
        sampling="consecutive",
        labels=label_map(tracklet.pid for tracklet in dataset.train),
        cameras=train_cameras(dataset.train),
        cache=_make_frame_cache(cfg),
    )
    return DataLoader(clips, batch_size=cfg.TEST.IMS_PER_BATCH, **_loader_options(cfg))


def make_test_loader(
    cfg: CfgNode, tracklets: Sequence[Tracklet], cameras: Mapping[int, int] | None = None
) -> DataLoader:
    """TEST.NUM_CLIPS clips of each tracklet, in their order, one after another.

    Args:
        cfg: The config.
        tracklets: Queries or gallery.
        cameras: 0-based training camera by camid, as ``train_cameras`` gives; others are -1.
    """
    clips = TrackletClips(
        tracklets,
        size=cfg.INPUT.SIZE_TEST,
        clip_length=cfg.INPUT.SEQ_LEN,
        sampling="test",
        cameras=cameras,
        num_clips=cfg.TEST.NUM_CLIPS,
        cache=_make_frame_cache(cfg),
    )
    return DataLoader(clips, batch_size=cfg.TEST.IMS_PER_BATCH, **_loader_options(cfg))


def train_cameras(tracklets: Sequence[Tracklet]) -> dict[int, int]:
    """0-based number of each camera that took training tracklets; an unknown camera gets none."""
    return label_map(tracklet.camid for tracklet in tracklets if tracklet.camid >= 0)


def _make_frame_cache(cfg: CfgNode) -> FrameCache | None:
    """The cache that the config names; None when it is off."""
    if not cfg.DATALOADER.CACHE_DIR:
        return None
    return _share_frame_cache(cfg.DATALOADER.CACHE_DIR, int(cfg.DATALOADER.CACHE_GIB * 2**30))


@functools.lru_cache
def _share_frame_cache(folder: str, max_bytes: int) -> FrameCache:
    """One object for all loaders of a run, and with it what was reported."""
    cache = FrameCache(folder, max_bytes)
    logger.info("Resized frames are kept in %s, up to %.3g GiB.", cache.folder, max_bytes / 2**30)
    return cache


def _loader_options(cfg: CfgNode) -> dict[str, Any]:
    num_workers = cfg.DATALOADER.NUM_WORKERS
    return {
        # Worker seeds come from a generator of their own: drawn from the global one, they would shift dropout's masks,
        # and a resumed run would not continue the same curve.
        "generator": torch.Generator().manual_seed(cfg.SOLVER.SEED),
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "pin_memory": torch.cuda.is_available() and cfg.MODEL.DEVICE != "cpu",
    }
