import itertools
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from configs import get_cfg
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
    batches = list(sampler)
    assert len(batches) == len(sampler)
    num_tracklets = Counter(pids)
    for batch in batches:
        assert Counter(Counter(pids[draw.item] for draw in batch).values()) == {K: P}
        times = Counter(draw.item for draw in batch)
        for item, count in times.items():
            n = num_tracklets[pids[item]]
            assert count in (K // n, -(-K // n))  # as even as can be; 1 with enough tracklets
    assert {pids[draw.item] for batch in batches for draw in batch} == set(pids)


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


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(1, 5), st.integers(0, 3))
def test_slices_of_all_processes_are_the_batches_of_one(problem, world_size, epoch):
    pids, P, K, seed = problem
    assume(P * K % world_size == 0)
    samplers = [IdentityBatchSampler(pids, P * K, K, seed)]
    samplers += [IdentityBatchSampler(pids, P * K, K, seed, rank, world_size) for rank in range(world_size)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    whole, *slices = (list(sampler) for sampler in samplers)
    assert {len(sampler) for sampler in samplers} == {len(whole)}
    assert {len(part) for parts in slices for part in parts} == {P * K // world_size}
    # Equal requests, with their positions, decode the same frames.
    assert [sum(parts, []) for parts in zip(*slices, strict=True)] == whole


@settings(max_examples=40, deadline=None)
@given(problems(), st.integers(1, 3), st.integers(1, 3))
def test_parts_hold_whole_identities_and_make_up_the_batches(problem, num_parts, world_size):
    pids, P, K, seed = problem
    assume(P % num_parts == 0)
    assume(P * K // num_parts % world_size == 0)
    whole = list(IdentityBatchSampler(pids, P * K, K, seed))
    slices = [
        list(IdentityBatchSampler(pids, P * K, K, seed, rank, world_size, num_parts=num_parts))
        for rank in range(world_size)
    ]
    parts = [sum(of_processes, []) for of_processes in zip(*slices, strict=True)]
    assert [draw for part in parts for draw in part] == [draw for batch in whole for draw in batch]
    assert len(parts) == len(whole) * num_parts
    for part in parts:
        assert set(Counter(pids[draw.item] for draw in part).values()) == {K}


@st.composite
def balanced_problems(draw):
    """Sampler arguments with views and altitudes, at least one of them to be balanced."""
    pids, P, K, seed = draw(problems())
    altitudes = draw(st.lists(st.sampled_from((15, 30, 80, 120, None)), min_size=len(pids), max_size=len(pids)))
    views = draw(st.lists(st.sampled_from(VIEWS), min_size=len(pids), max_size=len(pids)))
    both_views = K > 1 and draw(st.booleans())
    return {
        "pids": pids,
        "batch_size": P * K,
        "num_instances": K,
        "seed": seed,
        "views": views,
        "altitudes": altitudes,
        "both_views": both_views,
        "balance_altitudes": not both_views or draw(st.booleans()),
    }


def groups_of(arguments, batches):
    """Items of every identity in every batch, with all items of that identity."""
    pids = arguments["pids"]
    for batch in batches:
        for pid in {pids[item] for item in batch}:
            yield [item for item in batch if pids[item] == pid], [i for i, other in enumerate(pids) if other == pid]


@settings(max_examples=100, deadline=None)
@given(balanced_problems())
def test_balance_keeps_the_shape_of_batches(arguments):
    pids, K = arguments["pids"], arguments["num_instances"]
    batches = indices(IdentityBatchSampler(**arguments))
    assert batches == indices(IdentityBatchSampler(**arguments))
    unbalanced = IdentityBatchSampler(pids, arguments["batch_size"], K, arguments["seed"])
    assert {pids[item] for batch in batches for item in batch} == set(pids)
    if len(unbalanced) == 1:  # else how many follow the first cut depends on chance
        assert len(batches) == 1
    for batch in batches:
        assert Counter(Counter(pids[item] for item in batch).values()) == {K: arguments["batch_size"] // K}
    for group, members in groups_of(arguments, batches):
        for count in Counter(group).values():
            assert count in (K // len(members), -(-K // len(members)))  # as without balance


@settings(max_examples=100, deadline=None)
@given(balanced_problems())
def test_views_are_as_even_as_the_tracklets_allow(arguments):
    views, K = arguments["views"], arguments["num_instances"]
    assume(arguments["both_views"])
    for group, members in groups_of(arguments, indices(IdentityBatchSampler(**arguments))):
        num_members = Counter(views[item] for item in members)
        counts = Counter(views[item] for item in group)
        assert set(counts) == set(num_members)  # both where it has both
        fewest, most = K // len(members), -(-K // len(members))
        possible = [
            number
            for number in range(K + 1)
            if num_members["aerial"] * fewest <= number <= num_members["aerial"] * most
            and num_members["ground"] * fewest <= K - number <= num_members["ground"] * most
        ]
        assert abs(2 * counts["aerial"] - K) == min(abs(2 * number - K) for number in possible)


@settings(max_examples=100, deadline=None)
@given(balanced_problems())
def test_altitudes_are_as_even_as_the_tracklets_allow(arguments):
    views, altitudes, K = (arguments[key] for key in ("views", "altitudes", "num_instances"))
    assume(arguments["balance_altitudes"])
    for group, members in groups_of(arguments, indices(IdentityBatchSampler(**arguments))):
        num_members = Counter(altitudes[item] for item in members if views[item] == "aerial")
        counts = Counter(altitudes[item] for item in group if views[item] == "aerial")
        fewest, most = K // len(members), -(-K // len(members))
        for few, many in itertools.permutations(num_members, 2):
            could_move = counts[few] < num_members[few] * most and counts[many] > num_members[many] * fewest
            assert not could_move or counts[many] <= counts[few] + 1


def test_hand_worked_balance():
    # Person 1: one ground tracklet and 11 aerial ones, 8 of them from 80 m. Two groups of 6: the ground tracklet is
    # in both, 5 aerial ones are the two from 15 m, the only one from 120 m and two from 80 m.
    views = ["ground"] + ["aerial"] * 11
    altitudes = [None] + [80] * 8 + [15, 15, 120]
    (batch, other) = indices(
        IdentityBatchSampler([1] * 12, 6, 6, 0, 0, 1, views, altitudes, both_views=True, balance_altitudes=True)
    )
    for group in (batch, other):
        assert len(set(group)) == 6
        assert sorted(str(altitudes[item]) for item in group) == ["120", "15", "15", "80", "80", "None"]
    assert len({item for item in batch + other if altitudes[item] == 80}) == 4  # the least drawn first


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


@pytest.mark.parametrize("num_identities", [2, 3])
def test_the_advised_batch_size_is_accepted(num_identities):
    pids = np.repeat(np.arange(num_identities), 4)
    with pytest.raises(ValueError, match="to at most") as caught:
        IdentityBatchSampler(pids, 16, 4)
    advised = int(re.search(r"to at most (\d+)\.", str(caught.value))[1])
    get_cfg(None, ["SOLVER.STAGE2.IMS_PER_BATCH", str(advised), "DATALOADER.NUM_INSTANCE", "4"])
    assert len(list(IdentityBatchSampler(pids, advised, 4)))
    with pytest.raises(ValueError, match="to at most"):
        IdentityBatchSampler(pids, advised + 4, 4)


@pytest.mark.parametrize("pids", [[], [5, 5, 5, 5]], ids=["no one", "one"])
def test_one_person_is_not_enough(pids):
    with pytest.raises(ValueError, match=rf"needs at least two people, but the training set has {len(set(pids))}\."):
        IdentityBatchSampler(pids, 4, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"batch_size": 8, "num_instances": 2},
            r"SOLVER\.STAGE2\.IMS_PER_BATCH \(8\) / DATALOADER\.NUM_INSTANCE \(2\) = 4 identities .* only 3",
        ),
        ({"world_size": 3}, r"SOLVER\.STAGE2\.IMS_PER_BATCH .*\(4\) .* among 3 processes: start 1, 2 or 4\."),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        IdentityBatchSampler(**({"pids": [1, 1, 2, 2, 3, 3], "batch_size": 4, "num_instances": 2} | change))
