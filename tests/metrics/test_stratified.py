"""Rows that stand for different numbers of others: shares, medians and AUROC by definition, and their coverage."""

import numpy as np
import pytest

from demur.metrics import proportion
from demur.metrics.binomial import clopper_pearson
from demur.metrics.delong import auroc_gain, auroc_interval
from demur.metrics.failure_table import failure_table
from demur.metrics.stratified import Design, design_median, design_share

DRAWS = 500
SHARES, RATES = np.array((0.9, 0.08, 0.02)), np.array((0.06, 0.3, 0.6))
WHOLE, FIRST, LEAST = 6000, 200, 50


def draw(rng, strata, first=FIRST, least=LEAST):
    """Which rows are drawn, and how: the first alike, then of each stratum as many as make the least."""
    rank = rng.permutation(len(strata))
    chosen, parts = [], []
    for k in np.unique(strata):
        own = np.flatnonzero(strata == k)
        own = own[np.argsort(rank[own])]
        count = max(int((rank[own] < first).sum()), min(least, len(own)))
        chosen.append(own[:count])
        parts.append((np.full(count, len(own) / count), np.full(count, k), np.full(count, count)))
    weights, numbers, drawn = (np.concatenate(each) for each in zip(*parts, strict=True))
    return np.concatenate(chosen), Design(weights, numbers, drawn)


def design(weights, strata=None):
    weights = np.asarray(weights, float)
    strata = np.zeros(len(weights), int) if strata is None else np.asarray(strata)
    return Design(weights, strata, np.bincount(strata)[strata])


def held(estimates, truth):
    """How often the interval lies below, and above, what is true."""
    low = np.mean([found.high < truth for found in estimates])
    high = np.mean([found.low > truth for found in estimates])
    return low, high


def test_equal_weights_of_one_stratum_give_the_plain_interval():
    flags = np.arange(200) % 7 == 0
    found, plain = design_share(flags, design(np.full(200, 5.0))), clopper_pearson(flags.sum(), 200)
    assert found.value == pytest.approx(plain.value)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.001)


def test_the_value_is_the_weighted_share():
    found = design_share([True, False, False, True], design([1, 2, 3, 4], [0, 1, 1, 2]))
    assert found.value == pytest.approx(0.5)
    assert found.n == 4


def test_nothing_seen_leaves_as_much_open_as_the_weights_do():
    weights = np.repeat([1.0, 20.0], [80, 20])
    found = design_share(np.zeros(100, bool), design(weights, np.repeat([0, 1], [80, 20])))
    assert found.value == found.low == 0
    assert found.high == pytest.approx(clopper_pearson(0, weights.sum() ** 2 / (weights**2).sum()).high)
    assert np.isnan(design_share([], design([])).value)


def worlds(rng):
    """A whole of which each row is right or wrong by its stratum, and a sample of it."""
    strata = rng.choice(len(SHARES), WHOLE, p=SHARES)
    flags = rng.random(WHOLE) < RATES[strata]
    rows, how = draw(rng, strata)
    return flags, strata, rows, how


def test_the_interval_of_a_share_holds_the_truth_from_both_sides():
    rng, found, whole = np.random.default_rng(0), [], []
    for _ in range(DRAWS):
        flags, _, rows, how = worlds(rng)
        found.append(design_share(flags[rows], how))
        whole.append(found[-1].low <= flags.mean() <= found[-1].high)
    low, high = held(found, SHARES @ RATES)
    assert np.mean([each.value for each in found]) == pytest.approx(SHARES @ RATES, abs=0.004)
    assert max(low, high) <= 0.04
    assert 0.93 <= np.mean(whole) <= 0.995
    width = np.mean([each.high - each.low for each in found])
    assert width < 5.2 * np.std([each.value for each in found])


def test_the_naive_share_is_biased_where_the_weighted_one_is_not():
    rng, naive, weighted = np.random.default_rng(1), [], []
    for _ in range(100):
        flags, _, rows, how = worlds(rng)
        naive.append(flags[rows].mean())
        weighted.append(design_share(flags[rows], how).value)
    truth = SHARES @ RATES
    assert abs(np.mean(naive) - truth) > 0.05
    assert abs(np.mean(weighted) - truth) < 0.01


def test_a_share_of_some_of_the_rows_holds_too():
    """As the risk of the answers given: a ratio, whose rows are a random number of those drawn."""
    rng, found = np.random.default_rng(2), []
    answered = np.array((0.9, 0.5, 0.2))
    truth = (SHARES * answered * RATES).sum() / (SHARES * answered).sum()
    for _ in range(DRAWS):
        flags, strata, rows, how = worlds(rng)
        given = (rng.random(WHOLE) < answered[strata])[rows]
        found.append(design_share(flags[rows][given], how.only(given)))
    assert max(held(found, truth)) <= 0.04


def test_whole_groups_are_what_differs_where_there_are_groups():
    rng, found, plain = np.random.default_rng(3), [], []
    for _ in range(DRAWS):
        groups = np.repeat(np.arange(150), 40)
        strata = rng.choice(2, len(groups), p=(0.9, 0.1))
        level = np.clip(np.array((0.2, 0.5))[strata] + rng.uniform(-0.2, 0.2, 150)[groups], 0, 1)
        flags = rng.random(len(groups)) < level
        rows, how = draw(rng, strata, 1200, 300)
        found.append(design_share(flags[rows], how, groups[rows]))
        plain.append(design_share(flags[rows], how))
    truth = 0.9 * 0.2 + 0.1 * 0.5
    assert max(held(found, truth)) <= 0.05
    assert sum(held(plain, truth)) > 0.06
    assert found[0].unit == "group"
    assert found[0].n == 150


def test_the_interval_of_a_median_holds_the_truth():
    rng, found = np.random.default_rng(4), []
    big = rng.choice(3, 10**6, p=SHARES)
    truth = np.median(rng.exponential(1 + 2 * big))
    for _ in range(DRAWS):
        strata = rng.choice(3, WHOLE, p=SHARES)
        values = rng.exponential(1 + 2 * strata)
        rows, how = draw(rng, strata)
        found.append(design_median(values[rows], how))
    assert max(held(found, truth)) <= 0.04
    assert np.isnan(design_median([1.0, 2.0], design([1, 3])).low)
    assert design_median([1.0, np.inf, np.inf], design([5, 1, 1])).value == 1.0


def weighted_area(scores, positive, weights):
    pairs = (scores[positive][:, None] > scores[~positive]) + 0.5 * (scores[positive][:, None] == scores[~positive])
    own = weights[positive][:, None] * weights[~positive]
    return (own * pairs).sum() / own.sum()


def test_a_weighted_auroc_is_that_of_rows_repeated_as_often_as_they_stand_for():
    rng = np.random.default_rng(5)
    scores, positive = rng.integers(0, 9, 80).astype(float), rng.random(80) < 0.4
    weights = rng.integers(1, 6, 80).astype(float)
    found = auroc_interval(scores, positive, weights=weights)
    assert found.value == pytest.approx(weighted_area(scores, positive, weights))
    often = np.repeat(np.arange(80), weights.astype(int))
    assert found.value == pytest.approx(auroc_interval(scores[often], positive[often]).value)
    units = np.arange(80) // 2
    grouped = auroc_interval(scores, positive, units, weights)
    assert grouped.value == pytest.approx(found.value)
    same = auroc_interval(scores, positive, units, np.full(80, 3.0))
    plain = auroc_interval(scores, positive, units)
    assert (same.low, same.high) == pytest.approx((plain.low, plain.high), rel=0.05)
    alone = auroc_interval(scores, positive, weights=np.full(80, 3.0))
    assert (alone.low, alone.high) == pytest.approx(
        (auroc_interval(scores, positive).low, auroc_interval(scores, positive).high)
    )
    assert auroc_gain(scores, scores, positive).value == 0


def test_the_interval_of_a_weighted_auroc_holds_the_truth():
    rng, found = np.random.default_rng(6), []

    def world(rows):
        strata = rng.choice(3, rows, p=SHARES)
        positive = rng.random(rows) < np.array((0.3, 0.5, 0.6))[strata]
        return strata, positive, rng.normal(positive * np.array((2.0, 0.5, -0.5))[strata])

    _, positive, scores = world(10**6)
    truth = auroc_interval(scores, positive).value
    for _ in range(DRAWS):
        strata, positive, scores = world(WHOLE)
        rows, how = draw(rng, strata)
        found.append(auroc_interval(scores[rows], positive[rows], weights=how.weights))
    assert np.mean([each.value for each in found]) == pytest.approx(truth, abs=0.01)
    assert max(held(found, truth)) <= 0.045


def test_a_failure_table_knows_the_weights():
    rng = np.random.default_rng(7)
    accepted, wrong = rng.random(300) < 0.7, rng.random(300) < 0.2
    how = design(rng.integers(1, 5, 300), np.arange(300) % 3)
    found = failure_table(accepted, wrong, design=how)
    assert found.accuracy.value == pytest.approx(how.weights @ ~wrong / how.weights.sum())
    own = how.weights[~accepted]
    assert found.precision.value == pytest.approx(own @ wrong[~accepted] / own.sum())
    assert failure_table(accepted, wrong).accuracy == proportion(~wrong)


@pytest.mark.parametrize(
    ("alike", "common", "rare"), [(1000, 0.0015, 0.02), (1000, 0.002, 0.1), (2000, 0.001, 0.02), (700, 0.003, 0.02)]
)
def test_a_heavy_stratum_in_which_nothing_was_seen_is_not_taken_to_be_without_spread(alike, common, rare):
    """One stratum of 99 % and a hundred rare ones of a million images, of which 30 each are drawn."""
    rng, found, own = np.random.default_rng(8), [], round(0.99 * alike)
    strata = np.repeat(np.arange(101), [own, *[30] * 100])
    how = design(np.repeat([990_000 / own, 100 / 30], [own, 3000]), strata)
    for _ in range(DRAWS):
        found.append(design_share(rng.random(len(strata)) < np.where(strata == 0, common, rare), how))
    low, high = held(found, 0.99 * common + 0.01 * rare)
    assert low <= 0.03
    assert high <= 0.03
