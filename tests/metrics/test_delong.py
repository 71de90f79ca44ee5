"""AUROC intervals without resampling, against definitions and against the bootstrap."""

import numpy as np
import pytest

from demur.metrics import Resampler, auroc
from demur.metrics.delong import auroc_gain, auroc_interval, gain_influence


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


def test_the_variance_is_the_textbook_one():
    uncertainty, _, positive = rows(n=80)
    above, below = uncertainty[positive], uncertainty[~positive]
    wins = (above[:, None] > below[None]) + 0.5 * (above[:, None] == below[None])
    of_positive, of_negative = wins.mean(axis=1), wins.mean(axis=0)
    value = wins.mean()
    spread = (
        np.square(of_positive - value).sum() / len(above) ** 2 + np.square(of_negative - value).sum() / len(below) ** 2
    )
    error = np.sqrt(spread * 80 / 79)
    found = auroc_interval(uncertainty, positive)
    z = (np.log(found.high / (1 - found.high)) - np.log(found.low / (1 - found.low))) / 2
    assert z == pytest.approx(1.959964 * error / (value * (1 - value)), rel=1e-5)


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
    assert (once.low, once.high, once.n, once.unit) == pytest.approx((many.low, many.high, 300, "group"))
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


def test_a_perfect_ranking_gives_no_interval():
    found = auroc_interval(np.arange(400.0), np.arange(400) >= 350)
    assert (found.value, np.isnan(found.low), np.isnan(found.high)) == (1.0, True, True)
    assert "perfect" in found.reason


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
