"""CLIP memory: one feature per training identity, from the initial encoder (docs/method.md section 5)."""

import logging

import torch
from torch import Tensor
from yacs.config import CfgNode

from datasets.build import make_memory_loader
from datasets.readers.dataset import DataSet
from datasets.tracklet import label_map
from model import XTFCLIP
from utils.runtime import Runtime

from ..build import make_extractor

logger = logging.getLogger(__name__)


def build_memory(cfg: CfgNode, dataset: DataSet, model: XTFCLIP, runtime: Runtime) -> Tensor:
    """Average an untrained model's features over all clips, then over the training tracklets of each identity.

    ``encode_memory`` sees neither camera nor frame embeddings. Returns (K, P), float32; row k is that of label k.
    """
    loader, tracklets = make_memory_loader(cfg, dataset, runtime.processes), dataset.train
    extractor, max_bad_fraction = make_extractor(cfg, model, runtime), cfg.DATALOADER.MAX_BAD_FRACTION
    features = extractor.average_over_tracklets(
        lambda clips, camids: model.encode_memory(clips), loader, tracklets, "CLIP memory", max_bad_fraction
    ).features
    labels_of_pids = label_map(tracklet.pid for tracklet in tracklets)
    labels = torch.tensor([labels_of_pids[tracklet.pid] for tracklet in tracklets], device=features.device)
    sums = torch.zeros(len(labels_of_pids), features.shape[1], device=features.device).index_add(0, labels, features)
    logger.info("CLIP memory of %d identities from %d tracklets", len(sums), len(tracklets))
    return sums / labels.bincount().unsqueeze(1)
