"""Binomial tests and intervals against scipy and published tables."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from demur.errors import InputError
from demur.metrics.binomial import (
    labels_without_error,
    p_value,
    power,
    power_start,
    risk_upper_bound,
    sample_for,
    wilson,
)

COUNTS = [(0, 1), (0, 12), (1, 1), (3, 17), (34, 2814), (8099, 10000), (20, 20)]


@pytest.mark.parametrize(("count", "n"), COUNTS)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_the_score_interval(count, n, level):
    expected = binomtest(count, n).proportion_ci(level, method="wilson")
    found = wilson(count, n, level)
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], atol=1e-12)
    assert (found.value, found.n, found.unit) == (count / n, n, "image")


def test_a_share_of_nothing_says_why():
    assert np.isnan(wilson(0, 0).value)
    assert wilson(0, 0).reason == "no images"


@pytest.mark.parametrize(("errors", "n"), COUNTS)
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_the_upper_bound_is_clopper_pearson(errors, n, delta):
    expected = binomtest(errors, n, alternative="less").proportion_ci(1 - delta, method="exact").high
    assert risk_upper_bound(errors, n, delta) == pytest.approx(expected, abs=1e-12)


def test_the_test_passes_exactly_when_the_bound_does():
    for n in (50, 149, 400):
        for errors in range(12):
            assert (p_value(errors, n, 0.02) <= 0.05) == (risk_upper_bound(errors, n, 0.05) <= 0.02)
            assert p_value(errors, n, 0.02) == pytest.approx(binom.cdf(errors, n, 0.02))


def test_no_answers_prove_nothing():
    assert p_value(0, 0, 0.02) == 1
    assert risk_upper_bound(0, 0, 0.05) == 1


def test_the_zero_error_table():
    assert [labels_without_error(risk, 0.05) for risk in (0.05, 0.02, 0.01, 0.005, 0.001)] == [59, 149, 299, 598, 2995]


def test_the_table_of_labels_with_errors():
    found = [sample_for(errors, risk=0.01, delta=0.05) for errors in (1, 2, 3, 5, 10, 20, 50)]
    assert found == [473, 628, 773, 1049, 1693, 2902, 6323]


@pytest.mark.parametrize(
    ("risk", "expected"),
    [(0.1, (65, 89, 127)), (0.05, (132, 181, 288)), (0.02, (333, 456, 725)), (0.01, (667, 913, 1453)),
     (0.005, (1335, 1829, 2910)), (0.002, (3339, 4575, 7282))],
)  # fmt: skip
def test_the_power_start_table(risk, expected):
    assert tuple(power_start(risk, delta) for delta in (0.1, 0.05, 0.01)) == expected


def test_power_is_a_sum_over_outcomes():
    n, outcomes = 456, np.arange(457)
    passes = np.array([p_value(int(errors), n, 0.02) <= 0.05 for errors in outcomes])
    expected = binom.pmf(outcomes, n, 0.005)[passes].sum()
    assert power(n, 0.02, 0.05, 0.005) == pytest.approx(expected)
    assert expected >= 0.9
    assert power(100, 0.02, 0.05, 0.0) == 0


@pytest.mark.parametrize("risk", [0, 1, 2, -0.1])
def test_a_risk_is_a_share(risk):
    with pytest.raises(InputError, match=r"2 % as 0\.02"):
        power_start(risk, 0.05)
