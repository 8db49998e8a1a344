"""Odd contents of a checkpoint are named, with the file and the entry."""

import pytest
import torch

from utils.entries import (
    check_entries,
    check_tensor,
    count,
    identifiers,
    mapping,
    number,
    state_dict_like,
    tensor,
    tensors,
    text,
)

ONES = torch.ones(3, 2)


def nan_at(index):
    values = torch.ones(3)
    values[index] = float("nan")
    return values


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (text, ["", "a"]),
        (count, [0, 7]),
        (number, [0, -1, 0.5]),
        (identifiers, [[], [0, 4, -1]]),
        (mapping, [{}, {"a": 1}]),
        (tensors, [{}, {"a": ONES, "b": torch.tensor(3), "c": ONES.half(), "d": ONES.T}]),
        (check_tensor, [ONES, ONES.bool(), torch.empty(0)]),
        (tensor(None, 2), [ONES, torch.empty(0, 2)]),
        (tensor(), [torch.tensor(1.0)]),
        (tensor(3, dtype=torch.uint8), [torch.ones(3, dtype=torch.uint8)]),
    ],
)
def test_right_values_pass(check, good):
    assert [check(value) for value in good] == [None] * len(good)


@pytest.mark.parametrize(
    ("check", "value", "problem"),
    [
        (text, 5, "must be text, got 5"),
        (text, b"a", "must be text, got bytes"),
        (count, -1, "must be an integer of at least 0, got -1"),
        (count, True, "must be an integer of at least 0, got True"),
        (count, 1.0, "must be an integer of at least 0, got 1.0"),
        (number, float("nan"), "must be a finite number, got nan"),
        (number, torch.tensor(1.0), "must be a finite number, got a tensor of torch.float32 in the shape ()"),
        (identifiers, (1, 2), "must be a list of integers, got tuple"),
        (identifiers, ["1"], "must be a list of integers, got list"),
        (identifiers, [True], "must be a list of integers, got list"),
        (identifiers, ONES, "must be a list of integers, got a tensor of torch.float32 in the shape (3, 2)"),
        (identifiers, [4, 0, 4], "holds an integer twice"),
        (mapping, [], "must be a dictionary, got list"),
        (mapping, {"a": 1, 5: 2}, "has the key 5, which is no text"),
        (tensors, None, "must be a dictionary, got None"),
        (tensors, {3: ONES}, "has the key 3, which is no text"),
        (tensors, {"a": ONES, "b": [1.0]}, "holds b, which must be a tensor, got list"),
        (tensors, {"a": ONES, "b": nan_at(2)}, "holds b, which holds NaN or infinity"),
        (check_tensor, ONES.half() * 1e9, "holds NaN or infinity"),
        (
            check_tensor,
            ONES.to("meta"),
            "must be a dense tensor of numbers, got a meta tensor of torch.float32 in the shape (3, 2)",
        ),
        (
            check_tensor,
            ONES.to_sparse(),
            "must be a dense tensor of numbers, got a sparse tensor of torch.float32 in the shape (3, 2)",
        ),
        (
            check_tensor,
            ONES.to(torch.complex64),
            "must be a dense tensor of numbers, got a tensor of torch.complex64 in the shape (3, 2)",
        ),
        (
            tensor(None, 3),
            ONES,
            "must be a tensor in the shape (any, 3), got a tensor of torch.float32 in the shape (3, 2)",
        ),
        (
            tensor(3, dtype=torch.uint8),
            torch.ones(3),
            "must be a tensor of torch.uint8 in the shape (3), got a tensor of torch.float32 in the shape (3,)",
        ),
    ],
)
def test_wrong_values_are_described(check, value, problem):
    assert check(value) == problem


OWN = {"a": ONES, "b": torch.tensor(3), "c": torch.tensor(0.5)}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"a": ONES.double(), "b": torch.tensor(3, dtype=torch.int32)}, None),
        ({"d": ONES}, "belongs to another configuration: it holds d (1 names differ)"),
        ({3: ONES}, "has the key 3, which is no text"),
        (
            {"a": ONES[None]},
            "holds a, which is a tensor of torch.float32 in the shape (1, 3, 2) and must be a tensor of torch.float32 "
            "in the shape (3, 2)",
        ),
        (
            {"c": torch.tensor([0.5])},
            "holds c, which is a tensor of torch.float32 in the shape (1,) and must be a tensor of torch.float32 "
            "in the shape ()",
        ),
        (
            {"a": ONES.long()},
            "holds a, which is a tensor of torch.int64 in the shape (3, 2) and must be a tensor of torch.float32 "
            "in the shape (3, 2)",
        ),
        ({"a": 1e300 * ONES.double()}, "holds a, which holds NaN or infinity"),
        ({"a": None}, "holds a, which must be a tensor, got None"),
    ],
)
def test_a_state_dict_that_takes_the_place_of_another(change, problem):
    assert state_dict_like(OWN)({**OWN, **change}) == problem


def test_a_state_dict_without_names_of_another():
    assert state_dict_like(OWN)({"c": OWN["c"]}) == ("belongs to another configuration: it has no a (2 names differ)")
    assert state_dict_like(OWN)(None) == "must be a dictionary, got None"


@pytest.mark.filterwarnings("ignore::UserWarning")  # both kinds of tensor are on their way out of torch
def test_quantised_and_nested_tensors_are_refused():
    quantised = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    assert check_tensor(quantised).endswith("got a tensor of torch.qint8 in the shape (3,)")
    assert check_tensor(nested).endswith("got a nested tensor")


def test_file_and_entry_are_named():
    checks = {"epoch": count, "config": text}
    check_entries({"epoch": 1, "config": "", "more": object()}, "a.pth", checks)
    check_entries({"epoch": 1}, "a.pth", checks, optional=("config",))
    with pytest.raises(ValueError, match=r"^a\.pth has no entry 'config': it is damaged or not a checkpoint"):
        check_entries({"epoch": 1}, "a.pth", checks)
    with pytest.raises(ValueError, match=r"^a\.pth: its entry 'config' must be text, got 5\.$"):
        check_entries({"config": 5}, "a.pth", checks, optional=("epoch", "config"))
