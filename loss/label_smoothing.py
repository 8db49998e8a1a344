"""Cross entropy with soft targets: online label smoothing (X-TFCLIP) or uniform smoothing (TF-CLIP)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClassificationLoss(nn.Module):
    """Base of the classification losses: logits (B, K) and labels (B,) in 0..K-1 -> scalar, mean over the batch."""

    def next_epoch(self) -> None:
        """Update what the loss learned during the epoch that just ended; by default it learns nothing."""


class OnlineLabelSmoothing(ClassificationLoss):
    """Cross entropy against soft labels that are averaged from the model's correct predictions of the last epoch.

    ``hard_weight * CE(hard) + (1 - hard_weight) * CE(soft labels of the class)``. ``smoothing`` is the probability that
    is spread over the other classes in the first epoch. As in the published code, the soft labels of a class without a
    correctly classified sample become zero.

    Reference: Zhang et al., "Delving Deep into Label Smoothing", IEEE TIP 2021, arXiv 2011.12562.
    """

    soft_labels: Tensor
    accumulated: Tensor
    counts: Tensor

    def __init__(self, num_classes: int, smoothing: float = 0.1, hard_weight: float = 0.5):
        super().__init__()
        self.hard_weight = hard_weight
        soft_labels = torch.full((num_classes, num_classes), smoothing / max(num_classes - 1, 1))
        soft_labels.fill_diagonal_(1.0 - smoothing)
        self.register_buffer("soft_labels", soft_labels)  # row: true class
        self.register_buffer("accumulated", torch.zeros(num_classes, num_classes))
        self.register_buffer("counts", torch.zeros(num_classes))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of logits (B, K) and labels (B,) in 0..K-1: a scalar, the mean over the batch."""
        log_probabilities = logits.float().log_softmax(dim=1)
        if self.training:
            self._accumulate(log_probabilities.detach(), labels)
        hard = F.nll_loss(log_probabilities, labels)
        soft = -(self.soft_labels[labels] * log_probabilities).sum(dim=1).mean()
        return self.hard_weight * hard + (1.0 - self.hard_weight) * soft

    def _accumulate(self, log_probabilities: Tensor, labels: Tensor) -> None:
        """Add the distributions of correctly classified samples to their classes, without synchronising the device."""
        correct = (log_probabilities.argmax(dim=1) == labels).to(log_probabilities.dtype)
        self.accumulated.index_add_(0, labels, log_probabilities.exp() * correct.unsqueeze(1))
        self.counts.index_add_(0, labels, correct)

    def next_epoch(self) -> None:
        """Make this epoch's means the soft labels, and clear the accumulator."""
        self.soft_labels.copy_(self.accumulated / self.counts.clamp(min=1).unsqueeze(1))
        self.accumulated.zero_()
        self.counts.zero_()


class UniformLabelSmoothing(ClassificationLoss):
    """Cross entropy against (1 - e) y + e / K (Szegedy et al., CVPR 2016)."""

    def __init__(self, smoothing: float = 0.1):
        super().__init__()
        self.smoothing = smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of logits (B, K) and labels (B,) in 0..K-1: a scalar, the mean over the batch."""
        return F.cross_entropy(logits.float(), labels, label_smoothing=self.smoothing)
