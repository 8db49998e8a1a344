import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from datasets.clips.batch_sampler import IdentityBatchSampler
from datasets.tracklet import VIEWS


def indices(batches):
    return [[draw.item for draw in batch] for batch in batches]


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
    sampler.set_epoch(5)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    draws = sum(batches, [])
    assert [(draw.epoch, draw.position) for draw in draws] == [(5, position) for position in range(len(draws))]
    num_tracklets = Counter(pids)
    for batch in batches:
        assert Counter(Counter(pids[draw.item] for draw in batch).values()) == {K: P}
        for item, count in Counter(draw.item for draw in batch).items():
            n = num_tracklets[pids[item]]
            assert count in (K // n, -(-K // n))  # as even as can be; 1 with enough tracklets
    assert {pids[draw.item] for draw in draws} == set(pids)


@pytest.mark.parametrize(("num_identities", "batch_size"), [(6, 4), (3, 8)])  # the last batch of 8 lacks an identity
def test_nothing_is_drawn_twice_but_to_fill_up(num_identities, batch_size):
    pids = np.repeat(np.arange(num_identities), 8)
    drawn = sum(indices(IdentityBatchSampler(pids, batch_size, num_instances=4)), [])
    assert sorted(drawn) == list(range(8 * num_identities))


@settings(max_examples=80, deadline=None)
@given(problems(), st.integers(1, 3), st.integers(1, 5), st.integers(0, 3))
def test_slices_of_all_processes_are_the_batches_of_one_and_parts_hold_whole_identities(
    problem, num_parts, world_size, epoch
):
    pids, P, K, seed = problem
    assume(P % num_parts == 0)
    assume(P * K // num_parts % world_size == 0)
    samplers = [IdentityBatchSampler(pids, P * K, K, seed)]
    samplers += [
        IdentityBatchSampler(pids, P * K, K, seed, rank, world_size, num_parts=num_parts) for rank in range(world_size)
    ]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    whole, *slices = (list(sampler) for sampler in samplers)
    assert {len(part) for parts in slices for part in parts} == {P * K // num_parts // world_size}
    parts = [sum(of_processes, []) for of_processes in zip(*slices, strict=True)]
    assert len(parts) == len(whole) * num_parts == len(samplers[1])
    # Equal requests, with their positions, decode the same frames.
    assert sum(parts, []) == sum(whole, [])
    for part in parts:
        assert set(Counter(pids[draw.item] for draw in part).values()) == {K}


@settings(max_examples=150, deadline=None)
@given(problems(), st.booleans(), st.booleans(), st.data())
def test_views_and_altitudes_are_as_even_as_the_tracklets_allow(problem, both_views, balance_altitudes, data):
    pids, P, K, seed = problem
    assume((both_views and K > 1) or (balance_altitudes and not both_views))
    size = {"min_size": len(pids), "max_size": len(pids)}
    altitudes = data.draw(st.lists(st.sampled_from((15, 30, 80, 120, None)), **size))
    views = data.draw(st.lists(st.sampled_from(VIEWS), **size))
    arguments = (pids, P * K, K, seed, 0, 1, views, altitudes, both_views, balance_altitudes)
    batches = indices(IdentityBatchSampler(*arguments))
    assert batches == indices(IdentityBatchSampler(*arguments))
    assert {pids[item] for batch in batches for item in batch} == set(pids)
    if len(IdentityBatchSampler(pids, P * K, K, seed)) == 1:  # else how many follow the first cut depends on chance
        assert len(batches) == 1
    for batch in batches:
        assert Counter(Counter(pids[item] for item in batch).values()) == {K: P}
        for pid in {pids[item] for item in batch}:
            members = [item for item, other in enumerate(pids) if other == pid]
            group = [item for item in batch if pids[item] == pid]
            fewest, most = K // len(members), -(-K // len(members))
            assert set(Counter(group).values()) <= {fewest, most}  # as without balance
            if both_views:
                has, counts = (Counter(views[item] for item in items) for items in (members, group))
                assert set(counts) == set(has)  # both where it has both
                possible = [
                    number
                    for number in range(K + 1)
                    if has["aerial"] * fewest <= number <= has["aerial"] * most
                    and has["ground"] * fewest <= K - number <= has["ground"] * most
                ]
                assert abs(2 * counts["aerial"] - K) == min(abs(2 * number - K) for number in possible)
            if balance_altitudes:
                has, counts = (
                    Counter(altitudes[item] for item in items if views[item] == "aerial") for items in (members, group)
                )
                for few, many in itertools.permutations(has, 2):
                    could_move = counts[few] < has[few] * most and counts[many] > has[many] * fewest
                    assert not could_move or counts[many] <= counts[few] + 1


def test_altitudes_are_even_over_an_epoch():
    # One ground and one aerial tracklet a group: over the 20 groups of the epoch, each of four altitudes comes 5 times.
    views = ["ground"] * 20 + ["aerial"] * 20
    altitudes = [None] * 20 + [80] * 17 + [15, 30, 120]
    arguments = {"views": views, "altitudes": altitudes, "both_views": True, "balance_altitudes": True}
    batches = indices(IdentityBatchSampler([1] * 40, 2, 2, **arguments))
    aerial = Counter(altitudes[item] for batch in batches for item in batch if views[item] == "aerial")
    assert aerial == {15: 5, 30: 5, 80: 5, 120: 5}
    ground = Counter(item for batch in batches for item in batch if views[item] == "ground")
    assert ground == dict.fromkeys(range(20), 1)


def test_without_balance_nothing_has_changed():
    # Drawn before there was balance: training runs continue the curve that they began.
    pids = [8, 8, 8, 8, 5, 8, 3, 3, 8, 8]
    views, altitudes = ["aerial"] * 10, [80] * 10
    sampler = IdentityBatchSampler(pids, 4, 2, seed=5, views=views, altitudes=altitudes)
    assert indices(sampler) == [[0, 8, 7, 6], [4, 4, 2, 3]]
    sampler.set_epoch(1)
    assert indices(sampler) == [[4, 4, 1, 9], [6, 7, 8, 0]]


@pytest.mark.parametrize(
    ("pids", "batch_size", "options", "message"),
    [
        ([], 4, {}, r"needs at least two people, but the training set has 0\."),
        ([5, 5, 5, 5], 4, {}, r"needs at least two people, but the training set has 1\."),
        ([1, 1, 2, 2, 3, 3], 8, {}, r"IMS_PER_BATCH \(8\) / .*NUM_INSTANCE \(2\) = 4 .* only 3.* to at most 6\."),
        ([1, 1, 2, 2, 3, 3], 4, {"world_size": 3}, r"IMS_PER_BATCH .*\(4\) .* among 3 processes\."),
    ],
)
def test_bad_arguments(pids, batch_size, options, message):
    with pytest.raises(ValueError, match=message):
        IdentityBatchSampler(pids, batch_size, 2, **options)


@pytest.mark.parametrize("num_people", [12, 14])
def test_neighbours_fill_the_batches(num_people):
    """Six pairs of people who are alike, two people a batch; the last batch of an odd number of pairs is filled up."""
    pids = np.repeat(np.arange(num_people), 5)
    sampler = IdentityBatchSampler(pids.tolist(), batch_size=4, num_instances=2)
    sampler.prefer_neighbours(np.eye(num_people // 2).repeat(2, axis=0) + 0.01)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        batches = [np.unique(pids[[request.item for request in batch]]) for batch in sampler]
        assert {len(people) for people in batches} == {2}
        alike = [people[0] // 2 == people[1] // 2 for people in batches]
        assert np.mean(alike) > 0.9
        assert set(np.concatenate(batches)) == set(range(num_people))
        again = IdentityBatchSampler(pids.tolist(), batch_size=4, num_instances=2)
        again.prefer_neighbours(np.eye(num_people // 2).repeat(2, axis=0) + 0.01)
        again.set_epoch(epoch)
        assert list(again) == list(sampler)
