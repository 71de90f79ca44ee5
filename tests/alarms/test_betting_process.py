"""Bets against a null: a slow copy of the definition, exact expectations over all outcomes, validity, delays."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from demur.alarms import betting_process as betting
from demur.alarms.betting_process import Wealth

NULLS = (0.005, 0.02, 0.25, 0.8)


def slow(q, shares, weights=None):
    """Each bettor by itself: every fixed one that begins at every unit, and the one who looks at late units."""
    totals, late, wealth = [], 1 - betting.FIXED, dict[tuple[int, int], float]()
    recent = mass = squares = count = 0.0
    for t, (x, w) in enumerate(zip(shares, np.ones(len(shares)) if weights is None else weights, strict=True)):
        stake = betting.AT_ONCE if t == 0 else (1 - betting.AT_ONCE) * (betting.waiting(t - 1) - betting.waiting(t))
        for k, part in enumerate(betting.PARTS):
            wealth[t, k] = betting.FIXED * stake * part
        for t0, k in wealth:
            odds = betting.ODDS[k] * q / (1 - q)
            other = odds / (1 + odds)
            wealth[t0, k] *= 1 + (other - q) / (q * (1 - q)) * w * (x - q)
        prior = betting.CAUTION * betting.MEMORY
        usual = squares / count if count else 1.0  # of w², that of the prior too
        lean = min(max((recent - q * mass) / (squares + prior * usual) / (q * (1 - q)), 0), 0.9 / q)
        late *= 1 + lean * w * (x - q)
        keep = 1 - 1 / betting.MEMORY
        recent, mass, squares, count = recent * keep + w * x, mass * keep + w, squares * keep + w * w, count * keep + 1
        left = betting.FIXED * (1 - betting.AT_ONCE) * betting.waiting(t)
        totals.append(math.fsum(wealth.values()) + late + left)
    return totals


def fast(q, shares, weights=None):
    wealth, totals = Wealth.start(q), []
    for x, w in zip(shares, np.ones(len(shares)) if weights is None else weights, strict=True):
        wealth = wealth.after(x, w)
        totals.append(float(wealth.total[0]))
    return totals


@pytest.mark.parametrize("q", NULLS)
@pytest.mark.parametrize("kind", ["images", "means"])
def test_it_is_what_its_definition_says(q, kind):
    draw = np.random.default_rng(7)
    shares = (draw.random(60) < min(0.9, 3 * q)).astype(float) if kind == "images" else draw.beta(2, 2, 60)
    expected = slow(q, shares)
    np.testing.assert_allclose(fast(q, shares), expected, rtol=1e-9)
    assert np.ptp(expected) > 0.02


@pytest.mark.parametrize("q", NULLS)
def test_weights_are_what_their_definition_says(q):
    draw = np.random.default_rng(8)
    shares, weights = draw.beta(2, 2, 60), draw.random(60)
    expected = slow(q, shares, weights)
    np.testing.assert_allclose(fast(q, shares, weights), expected, rtol=1e-9)
    assert np.ptp(expected) > 0.02


def test_by_images_the_exact_expectation_is_one_where_their_share_is_the_null_and_that_of_units_is_not():
    """Short sequences, of 1 image in 5 places, with a share of ¾, and long ones of 5 images with one of 0.35."""
    kinds, q = ((0.75, 0.2, 0.5), (0.35, 1.0, 0.5)), (0.75 + 5 * 0.35) / 6
    assert q < (0.75 + 0.35) / 2 - 0.1
    plain = weighted = 0.0
    for outcome in itertools.product(kinds, repeat=7):
        chance = math.prod(each[2] for each in outcome)
        shares, weights = [each[0] for each in outcome], [each[1] for each in outcome]
        weighted += fast(q, shares, weights)[-1] * chance
        plain += fast(q, shares)[-1] * chance
    assert weighted == pytest.approx(1, abs=1e-9)
    assert plain > 1.1


@pytest.mark.parametrize("begin", [0, 1, 40])
def test_what_fixed_bets_have_at_least_is_the_wealth_without_the_adaptive_bettor(begin):
    draw, wealth = np.random.default_rng(9), Wealth.start(0.05)
    for x in draw.random(begin) < 0.1:
        wealth = wealth.after(float(x))
    shares, weights = draw.random(30) * (draw.random(30) < 0.3), draw.random(30)
    found, after = wealth.least_after(shares, weights), wealth
    for x, w in zip(shares, weights, strict=True):
        after = after.after(x, w)
    assert found == pytest.approx(float(after.total[0] - after.adaptive[0]), rel=1e-12)
    assert wealth.least_after(np.maximum(shares, 0.4), weights) > found
    assert 1e190 < wealth.least_after(np.ones(3000), np.ones(3000)) <= 1e200


def expectation(q, p, length, stop):
    """The exact mean of the wealth at the first time it reaches `stop`, or at the end, over all outcomes."""
    found = 0.0
    for outcome in itertools.product((0.0, 1.0), repeat=length):
        totals = fast(q, outcome)
        value = next((each for each in totals if each >= stop), totals[-1])
        found += value * p ** sum(outcome) * (1 - p) ** (length - sum(outcome))
    return found


@pytest.mark.parametrize("q", [0.02, 0.25, 0.8])
@pytest.mark.parametrize("stop", [1.05, math.inf])
def test_at_the_null_the_exact_expectation_is_one_whenever_one_stops(q, stop):
    assert expectation(q, q, 8, stop) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.2])
def test_below_the_null_the_exact_expectation_is_smaller(p):
    assert expectation(0.25, p, 8, math.inf) < 1 - 1e-4


def test_means_of_sequences_have_the_same_expectation():
    """A share of ¼, ½ or 1, in expectation the null."""
    values, chances, q = (0.25, 0.5, 1.0), (0.5, 0.25, 0.25), 0.5
    assert sum(v * c for v, c in zip(values, chances, strict=True)) == q
    found = sum(
        fast(q, [values[k] for k in outcome])[-1] * math.prod(chances[k] for k in outcome)
        for outcome in itertools.product(range(3), repeat=6)
    )
    assert found == pytest.approx(1, abs=1e-9)


def test_no_outcome_makes_it_negative_and_none_makes_it_infinite():
    for x in (0.0, 1.0):
        totals = fast(0.02, [x] * 3000)
        assert min(totals) > 0
        assert np.isfinite(totals).all()
    assert fast(1.0, [1.0] * 50) == pytest.approx([1.0] * 50, abs=1e-9), "nothing is bet against one"


def hits(q, before, after, quiet, length, runs, seed=0):
    """When each of some streams first reaches 100, counted from the change; infinity where it does not."""
    draw, wealth = np.random.default_rng(seed), Wealth.start(np.full((runs, 1), q))
    found = np.full(runs, np.inf)
    for t in range(quiet + length):
        wealth = wealth.after((draw.random(runs) < (before if t < quiet else after)).astype(float))
        found[(wealth.total[:, 0] >= 100) & np.isinf(found)] = t + 1 - quiet
        if t >= quiet and np.isfinite(found).mean() > 0.55:
            break
    return found


def test_a_risk_of_four_instead_of_two_in_a_hundred_is_found_after_so_many_labels():
    assert np.median(hits(0.02, 0.02, 0.04, 0, 1500, 500)) <= 700


@pytest.mark.parametrize("before", [0.02, 0.01])
def test_a_quiet_stretch_does_not_put_it_to_sleep(before):
    found = hits(0.02, before, 0.04, 3000, 2500, 300)
    assert np.median(found) <= 1100 if before == 0.02 else np.median(found) <= 1200
    assert (found <= 0).mean() <= 0.02


def test_at_the_boundary_false_alarms_keep_to_alpha_over_a_long_stream():
    runs = 1000
    false = np.isfinite(hits(0.02, 0.02, 0.02, 0, 12_000, runs)).sum()
    assert false <= binom.ppf(0.999, runs, 0.01)
    assert false >= 1, "the bound is not so loose that nothing can be seen to test it"
