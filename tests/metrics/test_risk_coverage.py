"""Risk-coverage curves."""

import numpy as np
import pytest

from demur.metrics import oracle, random_risk, risk_coverage, selective_risk


def test_a_point_is_what_its_threshold_does():
    rng = np.random.default_rng(0)
    uncertainty, wrong = rng.integers(0, 30, 300), rng.random(300) < 0.2
    curve = risk_coverage(uncertainty, wrong)
    assert len(curve) == 30
    for threshold, coverage, risk in zip(curve.threshold, curve.coverage, curve.risk, strict=True):
        assert coverage == np.mean(uncertainty <= threshold)
        assert risk == selective_risk(uncertainty, wrong, threshold=threshold)


def test_thinning_keeps_the_ends_and_spreads_the_rest():
    rng = np.random.default_rng(0)
    curve = risk_coverage(rng.random(5000) ** 9, rng.random(5000) < 0.2)
    assert 190 <= len(curve) <= 200
    assert curve.coverage[0] == 1 / 5000
    assert curve.coverage[-1] == 1
    assert np.diff(curve.coverage).max() < 0.006


def test_the_oracle_errs_only_past_the_accuracy():
    curve = oracle(np.arange(10) < 3)
    np.testing.assert_allclose(curve.risk, [0] * 7 + [1 / 8, 2 / 9, 3 / 10])
    np.testing.assert_allclose(curve.threshold, curve.coverage)


def test_a_blind_score_has_the_error_rate():
    assert random_risk([True, False, False, False]) == 0.25
    assert np.isnan(random_risk([]))


@pytest.mark.parametrize("n", [0, 1])
def test_tiny_curves(n):
    assert len(risk_coverage(np.zeros(n), np.zeros(n, bool))) == n
    assert len(oracle(np.zeros(n, bool))) == n
