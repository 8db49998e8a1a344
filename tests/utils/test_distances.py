"""Distances against exact ones: correct to float32, and the same bits in any order, block and company."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional as F

from utils import distances
from utils.distances import given_distances, nearest_columns, round_features, squared_distances


def exact_distances(query, gallery):
    return (query.double().unsqueeze(1) - gallery.double()).square().sum(dim=2)


KINDS = {
    "normal": lambda features: features,
    "rectified": torch.relu,
    "unit": F.normalize,
    "constant": lambda features: features[:, :1].expand_as(features),  # every product has one sign and size
    "any length": lambda features: features * torch.logspace(-6, 6, 300).unsqueeze(1),
    "tiny": lambda features: features * 1e-12,
    "half": torch.Tensor.half,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [16, 2048])
def test_errors_are_those_of_float32(kind, width):
    torch.manual_seed(0)
    features = KINDS[kind](torch.randn(300, width))
    query, gallery = features[:100], features[100:]
    found, exact = squared_distances(query, gallery).matrix(), exact_distances(query, gallery)
    lengths = query.double().norm(dim=1, keepdim=True) + gallery.double().norm(dim=1)
    shift = 2.0**-25 * width**0.5 * lengths  # all numbers are rounded in the worst direction
    rounding = 2 * shift * exact.sqrt() + shift.square()
    assert found.dtype == torch.float32
    assert ((found - exact).abs() <= 2.0**-23 * exact + rounding).all()
    if kind in ("normal", "unit"):
        torch.testing.assert_close(found.double(), exact, rtol=2e-7, atol=0)


def test_products_and_sums_are_exact_whole_numbers():
    """Python's whole numbers have no limit: what float64 computes is the same."""
    torch.manual_seed(0)
    features = F.normalize(torch.randn(5, 300)) * torch.tensor([[1.0], [1.9], [0.7], [1.0], [0.999]])
    values, squares = round_features(features)
    whole = [[int(number * 2**40) for number in row] for row in values.tolist()]
    for i, left in enumerate(whole):
        assert int(float(squares[i]) * 2**80) == sum(a * a for a in left)
        for j, right in enumerate(whole):
            assert int(float(values[i] @ values[j]) * 2**80) == sum(a * b for a, b in zip(left, right, strict=True))


def test_the_order_of_everything_and_the_company_change_no_bit(monkeypatch):
    torch.manual_seed(0)
    features = torch.randn(230, 515) * torch.logspace(-1, 1, 230).unsqueeze(1)
    features[100:150] = features[:50]
    whole = squared_distances(features, features).matrix()
    assert torch.equal(whole, whole.T)
    assert (whole.diagonal() == 0).all()
    assert torch.equal(whole[:, 100:150], whole[:, :50])
    rows, columns, numbers = torch.randperm(230), torch.randperm(230), torch.randperm(515)
    shuffled = squared_distances(features[rows][:, numbers], features[columns][:, numbers]).matrix()
    assert torch.equal(shuffled, whole[rows][:, columns])
    assert torch.equal(squared_distances(features[7:8], features[:3]).matrix(), whole[7:8, :3])
    monkeypatch.setattr(distances, "_BLOCK_ELEMENTS", 700)
    monkeypatch.setattr(distances, "_TILE_ELEMENTS", 17)
    assert torch.equal(squared_distances(features, features).matrix(), whole)


def test_surrounding_choices_do_not_lower_the_precision():
    query, gallery = torch.randn(9, 64), torch.randn(20, 64)
    plain = squared_distances(query, gallery).matrix()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(squared_distances(query, gallery).matrix(), plain)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_the_same_bits():
    query, gallery = torch.randn(90, 512), torch.randn(200, 512)
    found = squared_distances(query.cuda(), gallery.cuda())
    assert found.rows(slice(0, 90)).device.type == "cuda"
    assert torch.equal(found.matrix(), squared_distances(query, gallery).matrix())


def test_given_numbers_stay_as_they_are():
    numbers = np.array([[2**30, 2**30 + 1]])
    assert given_distances(numbers).matrix().tolist() == numbers.tolist()
    with pytest.raises(ValueError, match=r"distmat must be \(Q, G\), got \(3,\)"):
        given_distances(np.zeros(3))


def test_a_penalty_is_added():
    base, penalty = given_distances(np.eye(3)), given_distances(np.full((3, 3), 2.0))
    assert base.plus(penalty).matrix().tolist() == (np.eye(3) + 2).tolist()
    assert base.matrix().tolist() == np.eye(3).tolist()


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(0, 30)),
        elements=st.sampled_from([-1, -0.0, 0, 0.5, np.inf]),
    ),
    st.integers(1, 32),
)
def test_the_nearest_are_the_first_of_a_stable_sort(values, length):
    expected = [sorted(range(len(row)), key=list(row).__getitem__)[:length] for row in values]
    assert nearest_columns(torch.from_numpy(values), length).tolist() == expected
    assert [nearest_columns(row, length).tolist() for row in torch.from_numpy(values)] == expected
