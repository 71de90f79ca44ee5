"""Intervals that hold together, against the formula for estimates that know nothing of each other."""

import numpy as np
import pytest
from scipy.stats import norm

from demur.metrics import paired as module
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


@pytest.mark.parametrize(("chunk", "draws"), [(2**20, 500), (300, 500), (7 * 30, 497), (1, 3)])
def test_every_draw_counts_once_however_they_are_parcelled(monkeypatch, chunk, draws):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    influence = np.random.default_rng(3).normal(size=(5, 30))
    z = (
        np.random.default_rng(9).standard_normal((draws, 30))
        @ (influence / np.linalg.norm(influence, axis=1)[:, None]).T
    )
    slow = np.quantile(np.abs(z).max(axis=1), 0.6)
    assert critical_value(influence, level=0.6, draws=draws, seed=9) == pytest.approx(slow, rel=1e-12)


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
