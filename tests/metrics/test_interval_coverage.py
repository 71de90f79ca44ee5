"""Intervals hold the truth as often as they say, and not much oftener: a wider one would say less than the data do."""

import math

import numpy as np
import pytest
from scipy.special import betaincinv
from scipy.stats import binom, multinomial, norm

from demur.metrics import auroc
from demur.metrics.binomial import proportion, risk_lower_bound, risk_upper_bound, wilson
from demur.metrics.bootstrap import Resampler
from demur.metrics.delong import auroc_gain, auroc_interval
from demur.metrics.paired import sign_effect
from demur.metrics.prevalence import (
    ClassRate,
    error_rate_at,
    negative_predictive,
    positive_predictive,
    selective_risk_at,
)
from demur.metrics.quantiles import fewest, order_ranks
from demur.metrics.rank_correlation import spearman

TRUTHS = np.linspace(0.03, 0.97, 95)


def exact(n, ends, truth):
    """The chance that the interval of k of n, ends(k), holds the true share."""
    return sum(binom.pmf(k, n, truth) for k in range(n + 1) if ends[k][0] <= truth <= ends[k][1])


@pytest.mark.parametrize("n", [20, 60, 150])
def test_wilson_holds_95_in_100_on_average(n):
    ends = [(found.low, found.high) for found in (wilson(k, n) for k in range(n + 1))]
    held = [exact(n, ends, truth) for truth in TRUTHS]
    assert np.mean(held) == pytest.approx(0.953, abs=0.006)
    assert min(held) > 0.90


@pytest.mark.parametrize("level", [0.5, 0.8, 0.99])
def test_wilson_keeps_other_levels_too(level):
    ends = [(found.low, found.high) for found in (wilson(k, 100, level) for k in range(101))]
    assert np.mean([exact(100, ends, truth) for truth in TRUTHS]) == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("delta", [0.05, 0.01])
@pytest.mark.parametrize("n", [10, 149, 700])
def test_one_sided_bounds_hold_with_their_level_and_with_no_more_just_outside_of_them(n, delta):
    uppers, lowers = ([bound(k, n, delta) for k in range(n + 1)] for bound in (risk_upper_bound, risk_lower_bound))
    for truth in TRUTHS:
        law = binom.pmf(np.arange(n + 1), n, truth)
        assert law @ (np.array(uppers) >= truth) >= 1 - delta
        assert law @ (np.array(lowers) <= truth) >= 1 - delta
    for k in {0, n // 3, n - 1}:
        above, below = uppers[k] + 1e-9, lowers[k + 1] - 1e-9
        assert binom.sf(k, n, above) == pytest.approx(1 - delta, abs=1e-6)
        assert binom.cdf(k, n, below) == pytest.approx(1 - delta, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_the_exact_interval_of_a_rate_holds_with_its_level_and_little_more(alpha):
    ends = [ClassRate(count=k, n=60, effective=60, units=60).interval(alpha) for k in range(61)]
    held = [exact(60, ends, truth) for truth in TRUTHS]
    assert min(held) >= 1 - alpha
    assert np.mean(held) <= 1 - alpha / 3


def clopper_pearson(k, n, alpha):
    low = betaincinv(k, n - k + 1, alpha / 2) if k else 0.0
    return low, betaincinv(k + 1, n - k, 1 - alpha / 2) if k < n else 1.0


def rate(count, n):
    return ClassRate.of(np.arange(n) < count)


def test_rates_put_together_share_five_in_a_hundred_between_them():
    """Bonferroni's correction, by hand: two rates at 1 − 0.05/2 each, four at 1 − 0.05/4, each at its worst end."""
    prevalence, rest = 0.1, 0.9
    (h0, h1), (a0, a1) = (clopper_pearson(k, n, 0.025) for k, n in ((45, 60), (12, 200)))
    ppv = positive_predictive(rate(45, 60), rate(12, 200), prevalence)
    assert ppv.low == pytest.approx(prevalence * h0 / (prevalence * h0 + rest * a1))
    assert ppv.high == pytest.approx(prevalence * h1 / (prevalence * h1 + rest * a0))
    npv = negative_predictive(rate(45, 60), rate(12, 200), prevalence)
    assert npv.low == pytest.approx(rest * a0 / (prevalence * h1 + rest * a0))
    assert npv.high == pytest.approx(rest * a1 / (prevalence * h0 + rest * a1))
    errors = error_rate_at((rate(45, 60), rate(12, 200)), prevalence)
    assert (errors.low, errors.high) == pytest.approx((0.1 * h0 + 0.9 * a0, 0.1 * h1 + 0.9 * a1))
    (w0, w1), (v0, v1), (r0, r1), (s0, s1) = (
        clopper_pearson(k, n, 0.0125) for k, n in ((9, 60), (12, 200), (45, 60), (150, 200))
    )
    risk = selective_risk_at((rate(9, 60), rate(12, 200)), (rate(45, 60), rate(150, 200)), prevalence)
    wrong, right = (0.1 * w0 + 0.9 * v0, 0.1 * w1 + 0.9 * v1), (0.1 * r0 + 0.9 * s0, 0.1 * r1 + 0.9 * s1)
    assert risk.low == pytest.approx(wrong[0] / (wrong[0] + right[1]))
    assert risk.high == pytest.approx(wrong[1] / (wrong[1] + right[0]))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_order_ranks_give_up_no_tail_that_could_be_kept(share):
    """The chance that fewer than so many of n values lie below the quantile is binomial, so all of it is exact."""
    for n in range(fewest(share), 400, 7):
        low, high = order_ranks(n, share)
        held = binom.cdf(high - 1, n, share) - binom.cdf(low - 1, n, share)
        assert held >= 0.95
        if low > 1 and high < n:
            assert binom.cdf(low - 1, n, share) <= 0.025 < binom.cdf(low, n, share)
            assert binom.sf(high - 1, n, share) <= 0.025 < binom.sf(high - 2, n, share)
        assert held <= 0.95 + binom.pmf(low, n, share) + binom.pmf(high - 1, n, share) + 1e-12


@pytest.mark.parametrize(("up", "down"), [(0.3, 0.2), (0.5, 0.1), (0.1, 0.1)])
def test_the_effect_of_a_sign_test_holds_95_in_100(up, down):
    n, held = 60, 0.0
    law = multinomial(n, [up, down, 1 - up - down])
    for k in range(n + 1):
        for j in range(n + 1 - k):
            chance = law.pmf([k, j, n - k - j])
            if chance > 1e-8:
                found = sign_effect(np.repeat([1.0, -1.0, 0.0], [k, j, n - k - j]))
                held += chance * (found.low <= up - down <= found.high)
    assert 0.94 < held < 0.97


def share_held(truth, draws, estimate):
    """How often an interval holds the truth, of draws from a generator each with a seed of its own."""
    found = [estimate(np.random.default_rng(seed)) for seed in range(draws)]
    return np.mean([each.low <= truth <= each.high for each in found])


DRAWS = 500
SLACK = 3 * math.sqrt(0.95 * 0.05 / DRAWS)
"""Three standard errors of a share of 95 %."""


def test_an_auroc_holds_95_in_100():
    wrong = np.arange(300) < 60

    def drawn(rng):
        return auroc_interval(rng.normal(size=300) + wrong, wrong)

    assert share_held(norm.cdf(1 / math.sqrt(2)), DRAWS, drawn) == pytest.approx(0.95, abs=SLACK)


def test_a_gain_in_auroc_holds_95_in_100():
    wrong = np.arange(300) < 60

    def drawn(rng):
        common = rng.normal(size=300) + wrong
        return auroc_gain(common + rng.normal(size=300) + wrong, common, wrong)

    truth = norm.cdf(2 / math.sqrt(2 * 2)) - norm.cdf(1 / math.sqrt(2))
    assert share_held(truth, DRAWS, drawn) == pytest.approx(0.95, abs=SLACK)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_bootstrap_holds_95_in_100(grouped):
    groups = np.arange(240) // 3 if grouped else None

    def drawn(rng):
        shift = np.repeat(rng.normal(size=80), 3) if grouped else 0.0
        wrong = np.arange(240) % 4 == 0
        return Resampler(240, groups, replicates=300).estimate(auroc, rng.normal(size=240) + wrong + shift, wrong)

    truth = norm.cdf(1 / math.sqrt(4 if grouped else 2))
    assert share_held(truth, 300, drawn) == pytest.approx(0.945, abs=0.04)


def test_a_proportion_of_groups_holds_95_in_100_and_little_more():
    groups = np.repeat(np.arange(40), 10)

    def drawn(rng):
        return proportion(rng.random(400) < np.repeat(rng.beta(2, 6, 40), 10), groups)

    assert 0.95 - SLACK <= share_held(0.25, DRAWS, drawn) <= 0.98


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_a_rank_correlation_holds_95_in_100(rho):
    def drawn(rng):
        x = rng.normal(size=80)
        return spearman(x, rho * x + math.sqrt(1 - rho**2) * rng.normal(size=80))

    truth = 6 / math.pi * math.asin(rho / 2)
    assert share_held(truth, DRAWS, drawn) == pytest.approx(0.95, abs=SLACK)
