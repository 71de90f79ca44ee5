"""Intervals that hold together, against the formula for estimates that know nothing of each other."""

import numpy as np
import pytest
from scipy.stats import norm

from demur.metrics.delong import auroc_gain, gain_influence
from demur.metrics.paired import critical_value

Z = norm.ppf(0.975)


@pytest.mark.parametrize("count", [2, 5, 20])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_independent_estimates_need_what_sidak_says(count, level):
    influence = np.eye(count)
    expected = norm.ppf((1 + level ** (1 / count)) / 2)
    assert critical_value(influence, level=level, draws=40_000) == pytest.approx(expected, abs=0.03)


def test_copies_of_one_estimate_cost_nothing():
    one = np.random.default_rng(0).normal(size=400)
    assert critical_value(np.stack([one, 3 * one, -one]), draws=20_000) == pytest.approx(Z, abs=0.05)
    assert critical_value(one[None]) == Z


def test_an_estimate_that_cannot_err_is_no_competitor():
    one = np.random.default_rng(0).normal(size=400)
    assert critical_value(np.stack([one, np.zeros(400)])) == Z
    assert critical_value(np.zeros((3, 400))) == Z


def test_the_same_numbers_come_whatever_the_scale_and_twice():
    influence = np.random.default_rng(1).normal(size=(4, 300))
    found = critical_value(influence)
    assert found == critical_value(influence)
    assert found == pytest.approx(critical_value(1e-6 * influence), rel=1e-12)


@pytest.mark.parametrize(("estimates", "units"), [(5, 30), (3, 400), (6, 4)])
def test_it_is_the_quantile_that_weighing_every_unit_gives(estimates, units):
    rng = np.random.default_rng(3)
    shared = rng.normal(size=units)
    influence = np.stack([scale * shared + rng.normal(size=units) for scale in np.linspace(-2, 3, estimates)])
    weights = rng.standard_normal((100_000, units))
    z = weights @ (influence / np.linalg.norm(influence, axis=1)[:, None]).T
    for level in (0.9, 0.95):
        slow = np.quantile(np.abs(z).max(axis=1), level)
        assert critical_value(influence, level=level) == pytest.approx(slow, abs=0.03)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_influence_of_units_is_the_error_of_the_gain(grouped):
    rng = np.random.default_rng(2)
    positive = rng.random(600) < 0.3
    uncertainty, other = rng.normal(size=600) + positive, rng.normal(size=600) + positive
    units = np.arange(600) // 3 if grouped else None
    influence = gain_influence(uncertainty, other, positive, units)
    gain = auroc_gain(uncertainty, other, positive, units)
    assert influence.shape == (200 if grouped else 600,)
    assert Z * np.sqrt(np.square(influence).sum()) == pytest.approx((gain.high - gain.low) / 2, rel=1e-9)
    assert not gain_influence(uncertainty, other, np.ones(600, bool), units).any()
