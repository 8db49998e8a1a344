"""CLIP memory: one feature per training identity, from the initial encoder (docs/method.md section 5)."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datasets.tracklet import Tracklet, label_map

from ..evaluation.features import FeatureExtractor

logger = logging.getLogger(__name__)


def build_memory(
    extractor: FeatureExtractor, loader: DataLoader, tracklets: Sequence[Tracklet], max_bad_fraction: float = 1.0
) -> Tensor:
    """Average the initial encoder's features over clips, then over the tracklets of each identity.

    Args:
        extractor: Its model's ``encode_memory`` sees neither camera nor frame embeddings.
        loader: All clips of all training tracklets, in batches that carry the index of their tracklet.
        tracklets: The training tracklets.
        max_bad_fraction: Share of unreadable frames, 0..1, above which this stops.
    Returns:
        Memory (K, P), float32, on the runtime's device; row k is the identity whose label is k.
    """
    features = extractor.average_over_tracklets(
        lambda clips, camids: extractor.model.encode_memory(clips), loader, tracklets, "CLIP memory", max_bad_fraction
    ).features
    labels_of_pids = label_map(tracklet.pid for tracklet in tracklets)
    labels = torch.tensor([labels_of_pids[tracklet.pid] for tracklet in tracklets], device=features.device)
    sums = torch.zeros(len(labels_of_pids), features.shape[1], device=features.device).index_add(0, labels, features)
    logger.info("CLIP memory of %d identities from %d tracklets", len(sums), len(tracklets))
    return sums / labels.bincount().unsqueeze(1)
