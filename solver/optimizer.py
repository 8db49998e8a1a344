"""Adam or AdamW with rate and decay by role of parameter, and gradient centralisation (docs/method.md section 7)."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import nn
from yacs.config import CfgNode

from utils.roles import ParameterRole
from utils.text import format_table


class Network(Protocol):
    """A model that knows the roles of its parameters, by name."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...
    def parameter_roles(self) -> dict[str, ParameterRole]: ...


def make_optimizer(cfg: CfgNode, model: Network, criterion: nn.Module | None = None) -> torch.optim.Adam:
    """Build the optimizer over the trainable parameters of a model, and those that its loss learns.

    Weights and biases of each role, and of each layer of the encoder, form a group, whatever the rates: training may
    resume with others. The encoder's highest layer is the first group, whose rate the training loop logs.
    """
    stage = cfg.SOLVER.STAGE2
    members: dict[tuple[ParameterRole, bool], list[nn.Parameter]] = {}
    for role, is_bias, parameter in _list_parameters(model, criterion):
        if parameter.requires_grad:
            members.setdefault((role, is_bias), []).append(parameter)
    groups: list[dict[str, Any]] = []
    for (role, is_bias), parameters in sorted(members.items(), key=lambda item: _position(*item[0])):
        rate, decay = rate_and_decay(stage, role, is_bias)
        groups.append({"params": parameters, "lr": rate, "weight_decay": decay})
    # Fused on the CPU too: for the full-size model a step took 1.1 s, against 4.4 s by foreach and 5.1 s in a loop.
    optimizer = torch.optim.Adam(groups, fused=True, decoupled_weight_decay=stage.OPTIMIZER_NAME == "AdamW")
    _update_in_few_calls(optimizer)
    return optimizer


def _update_in_few_calls(optimizer: torch.optim.Adam) -> None:
    """Let a step update all groups with equal settings in one call: about three calls for B/16, not one for each group.

    Outside a step the groups, and so checkpoints and what ``--resume`` may change, stay as they are.
    """
    groups: list[dict[str, Any]] = []

    def merge(*_: object) -> None:
        groups[:] = optimizer.param_groups
        merged: dict[tuple[Any, ...], dict[str, Any]] = {}
        for group in groups:
            settings = tuple(value for name, value in group.items() if name != "params")
            merged.setdefault(settings, {**group, "params": []})["params"].extend(group["params"])
        optimizer.param_groups = list(merged.values())

    def restore(*_: object) -> None:
        optimizer.param_groups = list(groups)

    optimizer.register_step_pre_hook(merge)
    optimizer.register_step_post_hook(restore)


def _list_parameters(model: Network, criterion: nn.Module | None) -> list[tuple[ParameterRole, bool, nn.Parameter]]:
    """List parameters with their role and whether they are biases; those of a loss have a role of their own."""
    roles = model.parameter_roles()
    named = [(roles[name], name, parameter) for name, parameter in model.named_parameters()]
    if criterion is not None:
        named += [(ParameterRole("loss"), name, parameter) for name, parameter in criterion.named_parameters()]
    return [(role, name.endswith("bias"), parameter) for role, name, parameter in named]


def _position(role: ParameterRole, is_bias: bool) -> tuple[bool, int, str, bool]:
    """Sort key of a group: the encoder from its highest layer down, then the other roles."""
    return role.module != "encoder", role.height, role.module, is_bias


def rate_and_decay(stage: CfgNode, role: ParameterRole, is_bias: bool) -> tuple[float, float]:
    """Return the learning rate and the weight decay of a role by SOLVER.STAGE2 of a configuration."""
    rate = stage.BASE_LR * (stage.BIAS_LR_FACTOR if is_bias else 1)
    decay = stage.WEIGHT_DECAY_BIAS if is_bias else stage.WEIGHT_DECAY
    if role.module == "encoder":
        rate *= stage.ENCODER_BIAS_LR_FACTOR if is_bias else 1
        return rate * stage.ENCODER_LR_FACTOR * stage.LAYER_DECAY**role.height, decay * stage.ENCODER_DECAY_FACTOR
    rate, decay = rate * stage.NEW_MODULE_LR_FACTOR, decay * stage.NEW_MODULE_DECAY_FACTOR
    if role.module == "prompt":
        rate, decay = rate * stage.PROMPT_LR_FACTOR, decay * stage.PROMPT_DECAY_FACTOR
    elif role.module in ("head", "temporal head"):
        rate, decay = rate * stage.HEAD_LR_FACTOR, decay * stage.HEAD_DECAY_FACTOR
    if role.module == "temporal head":
        rate *= stage.TEMPORAL_CLASSIFIER_LR_FACTOR
    return rate, decay


def format_groups(cfg: CfgNode, model: Network, criterion: nn.Module | None = None) -> str:
    """Lay out the parameters by role: how many numbers they hold, and their rate (after the warm-up) and decay."""
    sizes: dict[tuple[str, str, str], int] = {}
    ordered = sorted(_list_parameters(model, criterion), key=lambda item: _position(*item[:2]))
    for role, is_bias, parameter in ordered:
        rate, decay = rate_and_decay(cfg.SOLVER.STAGE2, role, is_bias)
        settings = (f"{rate:.3g}", f"{decay:.3g}") if parameter.requires_grad else ("frozen", "-")
        line = (f"{role.module}, {'biases' if is_bias else 'weights'}", *settings)
        sizes[line] = sizes.get(line, 0) + parameter.numel()
    rows = [(what, f"{size:,}", rate, decay) for (what, rate, decay), size in sizes.items()]
    trained = sum(parameter.numel() for *_, parameter in ordered if parameter.requires_grad)
    total = sum(sizes.values())
    table = format_table(("parameters", "numbers", "learning rate", "weight decay"), rows)
    return f"{table}\n{cfg.SOLVER.STAGE2.OPTIMIZER_NAME} trains {trained:,} of {total:,}."


@torch.no_grad()
def centralize_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Subtract from each gradient of two or more dimensions its mean over all dimensions but the first, in place.

    Reference: Yong et al., "Gradient Centralization", ECCV 2020, Eq. (1).
    """
    gradients = [p.grad for p in parameters if p.grad is not None and p.grad.dim() > 1]
    if gradients:
        means = [gradient.mean(dim=tuple(range(1, gradient.dim())), keepdim=True) for gradient in gradients]
        torch._foreach_sub_(gradients, means)
