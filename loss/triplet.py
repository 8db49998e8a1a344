"""Batch-hard triplet loss."""

import torch
from torch import Tensor, nn


class BatchHardTriplet(nn.Module):
    """Hinge loss that asks the farthest positive of every sample to be nearer than its nearest negative by a margin.

    Args:
        margin: Difference of raw Euclidean distances, in feature units.
    Reference: Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", arXiv 1703.07737, Eq. (5).
    """

    def __init__(self, margin: float):
        super().__init__()
        self.margin = margin

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of features (B, D) and labels (B,), of which at least two differ: a scalar, the mean."""
        # Half precision loses the differences between near neighbours, and so does the expansion of the squared
        # distance that torch.cdist uses by default for large batches.
        distances = torch.cdist(features.float(), features.float(), compute_mode="donot_use_mm_for_euclid_dist")
        same = labels.unsqueeze(0) == labels.unsqueeze(1)
        hardest_positive = distances.masked_fill(~same, -torch.inf).amax(dim=1)
        hardest_negative = distances.masked_fill(same, torch.inf).amin(dim=1)
        return (hardest_positive - hardest_negative + self.margin).clamp(min=0).mean()
