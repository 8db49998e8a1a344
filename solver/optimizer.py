"""Adam with a learning rate for each kind of parameter, and gradient centralisation (METHOD section 7)."""

from collections.abc import Iterable

import torch
from torch import nn
from yacs.config import CfgNode

TEMPORAL_CLASSIFIER = "classifier_temporal."
# The encoder's parameters come from CLIP, except its camera and frame embeddings.
ENCODER = "encoder."
NEW_IN_ENCODER = ("encoder.camera_embedding", "encoder.frame_embedding")


def make_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Adam:
    """Build Adam over the trainable parameters of a model.

    The learning rate is SOLVER.STAGE2.BASE_LR times a factor for biases, a factor for the temporal classifier and a
    factor for modules that do not come from CLIP; factors multiply where several apply.
    """
    stage = cfg.SOLVER.STAGE2
    # The encoder's weights are the first group, because the training loop logs the rate of the first group.
    groups: dict[tuple[float, float], list[nn.Parameter]] = {(stage.BASE_LR, stage.WEIGHT_DECAY): []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate, decay = stage.BASE_LR, stage.WEIGHT_DECAY
        if not name.startswith(ENCODER) or name in NEW_IN_ENCODER:
            rate *= stage.NEW_MODULE_LR_FACTOR
        if name.startswith(TEMPORAL_CLASSIFIER):
            rate *= stage.TEMPORAL_CLASSIFIER_LR_FACTOR
        if name.endswith("bias"):
            rate, decay = rate * stage.BIAS_LR_FACTOR, stage.WEIGHT_DECAY_BIAS
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.Adam(
        [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()],
        fused=next(model.parameters()).is_cuda,
    )


@torch.no_grad()
def centralize_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Subtract from each gradient of two or more dimensions its mean over all dimensions but the first, in place.

    Reference:
        Yong et al., "Gradient Centralization", ECCV 2020, Eq. (1).
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.dim() > 1:
            gradient.sub_(gradient.mean(dim=tuple(range(1, gradient.dim())), keepdim=True))
