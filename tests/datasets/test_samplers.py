from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.samplers import IdentityBatchSampler


def indices(batches):
    return [[draw.index for draw in batch] for batch in batches]


@st.composite
def problems(draw):
    counts = draw(st.lists(st.integers(1, 15), min_size=1, max_size=12))  # tracklets of each identity
    pids = draw(st.permutations(np.repeat(np.arange(len(counts)) * 7 + 2, counts).tolist()))
    return pids, draw(st.integers(1, len(counts))), draw(st.integers(1, 5)), draw(st.integers(0, 99))


@settings(max_examples=80, deadline=None)
@given(problems())
def test_every_batch_is_p_identities_by_k_tracklets(problem):
    pids, P, K, seed = problem
    sampler = IdentityBatchSampler(pids, P * K, K, seed)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    num_tracklets = Counter(pids)
    for batch in batches:
        assert Counter(Counter(pids[draw.index] for draw in batch).values()) == {K: P}
        times = Counter(draw.index for draw in batch)
        for item, count in times.items():
            n = num_tracklets[pids[item]]
            assert count in (K // n, -(-K // n))  # as even as can be; 1 with enough tracklets
    assert {pids[draw.index] for batch in batches for draw in batch} == set(pids)


@settings(max_examples=40, deadline=None)
@given(problems())
def test_draws_are_numbered_through_the_epoch(problem):
    pids, P, K, seed = problem
    sampler = IdentityBatchSampler(pids, P * K, K, seed)
    sampler.set_epoch(5)
    draws = [draw for batch in sampler for draw in batch]
    assert [draw.position for draw in draws] == list(range(len(draws)))
    assert {draw.epoch for draw in draws} == {5}


def test_hand_worked_case():
    # Two identities, both in every batch. Person 8 has four groups of 2, person 5 one tracklet: one group,
    # repeated.
    sampler = IdentityBatchSampler([8, 8, 8, 8, 5, 8, 8, 8, 8], batch_size=4, num_instances=2)
    (batch,) = indices(sampler)
    assert batch.count(4) == 2
    others = set(batch) - {4}
    assert len(others) == 2


def test_all_groups_are_used_when_they_are_even():
    pids = np.repeat(np.arange(6), 8)
    batches = indices(IdentityBatchSampler(pids, batch_size=4, num_instances=4))
    assert sorted(sum(batches, [])) == list(range(48))


def test_nothing_is_drawn_twice_but_to_fill_up():
    pids = np.repeat(np.arange(3), 8)  # the second batch lacks one identity, which has a second group left
    batches = indices(IdentityBatchSampler(pids, batch_size=8, num_instances=4))
    drawn = sum(batches, [])
    assert len(drawn) == len(set(drawn)) == 24


def test_epoch_and_seed_choose_the_batches():
    pids = np.repeat(np.arange(5), 6)
    sampler = IdentityBatchSampler(pids, 4, 2, seed=1)
    first = indices(sampler)
    assert indices(sampler) == first
    sampler.set_epoch(1)
    second = indices(sampler)
    assert second != first
    sampler.set_epoch(0)
    assert indices(sampler) == first
    assert indices(IdentityBatchSampler(pids, 4, 2, seed=2)) != first


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_batches(world_size):
    pids = np.repeat(np.arange(7), 5)
    whole = list(IdentityBatchSampler(pids, 4, 2))
    ranks = [list(IdentityBatchSampler(pids, 4, 2, rank=r, world_size=world_size)) for r in range(world_size)]
    length = len(whole) // world_size
    assert {len(batches) for batches in ranks} == {length}
    for rank, batches in enumerate(ranks):
        assert batches == whole[rank : length * world_size : world_size]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"batch_size": 18, "num_instances": 4},
            r"IMS_PER_BATCH .* multiple of DATALOADER\.NUM_INSTANCE \(4\), got 18",
        ),
        ({"num_instances": 0}, r"DATALOADER\.NUM_INSTANCE \(0\)"),
        (
            {"batch_size": 8, "num_instances": 2},
            r"SOLVER\.STAGE2\.IMS_PER_BATCH \(8\) / DATALOADER\.NUM_INSTANCE \(2\) = 4 identities .* only 3",
        ),
        ({"rank": 1}, r"rank must be in 0\.\.0 .* got 1"),
        ({"world_size": 99}, r"SOLVER\.STAGE2\.IMS_PER_BATCH \(4\), too few for 99 processes"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        IdentityBatchSampler(**({"pids": [1, 1, 2, 2, 3, 3], "batch_size": 4, "num_instances": 2} | change))
