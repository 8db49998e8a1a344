"""Read data sets by name, and build loaders and transforms from a config.

Axes of a batch: B clips, T frames, C channels, H and W pixels.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from utils.metrics import PROTOCOLS
from utils.mistake import Mistake
from utils.processes import ALONE, Processes
from utils.stopping import leave_signals_to_parent

from .clips.batch_sampler import IdentityBatchSampler
from .clips.clip_dataset import TrackletClips
from .clips.transforms import Augmenter, Normalizer
from .problems import LOADING, Problems
from .readers.agvpreid import read_agvpreid
from .readers.detreidx import read_detreidx
from .readers.ilidsvid import read_ilidsvid
from .readers.listing import find_root
from .readers.lsvid import read_lsvid
from .readers.mars import read_g2avreid, read_mars
from .readers.own_data import read_own_data
from .split import draw_people, hold_out, read_pids
from .tracklet import DEFAULT_OPTIONS, Case, DataSet, DatasetOptions, Tracklet, label_map

logger = logging.getLogger(__name__)

# Open files of a training, and for each loader process: its pipes, and the tensors that it sends (measured: 37 and 8).
BASE_FILES, FILES_OF_WORKER = 64, 16

# By DATASETS.NAMES (configs.defaults.DATA_SETS). Each takes the folder of a copy, options, and what faults are reported
# to, and returns a DataSet.
DATASETS: dict[str, Callable[[Path, DatasetOptions, Problems], DataSet]] = {
    "agvpreid": read_agvpreid,
    "detreidx": read_detreidx,
    "folder": read_own_data,
    "g2avreid": read_g2avreid,
    "ilidsvid": read_ilidsvid,
    "lsvid": read_lsvid,
    "mars": read_mars,
}


def make_dataset(cfg: CfgNode, with_train: bool = True, root: str = "", problems: Problems = LOADING) -> DataSet:
    """Read the dataset that DATASETS.NAMES names, from ``root`` or DATASETS.ROOT_DIR.

    Without ``with_train``, ``train`` is empty, unless DATASETS.EVAL_SPLIT asks for validation people.
    """
    holds_out = bool(cfg.DATASETS.VALIDATION_FRACTION or cfg.DATASETS.VALIDATION_PIDS)
    options = DatasetOptions(
        with_train=with_train or (holds_out and cfg.DATASETS.EVAL_SPLIT == "validation" and not root),
        protocol=cfg.TEST.PROTOCOL,
        split=cfg.DATASETS.SPLIT,
        train_half=cfg.DATASETS.TRAIN_HALF,
        aerial_camera=cfg.DATASETS.AERIAL_CAMERA,
        identities_masked=cfg.DATASETS.IDENTITIES_MASKED,
        index_dir=cfg.DATASETS.INDEX_DIR,
        table=cfg.DATASETS.TABLE,
    )
    dataset = open_dataset(cfg.DATASETS.NAMES, root or cfg.DATASETS.ROOT_DIR, options, problems)
    columns = dataset.scheme.columns if dataset.scheme else cfg.TEST.MASK_ATTRIBUTES  # without any, all are ignored
    masks = cfg.TEST.MASK in ("annotated", "soft")
    if masks and (unknown := [name for name in cfg.TEST.MASK_ATTRIBUTES if name not in columns]):
        among = f"{', '.join(columns)} (the columns of {cfg.DATASETS.NAMES})"
        text = f'TEST.MASK_ATTRIBUTES must be among {among}, or "()" for no mask; got {unknown[0]!r}.'
        problems.add("loader", text)
    if not holds_out or not dataset.train:
        return dataset
    with problems.guard():
        return _hold_out(cfg, dataset)
    return dataset


def _hold_out(cfg: CfgNode, dataset: DataSet) -> DataSet:
    """Take the validation people out of the training set."""
    if cfg.DATASETS.VALIDATION_PIDS:
        pids = read_pids(cfg.DATASETS.VALIDATION_PIDS, dataset.train)
    else:
        fraction = cfg.DATASETS.VALIDATION_FRACTION
        # The draw does not follow SOLVER.SEED, so that runs with several seeds are compared on the same people.
        pids = draw_people(dataset.train, fraction, setting="DATASETS.VALIDATION_FRACTION", distractors=True)
    train, validation = hold_out(dataset.train, dataset.cases, pids)
    queried = {tracklet.pid for case in validation.values() for tracklet in case.query}
    text = "%d people are held out for validation, %d of them as queries; %d tracklets are left to train on."
    logger.info(text, len(pids), len(queried), len(train))
    return replace(dataset, train=train, validation=validation)


def open_dataset(
    name: str, root: str | Path, options: DatasetOptions = DEFAULT_OPTIONS, problems: Problems = LOADING
) -> DataSet:
    """Read a copy of a data set, and apply what holds for all of them: protocol, masking, counts."""
    dataset = DATASETS[name](find_root(root, f"{name} (DATASETS.NAMES)"), options, problems)
    cases = {}
    for key, case in dataset.cases.items():
        masked = case.identities_masked or options.identities_masked
        case = replace(case, protocol=options.protocol or case.protocol, identities_masked=masked)
        cases[key] = case
        if not masked and not PROTOCOLS[case.protocol].leave_out_same_camera:
            keys = {tracklet.key for tracklet in case.gallery}
            same = [query for query in case.query if query.key in keys]
            problems.add(
                "query in its gallery",
                *(f"{case.name}/query: identity {query.person}, {query.name}" for query in same),
                summary=f"{case.name}: {len(same)} of {len(case.query)} queries have the identity and name of a "
                "gallery tracklet: they may find themselves.",
            )
    masked_cases = [case.name for case in cases.values() if case.identities_masked]
    text = f"{', '.join(masked_cases)}: identities are masked: this copy can be ranked, but not scored."
    problems.add("masked identities", *masked_cases, summary=text)
    dataset = replace(dataset, cases=cases)
    _compare_counts(dataset, problems)
    return dataset


def _compare_counts(dataset: DataSet, problems: Problems) -> None:
    """Log the counts of each split, and report those that differ from the published ones."""
    found = dict(dataset.counts)
    for split, tracklets in dataset.splits().items():
        people = len({tracklet.pid for tracklet in tracklets})
        num_frames = sum(len(tracklet.frame_paths) for tracklet in tracklets)
        logger.info("%s: %d identities, %d tracklets, %d frames.", split, people, len(tracklets), num_frames)
        found |= {f"{split} identities": people, f"{split} tracklets": len(tracklets)}
    differing = [name for name, number in dataset.published.items() if found.get(name, number) != number]
    odd = [f"{name}: {found[name]} instead of {dataset.published[name]}" for name in differing]
    text = f"{dataset.title}: this copy differs from the published counts: {', '.join(odd)}."
    problems.add("published counts", *odd, summary=text)


def choose_cases(cfg: CfgNode, dataset: DataSet) -> list[Case]:
    """Return the matching directions that DATASETS.EVAL_SPLIT and EVAL_CASE name."""
    cases = dataset.cases
    if cfg.DATASETS.EVAL_SPLIT == "validation":
        cases = dataset.validation
        if not cases:
            keys = "neither DATASETS.VALIDATION_FRACTION nor VALIDATION_PIDS"
            raise Mistake(f"DATASETS.EVAL_SPLIT is validation, but {keys} holds anybody out of training.")
    wanted = list(cases) if cfg.DATASETS.EVAL_CASE == "all" else [cfg.DATASETS.EVAL_CASE]
    for name in wanted:
        if name not in cases:
            raise Mistake(f"DATASETS.EVAL_CASE is {name}, but {cfg.DATASETS.ROOT_DIR} holds only {', '.join(cases)}.")
    return [cases[name] for name in wanted]


def make_train_transform(cfg: CfgNode, processes: Processes = ALONE) -> Augmenter:
    """Build what turns this process's slice of a batch of uint8 training clips into augmented, normalised floats."""
    return Augmenter(
        cfg.INPUT.PIXEL_MEAN,
        cfg.INPUT.PIXEL_STD,
        flip_probability=cfg.INPUT.PROB,
        erase_probability=cfg.INPUT.RE_PROB,
        erasing=cfg.INPUT.ERASING,
        padding=cfg.INPUT.CROP_PADDING,
        color_jitter=cfg.INPUT.COLOR_JITTER,
        consistent=cfg.INPUT.CONSISTENT_AUGMENTATION,
        hue_jitter=cfg.INPUT.HUE_JITTER,
        change_views=cfg.INPUT.CHANGE_VIEWS,
        low_resolution=cfg.INPUT.LOW_RESOLUTION,
        rank=processes.rank,
        world_size=processes.world_size,
    )


def make_test_transform(cfg: CfgNode) -> Normalizer:
    """Build what turns uint8 clips into normalised floats."""
    return Normalizer(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)


def make_train_loader(cfg: CfgNode, dataset: DataSet, processes: Processes = ALONE) -> DataLoader:
    """Build the loader of this process's slice of training batches, P identities with K clips each.

    Call ``loader.batch_sampler.set_epoch(epoch)`` before each epoch. Batches are the dicts of ``TrackletClips``.
    """
    sampler = IdentityBatchSampler(
        [tracklet.pid for tracklet in dataset.train],
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
    return DataLoader(_train_clips(cfg, dataset, "train"), batch_sampler=sampler, **_loader_options(cfg))


def make_memory_loader(
    cfg: CfgNode, dataset: DataSet, processes: Processes = ALONE, sampling: str = "consecutive"
) -> DataLoader:
    """Build the loader for CLIP memory: all frames of this process's training tracklets, in consecutive clips.

    With ``sampling`` "test", it has one clip of each tracklet.
    """
    return _make_shared_loader(cfg, _train_clips(cfg, dataset, sampling), processes)


def _train_clips(cfg: CfgNode, dataset: DataSet, sampling: str) -> TrackletClips:
    return TrackletClips(
        dataset.train,
        size=cfg.INPUT.SIZE_TRAIN,
        clip_length=cfg.INPUT.SEQ_LEN,
        sampling=sampling,
        seed=cfg.SOLVER.SEED,
        labels=label_map(tracklet.pid for tracklet in dataset.train),
        cameras=train_cameras(dataset.train),
        with_captures=cfg.MODEL.VIEW_PROMPTS > 0,
    )


def make_test_loader(
    cfg: CfgNode,
    tracklets: Sequence[Tracklet],
    cameras: Mapping[int, int] | None = None,
    processes: Processes = ALONE,
) -> DataLoader:
    """Build a loader of TEST.NUM_CLIPS clips of each of this process's tracklets; ``cameras`` of ``train_cameras``."""
    clips = TrackletClips(
        tracklets,
        size=cfg.INPUT.SIZE_TEST,
        clip_length=cfg.INPUT.SEQ_LEN,
        sampling="test",
        cameras=cameras or {},  # others become -1
        num_clips=cfg.TEST.NUM_CLIPS,
        black_if_unreadable=True,  # left out of query or gallery
        with_captures=cfg.MODEL.VIEW_PROMPTS > 0,
    )
    return _make_shared_loader(cfg, clips, processes)


def _make_shared_loader(cfg: CfgNode, clips: TrackletClips, processes: Processes) -> DataLoader:
    """Build the loader of this process's share of the clips, in order and without padding."""
    share = clips.share(processes.rank, processes.world_size)
    return DataLoader(clips, batch_size=cfg.TEST.IMS_PER_BATCH, sampler=share, **_loader_options(cfg))


def train_cameras(tracklets: Sequence[Tracklet]) -> dict[int, int]:
    """Number the cameras of the training tracklets from 0, by camid; an unknown camera has no number."""
    return label_map(tracklet.camid for tracklet in tracklets if tracklet.camid >= 0)


def _loader_options(cfg: CfgNode) -> dict[str, Any]:
    num_workers = cfg.DATALOADER.NUM_WORKERS
    if num_workers:
        _allow_open_files(BASE_FILES + FILES_OF_WORKER * num_workers)
    return {
        # Worker seeds come from a generator of their own: drawn from the global one, they would shift dropout's masks,
        # and a resumed run would not continue the same curve.
        "generator": torch.Generator().manual_seed(cfg.SOLVER.SEED),
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "worker_init_fn": leave_signals_to_parent,
        "pin_memory": torch.cuda.is_available() and cfg.MODEL.DEVICE != "cpu",
    }


def _allow_open_files(needed: int) -> None:
    """Raise this process's limit of open files, if need be; beyond it loaders would wait for tensors in vain."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (resource.RLIM_INFINITY, max(soft, needed)):
        return
    if hard not in (resource.RLIM_INFINITY, max(hard, needed)):
        raise Mistake(
            f"A process may open {hard} files here (ulimit -n), and DATALOADER.NUM_WORKERS needs about {needed}: raise "
            "the limit, or set DATALOADER.NUM_WORKERS 0."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
