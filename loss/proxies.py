"""Memory of proxies: each person is a mean and a hardest feature, which follow the network while it trains.

Reference: for a memory that follows, Dai et al., "Cluster Contrast", ACCV 2022, arXiv 2103.11568; for two proxies a
person, CLIMB-ReID, AAAI 2025, and SAS-VPReID, arXiv 2601.05535.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 0.05
MOMENTUM = 0.1  # share of a proxy that a step keeps


class ProxyMemory(nn.Module):
    """Cross entropy of cosines over 0.05 between features (B, P) and two proxies of each of K people.

    It is averaged over both kinds. Labels are hard, and online label smoothing learns nothing here: its soft labels are
    of classifiers. After the loss, the proxies of the people in a batch become 0.1 of themselves and 0.9 of a target,
    at length 1. The target of the mean is the mean of the person's normalised features; that of the hardest is the one
    of these with the lowest cosine to the mean proxy. SAS-VPReID's code also moves the mean by each feature before; we
    do not.
    """

    proxies: Tensor

    def __init__(self, num_classes: int, width: int):
        super().__init__()
        # Mean and hardest, of length 1. They change in place: a recorded step reads them where they are.
        self.register_buffer("proxies", torch.zeros(2, num_classes, width))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of features (B, P), before any norm, and labels (B,) in 0..K-1: a scalar, float32."""
        with torch.autocast(features.device.type, enabled=False):
            unit = F.normalize(features.float(), dim=1)
            # The gradient needs the proxies as they are before they move.
            cosines = unit @ self.proxies.clone().transpose(1, 2)  # (2, B, K)
            loss = F.cross_entropy(cosines.flatten(0, 1) / TEMPERATURE, labels.repeat(2))
            if self.training:
                self._follow(unit.detach(), labels)
        return loss

    def _follow(self, unit: Tensor, labels: Tensor) -> None:
        """Move the proxies of the people in a batch, without synchronising the device: all shapes are fixed."""
        is_of = labels == torch.arange(self.proxies.shape[1], device=labels.device).unsqueeze(1)  # (K, B)
        means = is_of.to(unit.dtype) @ unit / is_of.sum(dim=1, keepdim=True).clamp(min=1)
        cosines = (unit * self.proxies[0, labels]).sum(dim=1)
        hardest = cosines.expand(len(is_of), -1).masked_fill(~is_of, torch.inf).argmin(dim=1)
        moved = MOMENTUM * self.proxies + (1 - MOMENTUM) * torch.stack([means, unit[hardest]])
        self.proxies.copy_(torch.where(is_of.any(dim=1, keepdim=True), F.normalize(moved, dim=2), self.proxies))

    def rebuild(self, memory: Tensor) -> None:
        """Let both proxies of each person begin an epoch as the direction of a mean feature, (K, P)."""
        self.proxies.copy_(F.normalize(memory, dim=1))
