"""What the report collects of a direction does not depend on the parts that it is collected in, nor on the device."""

from dataclasses import replace

import pytest
import torch

from processor.evaluation.results import VISUAL
from processor.report import direction
from utils.distances import given_distances

CUDA = pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")])


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_parts_and_devices_agree(device, run, monkeypatch):
    result = run().cases[0]
    lists, found = [], []
    for elements in (direction.PART_ELEMENTS, 1):
        monkeypatch.setattr(direction, "PART_ELEMENTS", elements)
        lists.append([])
        found.append(direction.collect_direction(result, VISUAL, [lambda *row: lists[-1].append(row)], 2))
        matrix = result.distances[VISUAL].matrix().to(device)
        result = replace(result, distances={VISUAL: given_distances(matrix)})
    whole, parts = found
    assert len(lists[0]) == len(result.case.query)
    assert lists[1] == lists[0]
    assert len(whole.queries) > 1
    assert parts.queries == whole.queries
    for name in ("edges", "num_true", "num_false"):
        assert getattr(parts, name).tolist() == getattr(whole, name).tolist()
    assert parts.verification.false_positives.tolist() == whole.verification.false_positives.tolist()
