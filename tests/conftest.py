"""Fixtures that every test may use."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of parity fixtures and development data beside the checkout; its tests skip without it."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip(f"needs the development data in {path}, which this machine does not have")
    return path


@pytest.fixture(autouse=True)
def _seed_torch() -> None:
    torch.manual_seed(1234)
