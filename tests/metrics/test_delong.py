"""AUROC intervals without resampling, against definitions and against the bootstrap."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from scipy.stats import t as student

from demur.metrics import Resampler, auroc
from demur.metrics.delong import Kinds, Placements, _pairs_within, auroc_gain, auroc_interval, gain_influence


def rows(n=600, seed=0, ties=False):
    generator = np.random.default_rng(seed)
    positive = generator.random(n) < 0.2
    strength = generator.normal(size=n) + 1.2 * positive
    other = 0.7 * strength + 0.7 * generator.normal(size=n)
    return (np.round(strength, 0) if ties else strength), other, positive


@pytest.mark.parametrize("ties", [False, True])
def test_the_value_is_auroc(ties):
    uncertainty, _, positive = rows(ties=ties)
    pairs = uncertainty[positive][:, None] - uncertainty[~positive][None]
    slow = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert auroc_interval(uncertainty, positive).value == pytest.approx(slow, abs=1e-12)


def binormal_variance(theta, rows, others):
    """Slow: the chance that two of one kind are both ranked right against one of the other, by integration."""
    shift = np.sqrt(2) * norm.ppf(theta)
    both = quad(lambda y: norm.pdf(y) * norm.sf(y - shift) ** 2, -12, 12 + shift, limit=200)[0]
    return (theta * (1 - theta) + (rows - 1 + others - 1) * (both - theta**2)) / (rows * others)


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_the_ends_are_where_what_was_seen_is_one_quantile_away(spread):
    """Scores of one kind are wide or as wide as the others: DeLong's variance is above that of equal widths, or not."""
    generator = np.random.default_rng(0)
    positive = np.arange(80) < 25
    uncertainty = np.where(positive, 1.2 + generator.normal(size=80) / spread, generator.normal(size=80))
    above, below = uncertainty[positive], uncertainty[~positive]
    wins = (above[:, None] > below[None]) + 0.5 * (above[:, None] == below[None])
    value = wins.mean()
    textbook = wins.mean(axis=1).var(ddof=1) / 25 + wins.mean(axis=0).var(ddof=1) / 55
    wider = max(1, textbook / binormal_variance(value, 25, 55))
    found = auroc_interval(uncertainty, positive)
    for end in (found.low, found.high):
        allowed = student.ppf(0.975, 24) * np.sqrt(wider * binormal_variance(end, 25, 55))
        assert abs(value - end) == pytest.approx(allowed, rel=1e-6)


@pytest.mark.parametrize(("errors", "truth"), [(10, 0.7), (10, 0.95), (10, 0.99), (30, 0.99)])
def test_the_interval_covers_with_few_errors_from_both_sides(errors, truth):
    generator, draws, misses = np.random.default_rng(0), 400, np.zeros(2)
    positive = np.arange(300) < errors
    for _ in range(draws):
        found = auroc_interval(generator.normal(size=300) + np.sqrt(2) * norm.ppf(truth) * positive, positive)
        misses += (found.low > truth, found.high < truth)
    assert misses.sum() / draws <= 0.065 + 2 * np.sqrt(0.05 * 0.95 / draws)
    assert misses.max() / draws <= 0.045 + 2 * np.sqrt(0.03 * 0.97 / draws)


def test_the_interval_covers_with_a_dozen_groups_from_both_sides():
    """Twelve groups of thirty, each with a level of its own and a share of errors of its own."""
    generator, draws, misses, told = np.random.default_rng(0), 300, np.zeros(2), 0
    groups = np.repeat(np.arange(12), 30)
    shift = np.sqrt(2) * norm.ppf(0.9)
    for _ in range(draws):
        positive = generator.random(360) < (1 / (1 + np.exp(1.6 - 0.8 * generator.normal(size=12))))[groups]
        noise = np.sqrt(0.2) * generator.normal(size=12)[groups] + np.sqrt(0.8) * generator.normal(size=360)
        found = auroc_interval(noise + shift * positive, positive, groups)
        told += np.isfinite(found.low)
        misses += (found.low > 0.9, found.high < 0.9)
    assert told > 0.9 * draws
    assert misses.sum() / told <= 0.07 + 2 * np.sqrt(0.05 * 0.95 / told)
    assert misses.max() / told <= 0.045 + 2 * np.sqrt(0.03 * 0.97 / told)


def test_a_gain_covers_with_few_errors_from_both_sides():
    generator, draws, misses = np.random.default_rng(0), 400, np.zeros(2)
    positive = np.arange(300) < 12
    truth = norm.cdf(1.5 / np.sqrt(2)) - norm.cdf(1.0 / np.sqrt(2))
    for _ in range(draws):
        shared = generator.normal(size=300)
        ours, theirs = (0.7 * shared + np.sqrt(0.51) * generator.normal(size=300) + by * positive for by in (1.5, 1.0))
        found = auroc_gain(ours, theirs, positive)
        misses += (found.low > truth, found.high < truth)
    assert misses.sum() / draws <= 0.065 + 2 * np.sqrt(0.05 * 0.95 / draws)


def test_pairs_within_a_group_are_left_out_of_the_interval():
    """Each group has its own level, which helps inside it and nowhere else; across groups the ranking is chance."""
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 4)
    positive = np.tile([True, False, False, False], 40)
    uncertainty = 100 * generator.permutation(40)[groups] + positive
    kept = groups[:, None] != groups[None]
    wins = uncertainty[:, None] > uncertainty[None]
    across = wins[(positive[:, None] & ~positive[None]) & kept].mean()
    assert Placements.of(uncertainty.astype(float), Kinds.of(positive, groups)).across == pytest.approx(
        across, abs=1e-12
    )
    assert across == pytest.approx(0.5)
    assert auroc_interval(uncertainty, positive, groups).value > across


def test_intervals_agree_with_the_bootstrap():
    uncertainty, other, positive = rows(n=2000)
    resampler = Resampler(2000, replicates=2000)
    for fast, slow in (
        (auroc_interval(uncertainty, positive), resampler.estimate(auroc, uncertainty, positive)),
        (auroc_gain(uncertainty, other, positive), resampler.gain(auroc, uncertainty, other, positive)),
    ):
        assert fast.value == pytest.approx(slow.value, abs=1e-12)
        assert fast.low == pytest.approx(slow.low, abs=0.006)
        assert fast.high == pytest.approx(slow.high, abs=0.006)


def test_rows_copied_within_their_unit_say_nothing_new():
    uncertainty, other, positive = rows(n=300)
    units = np.arange(300)
    once, many = (
        auroc_interval(uncertainty, positive, units),
        auroc_interval(np.tile(uncertainty, 5), np.tile(positive, 5), np.tile(units, 5)),
    )
    assert (many.low, many.high) == pytest.approx((once.low, once.high), abs=0.006)
    assert (many.n, many.unit) == (300, "group")
    believed = auroc_interval(np.tile(uncertainty, 5), np.tile(positive, 5))
    assert believed.high - believed.low < 0.6 * (many.high - many.low)
    gain = auroc_gain(np.tile(uncertainty, 5), np.tile(other, 5), np.tile(positive, 5), np.tile(units, 5))
    assert gain.low == pytest.approx(auroc_gain(uncertainty, other, positive).low, abs=1e-9)


def test_one_kind_of_rows_is_undefined_with_a_reason():
    found = auroc_interval(np.arange(5.0), np.zeros(5, bool))
    assert np.isnan(found.value)
    assert "one kind" in found.reason
    assert np.isnan(auroc_gain(np.arange(5.0), np.arange(5.0), np.ones(5, bool)).value)


@pytest.mark.parametrize(("errors", "told"), [(1, False), (9, False), (10, True)])
def test_few_errors_give_no_interval(errors, told):
    uncertainty = np.random.default_rng(0).random(400)
    positive = np.arange(400) < errors
    for found in (auroc_interval(uncertainty, positive), auroc_gain(uncertainty, uncertainty[::-1], positive)):
        assert np.isfinite(found.value)
        assert (np.isfinite(found.low) and np.isfinite(found.high)) == told
        assert told or f"only {errors} image" in found.reason


@pytest.mark.parametrize("errors", [10, 50])
def test_a_perfect_ranking_has_an_interval_with_one_end(errors):
    for sign in (1, -1):
        found = auroc_interval(sign * np.arange(400.0), np.arange(400) >= 400 - errors)
        low, high = (found.low, found.high) if sign == 1 else (1 - found.high, 1 - found.low)
        allowed = student.ppf(0.975, errors - 1) * np.sqrt(binormal_variance(low, errors, 400 - errors))
        assert (1 - low, high) == (pytest.approx(allowed, rel=1e-6), 1.0)


def test_errors_of_few_groups_are_few():
    positive = np.arange(400) < 100
    found = auroc_interval(np.random.default_rng(0).random(400), positive, np.arange(400) // 20)
    assert np.isnan(found.low)
    assert "only 5 groups" in found.reason


def test_flags_may_be_written_as_numbers():
    uncertainty, other, positive = rows()
    flags = positive.astype(int).tolist()
    assert auroc_interval(uncertainty, flags) == auroc_interval(uncertainty, positive)
    assert auroc_gain(uncertainty, other, flags) == auroc_gain(uncertainty, other, positive)
    np.testing.assert_array_equal(
        gain_influence(uncertainty, other, flags), gain_influence(uncertainty, other, positive)
    )


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_pairs_within_a_unit_are_those_that_a_loop_finds_ties_counted_half(levels):
    rng = np.random.default_rng(levels)
    scores, positive, units = rng.integers(0, levels, 90), rng.random(90) < 0.4, rng.integers(0, 12, 90)
    slow = sum(
        (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
        for i in range(90)
        for j in range(90)
        if units[i] == units[j] and positive[i] and not positive[j]
    )
    assert _pairs_within(scores.astype(float), Kinds.of(positive, units)) == slow
