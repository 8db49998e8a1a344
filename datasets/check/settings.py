"""What a data check needs to know of a config, read from it in one place."""

from collections.abc import Callable, Sized
from dataclasses import dataclass
from functools import partial
from typing import cast

from yacs.config import CfgNode

from utils.metrics import CROSS_CAMERA

from ..build import make_dataset, make_train_loader
from ..readers.benchmark import Benchmark


@dataclass(frozen=True)
class CheckSettings:
    """What to check, and against which settings of training.

    Attributes:
        dataset: DATASETS.NAMES.
        root: DATASETS.ROOT_DIR.
        identities_masked: DATASETS.IDENTITIES_MASKED.
        protocol: Name of the protocol for a data set that cannot be read, which would otherwise name its own.
        size: Height and width that training decodes frames to, in pixels.
        clip_length: Frames of a clip, T.
        batch_size: Clips of a batch, P x K.
        num_instances: Tracklets of each identity in a batch, K.
        max_bad_fraction: Share of the training frames above which unreadable ones stop training, 0..1.
        loader_workers: Processes that decode in training.
        read_dataset: Reads the data set as training does; raises OSError, ValueError or TypeError.
        count_batches: Counts the batches of an epoch; raises ValueError if none can be drawn.
        sample: Frames to decode of each tracklet; 0 for all.
        num_workers: Processes that decode in this check; 1 decodes in the calling one.
    """

    dataset: str
    root: str
    identities_masked: bool
    protocol: str
    size: tuple[int, int]
    clip_length: int
    batch_size: int
    num_instances: int
    max_bad_fraction: float
    loader_workers: int
    read_dataset: Callable[[], Benchmark]
    count_batches: Callable[[Benchmark], int]
    sample: int = 0
    num_workers: int = 1


def make_check_settings(cfg: CfgNode, sample: int = 0, num_workers: int = 1) -> CheckSettings:
    """Read the settings of a check from a config; ``sample`` and ``num_workers`` are as in ``CheckSettings``."""
    return CheckSettings(
        dataset=cfg.DATASETS.NAMES,
        root=cfg.DATASETS.ROOT_DIR,
        identities_masked=cfg.DATASETS.IDENTITIES_MASKED,
        protocol=cfg.TEST.PROTOCOL or CROSS_CAMERA.name,
        size=cfg.INPUT.SIZE_TRAIN,
        clip_length=cfg.INPUT.SEQ_LEN,
        batch_size=cfg.SOLVER.STAGE2.IMS_PER_BATCH,
        num_instances=cfg.DATALOADER.NUM_INSTANCE,
        max_bad_fraction=cfg.DATALOADER.MAX_BAD_FRACTION,
        loader_workers=cfg.DATALOADER.NUM_WORKERS,
        read_dataset=partial(make_dataset, cfg),
        count_batches=partial(_count_batches, cfg),
        sample=sample,
        num_workers=num_workers,
    )


def _count_batches(cfg: CfgNode, dataset: Benchmark) -> int:
    """Count the batches that the training loader draws in an epoch."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATALOADER.NUM_WORKERS = 0  # nothing is loaded here: torch need not warn of many workers
    return len(cast(Sized, make_train_loader(cfg, dataset).batch_sampler))
