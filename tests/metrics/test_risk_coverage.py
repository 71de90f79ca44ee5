"""Risk-coverage curves."""

import numpy as np
import pytest

from demur.metrics import oracle, random_risk, risk_coverage, selective_risk
from demur.metrics.ranking import nearest


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


def test_thinned_points_are_those_nearest_to_even_steps():
    coverage = np.array([0.0, 0.1, 0.15, 0.6, 0.62, 1.0])
    wanted = np.array([-1.0, 0.0, 0.12, 0.125, 0.13, 0.6, 0.605, 0.9, 1.0, 2.0])
    slow = [min(range(6), key=lambda at: (abs(coverage[at] - each), at)) for each in wanted]
    assert nearest(coverage, wanted).tolist() == slow == [0, 0, 1, 1, 2, 3, 3, 5, 5, 5]
    rng = np.random.default_rng(0)
    full = risk_coverage(rng.random(500), rng.random(500) < 0.2, points=500)
    thin, whole = full.thinned(7), list(zip(full.threshold, full.coverage, full.risk, strict=True))
    assert all(point in whole for point in zip(thin.threshold, thin.coverage, thin.risk, strict=True))
    for at in thin.coverage:
        assert abs(6 * (at - full.coverage[0]) / (1 - full.coverage[0]) % 1 - 0.5) > 0.48


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
