import itertools

import numpy as np
import pytest

from utils import bootstrap
from utils.bootstrap import bootstrap_interval, compare_paired


def queries(num_people=12, seed=0):
    """Values of people who have one to five queries each and differ from one another; in no order."""
    rng = np.random.default_rng(seed)
    pids = rng.permutation(np.repeat(100 + np.arange(num_people), rng.integers(1, 6, num_people)))
    levels = rng.random(num_people)
    return np.clip(levels[pids - 100] + 0.1 * rng.standard_normal(len(pids)), 0, 1), pids


def resample_slowly(values, pids, num_resamples, seed):
    """Draw people one resample at a time and average all values of those drawn."""
    rng = np.random.default_rng(seed)
    people = np.unique(pids)
    means = []
    for _ in range(num_resamples):
        drawn = rng.choice(people, size=len(people))
        means.append(np.concatenate([values[pids == person] for person in drawn]).mean())
    return np.quantile(means, [0.025, 0.975])


def test_interval_agrees_with_a_slow_loop():
    values, pids = queries()
    slow = resample_slowly(values, pids, num_resamples=4000, seed=1)
    fast = bootstrap_interval(values, pids, num_resamples=40_000, seed=2)
    np.testing.assert_allclose(fast, slow, atol=0.015)
    assert fast[0] < values.mean() < fast[1]


def test_people_are_drawn_not_queries():
    """Copies of a person's queries are no evidence; copies of people are."""
    values, pids = queries()
    interval = np.subtract(*bootstrap_interval(values, pids))
    copied = np.subtract(*bootstrap_interval(np.tile(values, 9), np.tile(pids, 9)))
    assert copied == pytest.approx(interval)
    others = np.concatenate([pids + 1000 * copy for copy in range(9)])
    assert np.subtract(*bootstrap_interval(np.tile(values, 9), others)) == pytest.approx(interval / 3, rel=0.15)


def test_measures_share_the_draws_and_the_seed_fixes_them():
    values, pids = queries()
    low, high = bootstrap_interval(np.stack([values, 1 - values], axis=1), pids)
    alone = bootstrap_interval(values, pids)
    assert (low[0], high[0]) == pytest.approx(alone)
    assert (1 - high[1], 1 - low[1]) == pytest.approx(alone)
    assert bootstrap_interval(values, pids, seed=1)[0] != alone[0]


def test_p_value_agrees_with_all_sign_flips():
    values, pids = queries(num_people=8)
    second = values + 0.03 + 0.1 * np.random.default_rng(3).standard_normal(len(values))
    sums = [(second - values)[pids == person].sum() for person in np.unique(pids)]
    totals = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=8)]
    exact = np.mean([total >= abs(sum(sums)) - 1e-9 for total in totals])
    assert 0.02 < exact < 0.98
    result = compare_paired(values, second, pids)
    assert result.p_value == pytest.approx(exact, abs=0.02)
    assert result.difference == pytest.approx(second.mean() - values.mean())
    assert result.low < result.difference < result.high


def test_p_value_where_it_is_known():
    values, pids = queries(num_people=6)
    assert compare_paired(values, values, pids) == bootstrap.PairedDifference(0, 0, 0, 1, (0,))
    # Everybody gains equally: only the two flips of all signs at once are as extreme, of 2^6.
    better = compare_paired(np.zeros(6), np.full(6, 0.1), np.arange(6))
    assert better.p_value == pytest.approx(2 / 64, abs=0.006)
    assert (better.low, better.high) == pytest.approx((0.1, 0.1))
    for pids in (np.full(5, 3), np.arange(5)):  # one person proves nothing, nor do five
        nothing = compare_paired(np.zeros(5), np.ones(5), pids)
        assert (nothing.low, nothing.high) == (-np.inf, np.inf)


# Shares of the variance of the difference: of seeds (alike for all people), people, and people's changes between seeds.
@pytest.mark.parametrize("shares", [(0, 1, 0), (0, 0.3, 0.7), (0.5, 0.25, 0.25), (1, 0, 0)])
@pytest.mark.parametrize("num_seeds", [1, 3])
def test_without_a_difference_p_is_uniform_and_the_interval_holds_0(num_seeds, shares):
    rng = np.random.default_rng(5)
    seeds, people, changes = np.sqrt(shares) * (num_seeds > 1, 1, 1)
    p_values = []
    for _ in range(300):
        pids = np.repeat(np.arange(30), rng.integers(1, 5, 30))
        second = seeds * np.sqrt(num_seeds) * rng.standard_normal((num_seeds, 1))
        second = second + people * np.sqrt(30) * rng.standard_normal((1, 30))
        second = second + changes * np.sqrt(30 * num_seeds) * rng.standard_normal((num_seeds, 30))
        result = compare_paired(np.zeros((num_seeds, len(pids))), second[:, pids], pids, num_resamples=499)
        assert (result.p_value < 0.05) == (not result.low <= 0 <= result.high)
        assert result.low <= result.difference <= result.high
        assert result.difference == pytest.approx(np.mean(result.by_seed))
        p_values.append(result.p_value)
    if shares != (1, 0, 0) or num_seeds > 1:
        assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.1
        assert 0.38 < np.mean(np.array(p_values) < 0.5) < 0.6


def test_a_difference_that_seeds_contradict_is_not_proved():
    """All people gain 2 points on the mean over three seeds: with every seed, or with one of them only."""
    first, pids = np.zeros((3, 90)), np.repeat(np.arange(30), 3)
    noise = 0.01 * np.random.default_rng(0).standard_normal((3, 90))
    steady, by_luck = (
        compare_paired(first, noise + np.array(gains)[:, None], pids)
        for gains in ((0.02, 0.021, 0.019), (0.06, 0.01, -0.01))
    )
    assert steady.p_value < 0.01 < 0.05 < by_luck.p_value
    assert by_luck.low < 0 < steady.low < steady.high < by_luck.high
    assert by_luck.by_seed == pytest.approx((0.06, 0.01, -0.01), abs=0.005)
    # One seed alone, whose people agree, would have been sure.
    assert compare_paired(first[0], noise[0] + 0.06, pids).p_value < 0.01
