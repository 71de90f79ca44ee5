"""Radii from votes against the paper's numbers, a slow search for the bound, and exact sums over all outcomes."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from demur.metrics.smoothed_radii import smoothed_radius, tie_chance, vote_share_bound


def test_all_votes_of_a_hundred_thousand_are_the_radius_of_the_paper():
    """Cohen et al.: the lower bound is alpha^(1/n), and with 100,000 draws nothing above 3.8115 σ is proven."""
    assert smoothed_radius(100_000, 100_000, sigma=1.0, alpha=0.001) == pytest.approx(3.8115, abs=5e-5)
    assert smoothed_radius(100_000, 100_000, sigma=0.25, alpha=0.001) == pytest.approx(0.25 * 3.8115, abs=2e-5)
    assert vote_share_bound(1000, 1000, 0.01) == pytest.approx(0.01 ** (1 / 1000))


def slow_bound(count, n, alpha):
    """The share at which as many votes or more have a chance of alpha, by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binom.sf(count - 1, n, middle) <= alpha else (low, middle)
    return low if count else 0.0


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_the_bound_is_the_share_under_which_so_many_votes_are_unlikely(alpha):
    counts = [0, 1, 7, 20, 33, 39, 40]
    found = vote_share_bound(counts, 40, alpha)
    assert found == pytest.approx([slow_bound(count, 40, alpha) for count in counts], abs=1e-9)
    for share in (0.5, 0.1, 0.9):
        radii = smoothed_radius(counts, 40, sigma=0.3, alpha=alpha, share=share)
        slow = [0.3 * (norm.ppf(slow_bound(count, 40, alpha)) - norm.ppf(share)) for count in counts]
        assert radii == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.62, 0.9, 0.99])
def test_the_bound_is_above_the_truth_as_often_as_alpha_and_not_much_more_rarely(share):
    """Summed over all outcomes: at most alpha always, and at most one outcome short of it."""
    n, alpha = 300, 0.05
    counts = np.arange(n + 1)
    chance = binom.pmf(counts, n, share)
    above = vote_share_bound(counts, n, alpha) > share
    missed = chance[above].sum()
    assert missed <= alpha
    assert missed + chance[counts[above].min(initial=n + 1) - 1] > alpha


def test_a_tie_is_judged_as_by_the_exact_test():
    first, second = np.array([0, 1, 5, 60, 70, 100, 38]), np.array([0, 0, 5, 40, 30, 0, 62])
    slow = [1.0 if a + b == 0 else binomtest(a, a + b, 0.5).pvalue for a, b in zip(first, second, strict=True)]
    assert tie_chance(first, second) == pytest.approx(slow)
