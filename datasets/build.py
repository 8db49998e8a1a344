"""Build benchmarks, loaders and transforms from a config: the one registry of datasets, and what makes batches of them.

Axes of a batch: B clips, T frames, C channels, H and W pixels.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from utils.mistake import Mistake
from utils.processes import ALONE, Processes
from utils.stopping import leave_signals_to_parent

from .attributes import AttributeScheme
from .clips.batch_sampler import IdentityBatchSampler
from .clips.clip_dataset import TrackletClips
from .clips.sampling import count_test_clips
from .clips.transforms import Augmenter, Normalizer
from .readers.agvpreid import AGVPReID
from .readers.benchmark import Benchmark
from .readers.dataset_options import DatasetOptions
from .readers.detreidx import DetReIDX
from .readers.g2avreid import G2AVReID
from .readers.ilidsvid import ILIDSVID
from .readers.lsvid import LSVID
from .readers.mars import MARS
from .readers.own_data import OwnData
from .tracklet import Case, Tracklet, label_map

logger = logging.getLogger(__name__)

# The constructor of each takes (root, with_train, options), as documented at ``Benchmark``.
DATASETS: dict[str, type[Benchmark]] = {
    "agvpreid": AGVPReID,
    "detreidx": DetReIDX,
    "folder": OwnData,
    "g2avreid": G2AVReID,
    "ilidsvid": ILIDSVID,
    "lsvid": LSVID,
    "mars": MARS,
}


def make_dataset(cfg: CfgNode, with_train: bool = True, root: str = "") -> Benchmark:
    """Read the dataset that DATASETS.NAMES names.

    Args:
        cfg: DATASETS.* and TEST.PROTOCOL.
        with_train: Whether to read the training split. Without it ``train`` is empty, and the folder may be missing,
            empty or damaged.
        root: Folder of the copy, if it is not DATASETS.ROOT_DIR.
    Raises:
        FileNotFoundError, ValueError: If a part that is read is missing or damaged.
    """
    name = cfg.DATASETS.NAMES
    if name not in DATASETS:
        raise Mistake(f"DATASETS.NAMES must be one of {', '.join(sorted(DATASETS))}, got {name!r}.")
    _check_columns(name, DATASETS[name].scheme, cfg.TEST.MASK_ATTRIBUTES)
    options = DatasetOptions(
        protocol=cfg.TEST.PROTOCOL,
        split=cfg.DATASETS.SPLIT,
        train_half=cfg.DATASETS.TRAIN_HALF,
        aerial_camera=cfg.DATASETS.AERIAL_CAMERA,
        identities_masked=cfg.DATASETS.IDENTITIES_MASKED,
        index_dir=cfg.DATASETS.INDEX_DIR,
        table=cfg.DATASETS.TABLE,
    )
    read: Callable[..., Benchmark] = DATASETS[name]
    dataset = read(root or cfg.DATASETS.ROOT_DIR, with_train=with_train, options=options)
    _check_columns(name, dataset.scheme, cfg.TEST.MASK_ATTRIBUTES)  # some schemes are known of the copy only
    return dataset


def _check_columns(name: str, scheme: AttributeScheme | None, columns: Sequence[str]) -> None:
    """Refuse columns that the data set's attributes do not have; a data set without attributes ignores them all."""
    for column in columns:
        if scheme is not None and column not in scheme.columns:
            raise Mistake(
                f"TEST.MASK_ATTRIBUTES must be among {', '.join(scheme.columns)} (the columns of {name}), "
                f'or "()" for no mask; got {column!r}.'
            )


def choose_cases(cfg: CfgNode, dataset: Benchmark) -> list[Case]:
    """Return the matching directions that DATASETS.EVAL_CASE names; ValueError if the copy does not hold one."""
    wanted = list(dataset.cases) if cfg.DATASETS.EVAL_CASE == "all" else [cfg.DATASETS.EVAL_CASE]
    for name in wanted:
        if name not in dataset.cases:
            raise Mistake(
                f"DATASETS.EVAL_CASE is {name}, but {cfg.DATASETS.ROOT_DIR} holds only {', '.join(dataset.cases)}."
            )
    return [dataset.cases[name] for name in wanted]


def make_train_transform(cfg: CfgNode, processes: Processes = ALONE) -> Augmenter:
    """Build what turns this process's slice of a batch of uint8 training clips into augmented, normalised floats."""
    return Augmenter(
        cfg.INPUT.PIXEL_MEAN,
        cfg.INPUT.PIXEL_STD,
        flip_probability=cfg.INPUT.PROB,
        erase_probability=cfg.INPUT.RE_PROB,
        padding=cfg.INPUT.CROP_PADDING,
        color_jitter=cfg.INPUT.COLOR_JITTER,
        consistent=cfg.INPUT.CONSISTENT_AUGMENTATION,
        rank=processes.rank,
        world_size=processes.world_size,
    )


def make_test_transform(cfg: CfgNode) -> Normalizer:
    """Build what turns uint8 clips into normalised floats."""
    return Normalizer(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)


def make_train_loader(cfg: CfgNode, dataset: Benchmark, processes: Processes = ALONE) -> DataLoader:
    """Build the loader of training batches, P identities with K clips each, labels and cameras numbered from 0.

    With several processes it loads this process's slice of every batch.

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
    )
    sampler = IdentityBatchSampler(
        pids,
        batch_size=cfg.SOLVER.STAGE2.IMS_PER_BATCH,
        num_instances=cfg.DATALOADER.NUM_INSTANCE,
        seed=cfg.SOLVER.SEED,
        rank=processes.rank,
        world_size=processes.world_size,
        num_parts=cfg.SOLVER.STAGE2.ACCUMULATION_STEPS,
        views=[tracklet.view for tracklet in dataset.train],
        altitudes=[tracklet.altitude for tracklet in dataset.train],
        both_views=cfg.DATALOADER.BOTH_VIEWS,
        balance_altitudes=cfg.DATALOADER.BALANCE_ALTITUDES,
    )
    return DataLoader(clips, batch_sampler=sampler, **_loader_options(cfg))


def make_memory_loader(cfg: CfgNode, dataset: Benchmark, processes: Processes = ALONE) -> DataLoader:
    """Build the loader for CLIP memory: all frames of the training tracklets, in order, in consecutive clips.

    With several processes it loads this process's share of the tracklets.
    """
    clips = TrackletClips(
        dataset.train,
        size=cfg.INPUT.SIZE_TRAIN,
        clip_length=cfg.INPUT.SEQ_LEN,
        sampling="consecutive",
        labels=label_map(tracklet.pid for tracklet in dataset.train),
        cameras=train_cameras(dataset.train),
    )
    return _make_shared_loader(cfg, clips, processes)


def make_test_loader(
    cfg: CfgNode,
    tracklets: Sequence[Tracklet],
    cameras: Mapping[int, int] | None = None,
    processes: Processes = ALONE,
) -> DataLoader:
    """Build a loader of TEST.NUM_CLIPS clips of each tracklet, in the order of the tracklets.

    With several processes it loads this process's share of the tracklets.

    Args:
        cfg: INPUT.*, TEST.* and DATALOADER.*.
        tracklets: Queries or gallery.
        cameras: 0-based training camera by camid, as ``train_cameras`` returns it; other cameras become -1.
    """
    clips = TrackletClips(
        tracklets,
        size=cfg.INPUT.SIZE_TEST,
        clip_length=cfg.INPUT.SEQ_LEN,
        sampling="test",
        cameras=cameras,
        num_clips=cfg.TEST.NUM_CLIPS,
        black_if_unreadable=True,  # left out of query or gallery
    )
    return _make_shared_loader(cfg, clips, processes)


def warn_of_equal_clips(cfg: CfgNode, cases: Sequence[Case]) -> None:
    """Log one warning that counts the tracklets too short for TEST.NUM_CLIPS different clips; nothing without any."""
    tracklets = [tracklet for case in cases for tracklet in (*case.query, *case.gallery)]
    length, num_clips = cfg.INPUT.SEQ_LEN, cfg.TEST.NUM_CLIPS
    num_short = sum(count_test_clips(len(each.frame_paths), length, num_clips) < num_clips for each in tracklets)
    if num_short:
        logger.warning(
            "%d of %d query and gallery tracklets have fewer than TEST.NUM_CLIPS (%d) frames in each of INPUT.SEQ_LEN "
            "(%d) segments: some of their clips are equal.",
            num_short,
            len(tracklets),
            num_clips,
            length,
        )


def _make_shared_loader(cfg: CfgNode, clips: TrackletClips, processes: Processes) -> DataLoader:
    """Build the loader of this process's share of the clips, in order and without padding."""
    share = clips.share(processes.rank, processes.world_size)
    return DataLoader(clips, batch_size=cfg.TEST.IMS_PER_BATCH, sampler=share, **_loader_options(cfg))


def train_cameras(tracklets: Sequence[Tracklet]) -> dict[int, int]:
    """Number the cameras of the training tracklets from 0, by camid; an unknown camera has no number."""
    return label_map(tracklet.camid for tracklet in tracklets if tracklet.camid >= 0)


def _loader_options(cfg: CfgNode) -> dict[str, Any]:
    num_workers = cfg.DATALOADER.NUM_WORKERS
    return {
        # Worker seeds come from a generator of their own: drawn from the global one, they would shift dropout's masks,
        # and a resumed run would not continue the same curve.
        "generator": torch.Generator().manual_seed(cfg.SOLVER.SEED),
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "worker_init_fn": leave_signals_to_parent,
        "pin_memory": torch.cuda.is_available() and cfg.MODEL.DEVICE != "cpu",
    }
