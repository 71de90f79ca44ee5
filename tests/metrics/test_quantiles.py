"""Quantiles and their exact intervals, against the binomial law written out and the truth held."""

import math
from fractions import Fraction

import numpy as np
import pytest

from demur.errors import InputError
from demur.metrics.quantiles import FEWEST, fewest, median, order_ranks, quantile, weighted_quantile

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)


def within(n, share, low, high):
    """The chance that a quantile lies between the ordered values number `low` and `high`, exactly."""
    p = Fraction(share).limit_denominator(100)
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(low, high))


@pytest.mark.parametrize("share", SHARES)
def test_the_interval_holds_what_it_says_and_is_one_that_fits(share):
    for n in range(fewest(share), 80):
        low, high = order_ranks(n, share)
        assert 1 <= low < high <= n
        assert within(n, share, low, high) >= Fraction(95, 100)
        if low > 1 and high < n:
            # 0 to low - 1 values below it would be, and high or more, each in at most one case of forty
            assert within(n, share, 0, low) <= Fraction(1, 40) < within(n, share, 0, low + 1)
            assert within(n, share, high, n + 1) <= Fraction(1, 40) < within(n, share, high - 1, n + 1)


@pytest.mark.parametrize("share", SHARES)
def test_with_fewer_values_there_is_none(share):
    least = fewest(share)
    assert within(least - 1, share, 1, least - 1) < Fraction(95, 100) <= within(least, share, 1, least)


def test_the_median_needs_six():
    assert FEWEST == fewest(0.5) == 6


@pytest.mark.parametrize("share", SHARES)
def test_the_value_is_the_smallest_with_enough_at_or_below(share):
    rng = np.random.default_rng(0)
    for n in (1, 4, 7, 12, 40, 101):
        values = rng.integers(0, 9, n).astype(float)
        slow = min(v for v in values if sum(u <= v for u in values) >= Fraction(share).limit_denominator(100) * n)
        assert quantile(values, share).value == slow


def test_an_end_among_values_above_the_cap_is_infinite():
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, *[np.inf] * 5])
    found = quantile(values, 0.5)
    assert (found.value, found.low, found.high) == (0.5, 0.2, np.inf)
    assert quantile(values, 0.75).value == np.inf


def test_too_few_say_so():
    found = quantile([1.0, 2.0, 3.0], 0.5)
    assert (found.value, found.n) == (2, 3)
    assert np.isnan(found.low)
    assert np.isnan(found.high)
    assert found.reason == "no 95 % interval from 3 images, only from 6"
    assert quantile(np.arange(10.0), 0.25).reason == "no 95 % interval from 10 images, only from 11"
    assert np.isnan(quantile([], 0.5).value)


def test_few_groups_have_none_either():
    found = quantile(np.arange(50.0), 0.5, np.repeat(np.arange(5), 10))
    assert (found.value, found.n, found.unit) == (24, 5, "group")
    assert np.isnan(found.low)
    assert found.reason == "no 95 % interval from 5 groups, only from 6"


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_groups_are_drawn_as_wholes_and_infinite_values_stay_so(share):
    rng = np.random.default_rng(1)
    shift = np.repeat(rng.normal(size=12), 10)
    values, groups = shift + 0.1 * rng.normal(size=120), np.repeat(np.arange(12), 10)
    image, group = quantile(values, share), quantile(values, share, groups)
    assert group.value == image.value
    assert group.high - group.low > 1.5 * (image.high - image.low)
    cut = np.where(values > image.value + 0.05, np.inf, values)
    found = quantile(cut, share, groups)
    assert found.value == image.value
    assert found.high == np.inf
    assert found.low == pytest.approx(group.low, abs=0.3)


def test_a_weight_is_how_often_a_value_was_seen():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([[1.0, 4.0, 0.0], [5.0, 1.0, 1.0]])
    for share in (0.2, 0.5, 0.8):
        slow = [weighted_quantile(np.repeat(values, times.astype(int)), share) for times in weights]
        assert weighted_quantile(values, share, weights).tolist() == slow
        assert weighted_quantile(values, share, weights[0]) == slow[0]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_it_holds_the_truth_as_often_as_it_says(share):
    rng, hits = np.random.default_rng(2), 0
    for _ in range(400):
        found = quantile(rng.exponential(size=35), share)
        hits += found.low <= -math.log(1 - share) <= found.high
    assert hits >= 0.93 * 400


def test_the_median_is_the_quantile_at_a_half():
    values = np.random.default_rng(3).normal(size=51)
    assert median(values) == quantile(values, 0.5)


@pytest.mark.parametrize(
    ("values", "share", "words"), [([1.0, np.nan], 0.5, "NaN on 1 of 2"), ([1.0], 1.0, "between 0 and 1")]
)
def test_what_has_no_quantile_is_refused(values, share, words):
    with pytest.raises(InputError, match=words):
        quantile(values, share)
