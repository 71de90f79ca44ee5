"""Rank correlation against scipy, rows written out by their weights, and the truth held."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from demur.errors import InputError
from demur.metrics.rank_correlation import rank_correlation, spearman


@pytest.mark.parametrize("n", [3, 10, 77])
def test_it_is_scipys(n):
    rng = np.random.default_rng(n)
    for _ in range(10):
        x = rng.integers(0, 6, n).astype(float)
        y = x + rng.integers(0, 9, n)
        if np.ptp(x) and np.ptp(y):
            assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_values_above_the_cap_tie_as_the_largest():
    x = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    y = np.array([1.0, 3, 2, 5, 4, 6, 9, np.inf, np.inf, np.inf, 7])
    assert spearman(x, y).value == pytest.approx(spearmanr(x, np.where(np.isinf(y), 99, y)).statistic)


def test_a_weight_is_how_often_a_row_was_seen():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 12).astype(float), rng.integers(0, 5, 12).astype(float)
    weights = rng.integers(0, 4, (6, 12)).astype(float)
    slow = [spearmanr(np.repeat(x, w.astype(int)), np.repeat(y, w.astype(int))).statistic for w in weights]
    assert rank_correlation(x, y, weights) == pytest.approx(slow)
    assert rank_correlation(x, y, weights[1]) == pytest.approx(slow[1])


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.8])
def test_the_interval_covers_the_truth(rho):
    rng, hits = np.random.default_rng(1), 0
    truth = 6 / np.pi * np.arcsin(rho / 2)  # of normal numbers
    for _ in range(400):
        x = rng.normal(size=40)
        found = spearman(x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=40))
        hits += found.low <= truth <= found.high
    assert 0.92 * 400 <= hits <= 0.985 * 400


def test_groups_are_drawn_as_wholes():
    rng, groups = np.random.default_rng(2), np.repeat(np.arange(15), 10)
    x, y = (rng.normal(size=15)[groups] + 0.1 * rng.normal(size=150) for _ in range(2))
    image, group = spearman(x, y), spearman(x, y, groups)
    assert (group.value, group.n, group.unit) == (image.value, 15, "group")
    assert group.high - group.low > 2 * (image.high - image.low)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.arange(9.0), np.arange(9.0) ** 2 % 5, "no interval: only 9 images, fewer than 10"),
        (np.arange(12.0), np.arange(12.0), "no interval: the ranks agree perfectly"),
        (np.arange(12.0), np.ones(12), "all values of one are equal"),
        (np.array([]), np.array([]), "no images"),
    ],
)
def test_what_cannot_be_said_is_not(x, y, reason):
    found = spearman(x, y)
    assert found.reason == reason
    assert np.isnan(found.low)


def test_a_single_group_is_counted_as_one():
    x = np.arange(9.0)
    assert spearman(x, x**2 % 5, np.zeros(9)).reason == "no interval: only 1 group, fewer than 10"


def test_undefined_rows_are_refused():
    with pytest.raises(InputError, match="NaN on 1 of 2"):
        spearman([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(InputError, match="shapes"):
        spearman([1.0], [1.0, 2.0])
