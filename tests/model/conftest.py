"""The recipe of the parity fixtures' weights and inputs, and the configurations they belong to."""

import importlib.util
import json
from collections.abc import Callable
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="session")
def recipe(parity_folder) -> ModuleType:
    """``make_checkpoint.py``: the values of published parameters and inputs, from their names and shapes."""
    spec = importlib.util.spec_from_file_location("make_checkpoint", parity_folder / "make_checkpoint.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def read_fixture(parity_folder) -> Callable[[str], dict]:
    """``read_fixture(name)``: the content of a JSON file of the parity fixtures."""
    return lambda name: json.loads((parity_folder / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def disable_dropout() -> Callable[[torch.nn.Module], None]:
    """``disable_dropout(model)``: set the probability of every dropout to 0, as the fixtures were computed."""

    def disable(model: torch.nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0

    return disable
