"""What every entry of a checkpoint must look like for a training state to continue from it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from utils.entries import Check, count, describe, identifiers, mapping, number, state_dict_like, tensor, text


def checks_for(
    model: nn.Module,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    generator: torch.Generator,
) -> dict[str, Check]:
    """Return the checks of a checkpoint's entries, by name, for ``utils.entries.check_entries``.

    Args:
        model, criterion, optimizer, scaler, generator: Those that the checkpoint is to be loaded into.
    """
    return {
        "model": state_dict_like(model.state_dict()),
        "criterion": state_dict_like(criterion.state_dict()),
        "optimizer": lambda value: check_optimizer(value, optimizer),
        "schedule": lambda value: check_members(value, {"last_epoch": count}),
        "scaler": lambda value: check_members(value, {} if value == {} else dict.fromkeys(scaler.state_dict(), number)),
        "memory": tensor(None, None),
        "pids": identifiers,
        "camids": identifiers,
        "data_hash": text,
        "generator": tensor(len(generator.get_state()), dtype=torch.uint8),
        "random_states": check_random_states,
        "epoch": count,
        "step": count,
        "epoch_so_far": check_epoch_so_far,
        "validation_is_due": flag,
        "best": number,
        "config": text,
    }


def flag(value: Any) -> str | None:
    """Check that a value is True or False."""
    return None if isinstance(value, bool) else f"must be True or False, got {describe(value)}"


def check_members(value: Any, checks: Mapping[str, Check]) -> str | None:
    """Check that a value is a dictionary that holds at least these members."""
    if problem := mapping(value):
        return problem
    for name, check in checks.items():
        if name not in value:
            return f"has no {name!r}"
        if problem := check(value[name]):
            return f"holds {name!r}, which {problem}"
    return None


def check_optimizer(value: Any, optimizer: torch.optim.Optimizer) -> str | None:
    """Check the state of Adam: the groups' numbers of parameters, and three tensors for each parameter with a state."""
    if problem := check_members(value, {"param_groups": _list_of_dicts, "state": _dict}):
        return problem
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    groups = [group.get("params") for group in value["param_groups"]]
    if any(not isinstance(numbers, list) for numbers in groups) or [len(numbers) for numbers in groups] != sizes:
        return f"holds other groups than {sizes} parameters: it belongs to another configuration"
    if sum(groups, []) != list(range(sum(sizes))):
        return "must number its parameters from 0"
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, state in value["state"].items():
        if index not in range(len(parameters)):
            return f"holds a state of parameter {index!r:.20}, which does not exist"
        shapes = {"step": (), "exp_avg": parameters[index].shape, "exp_avg_sq": parameters[index].shape}
        if problem := check_members(state, {name: tensor(*shape) for name, shape in shapes.items()}):
            return f"holds a state of parameter {index} that {problem}"
    return None


def check_random_states(value: Any) -> str | None:
    """Check the states of torch's generators: one dictionary for each process."""
    if problem := _list_of_dicts(value):
        return problem
    checks: dict[str, Check] = {"cpu": tensor(len(torch.get_rng_state()), dtype=torch.uint8)}
    for states in value:
        with_cuda: dict[str, Check] = {"cuda": tensor(None, dtype=torch.uint8)} if "cuda" in states else {}
        if problem := check_members(states, {**checks, **with_cuda}):
            return problem
    return None


def check_epoch_so_far(value: Any) -> str | None:
    """Check what the loop had counted within an epoch; empty between two epochs."""
    if value == {}:
        return None
    measures = {"steps": count, "measured_steps": count, "sums": _numbers}
    checks = {"measures": lambda part: check_members(part, measures), "bad_frames": _bad_frames}
    return check_members(value, checks)


def _bad_frames(value: Any) -> str | None:
    """Check the counts of ``BadFrames``: for each process, frames and how often each unreadable path was replaced."""
    if not isinstance(value, list):
        return f"must be a list, got {describe(value)}"
    for pair in value:
        if not isinstance(pair, tuple) or len(pair) != 2 or count(pair[0]) or mapping(pair[1]):
            return "must hold pairs of a number and a dictionary"
        if any(count(times) for times in pair[1].values()):
            return "must count in whole numbers"
    return None


def _numbers(value: Any) -> str | None:
    return mapping(value) or next((problem for part in value.values() if (problem := number(part))), None)


def _dict(value: Any) -> str | None:
    return None if isinstance(value, dict) else f"must be a dictionary, got {describe(value)}"


def _list_of_dicts(value: Any) -> str | None:
    is_right = isinstance(value, list) and all(isinstance(part, dict) for part in value)
    return None if is_right else f"must be a list of dictionaries, got {describe(value)}"
