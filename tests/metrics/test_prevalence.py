"""Numbers at another prevalence: the textbook example, and how often the intervals hold what they should."""

import math

import numpy as np
import pytest

from demur.errors import InputError
from demur.metrics.prevalence import (
    ClassRate,
    error_rate_at,
    negative_predictive,
    positive_predictive,
    selective_risk_at,
)


def rate(count, n):
    return ClassRate.of(np.arange(n) < count)


def test_predictive_values_are_counts_of_a_population_of_that_mixture():
    """90 of 100 positives found, 5 of 100 negatives alarmed, 1 % positives: of 10,000 people 90 + 495 test positive."""
    assert positive_predictive(rate(90, 100), rate(5, 100), 0.01).value == pytest.approx(90 / (90 + 495))
    assert negative_predictive(rate(10, 100), rate(95, 100), 0.01).value == pytest.approx(9405 / (9405 + 10))


def test_at_the_measured_prevalence_nothing_changes():
    """30 positives and 70 others: 4 + 3 answered wrong, 20 + 50 right, the rest declined."""
    wrong, right = (rate(4, 30), rate(3, 70)), (rate(20, 30), rate(50, 70))
    assert selective_risk_at(wrong, right, 0.3).value == pytest.approx(7 / 77)
    assert error_rate_at(wrong, 0.3).value == pytest.approx(7 / 100)


def test_one_rate_alone_has_the_exact_interval():
    low, high = rate(3, 40).interval(0.05)
    assert sum(math.comb(40, k) * low**k * (1 - low) ** (40 - k) for k in range(3, 41)) == pytest.approx(0.025)
    assert sum(math.comb(40, k) * high**k * (1 - high) ** (40 - k) for k in range(4)) == pytest.approx(0.025)
    assert rate(0, 40).interval(0.05)[0] == 0
    assert rate(40, 40).interval(0.05)[1] == 1
    assert rate(0, 0).interval(0.05) == (0, 1)


@pytest.mark.parametrize("prevalence", [0.005, 0.2])
def test_intervals_hold_the_truth(prevalence):
    """400 drawn sets of 150 positives and 400 others: the truth lies inside in at least 95 % less three errors."""
    draw = np.random.default_rng(0)
    h, a, w, r = 0.85, 0.04, 0.06, 0.7
    ppv = prevalence * h / (prevalence * h + (1 - prevalence) * a)
    risk = (prevalence * w + (1 - prevalence) * a) / (prevalence * (w + r) + (1 - prevalence) * (a + 0.9))
    inside = np.zeros(2)
    for _ in range(400):
        hits, alarms = draw.binomial(150, h), draw.binomial(400, a)
        found = positive_predictive(rate(hits, 150), rate(alarms, 400), prevalence)
        one, other = draw.multinomial(150, [w, r, 1 - w - r]), draw.multinomial(400, [a, 0.9, 0.1 - a])
        both = [(rate(one[k], 150), rate(other[k], 400)) for k in (0, 1)]
        guarded = selective_risk_at(*both, prevalence)
        inside += [found.low <= ppv <= found.high, guarded.low <= risk <= guarded.high]
    assert (inside / 400 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)).all()


def test_intervals_of_grouped_images_hold_the_truth():
    """Twenty images of each of 40 patients who differ: taken for independent, the interval fails far too often."""
    draw, truth, inside, naive = np.random.default_rng(1), 0.2, 0, 0
    groups = np.repeat(np.arange(40), 20)
    for _ in range(300):
        flags = draw.uniform(size=800) < np.repeat(draw.beta(0.8, 3.2, 40), 20)
        low, high = ClassRate.of(flags, groups).interval(0.05)
        inside += low <= truth <= high
        low, high = ClassRate.of(flags).interval(0.05)
        naive += low <= truth <= high
    assert inside / 300 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300)
    assert naive / 300 < 0.7


def test_groups_of_one_are_images():
    flags = np.arange(50) < 9
    one, other = ClassRate.of(flags, np.arange(50)), ClassRate.of(flags)
    assert one.effective == pytest.approx(other.effective, rel=0.03)
    assert (one.unit, one.units) == ("group", 50)


def test_where_all_images_agree_groups_are_counted():
    assert ClassRate.of(np.zeros(100, bool), np.repeat(np.arange(4), 25)).effective == 4


def test_what_nobody_saw_is_undefined():
    assert math.isnan(positive_predictive(rate(0, 0), rate(1, 5), 0.1).value)
    assert "no image got this answer" in str(positive_predictive(rate(0, 9), rate(0, 5), 0.1).reason)


@pytest.mark.parametrize("prevalence", [0, 1, 1.5, math.nan])
def test_a_prevalence_is_a_share(prevalence):
    with pytest.raises(InputError, match=r"0\.5 % as 0\.005"):
        positive_predictive(rate(1, 2), rate(1, 2), prevalence)
