"""Where thresholds may stand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.policies import ACCEPT_ALL, Gaps, threshold_near


def test_a_threshold_is_the_middle_of_a_wide_enough_gap():
    gaps = Gaps.of([0.5, 0.1, 0.10005, 0.3])
    np.testing.assert_allclose(gaps.thresholds[:-1], [0.200025, 0.4])
    np.testing.assert_allclose(gaps.coverages, [0.5, 0.75, 1])
    assert gaps.thresholds[-1] == ACCEPT_ALL


def test_the_doubts_of_a_saturated_network_have_gaps_too():
    gaps = Gaps.of([1e-12, 1.0005e-12, 2e-12, 3e-9])
    np.testing.assert_allclose(gaps.thresholds[:-1], [1.50025e-12, 1.501e-9], rtol=1e-9)


@pytest.mark.parametrize(("low", "gap"), [(0.5, 1e-4), (-0.5, 1e-4), (0.0, 1e-4), (1e-6, 1e-9), (-1e-6, 1e-9)])
def test_a_gap_is_wide_enough_from_a_ten_thousandth_or_a_thousandth_of_the_score_on(low, gap):
    assert len(Gaps.of([low, low + 0.98 * gap]).thresholds) == 1
    assert len(Gaps.of([low, low + 1.02 * gap]).thresholds) == 2


def test_a_relative_gap_needs_one_sign():
    assert len(Gaps.of([-1e-9, 1e-9]).thresholds) == 1
    assert len(Gaps.of([0.0, 1e-9]).thresholds) == 1
    assert len(Gaps.of([-2e-9, -1e-9]).thresholds) == 2


@given(scores=st.lists(st.floats(-50, 50), min_size=1))
def test_no_score_is_near_a_threshold(scores):
    gaps = Gaps.of(scores)
    values = np.array(scores)
    for threshold, coverage in zip(gaps.thresholds, gaps.coverages, strict=True):
        assert np.mean(values <= threshold) == coverage
        distance = np.abs(values - threshold)
        assert (distance >= np.minimum(4.9e-5, 4.9e-4 * np.abs(values))).all()


def test_the_threshold_nearest_a_coverage():
    scores = np.arange(100) / 100
    assert threshold_near(scores, 0.7) == np.float64(0.695)
    assert threshold_near(scores, 1) == ACCEPT_ALL
    assert threshold_near(np.zeros(5), 0.2) == ACCEPT_ALL


def test_infinite_scores_are_never_within_a_threshold_below_all():
    gaps = Gaps.of([0.0, 1.0, np.inf, np.inf])
    np.testing.assert_allclose(gaps.coverages, [0.25, 1.0])
