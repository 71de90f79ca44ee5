"""Where thresholds may stand: between any two scores that differ, at every scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from demur.policies import ACCEPT_ALL, Calibration, Certified, ThresholdGrid, threshold_near


def test_a_threshold_is_the_middle_between_neighbours_that_differ():
    grid = ThresholdGrid.of([0.5, 0.1, 0.10005, 0.3, 0.3])
    np.testing.assert_allclose(grid.thresholds[:-1], [0.100025, 0.200025, 0.4])
    np.testing.assert_allclose(grid.coverages, [0.2, 0.4, 0.8, 1])
    assert grid.thresholds[-1] == ACCEPT_ALL


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1.0, 1e300])
def test_the_scale_does_not_matter(scale):
    scores = scale * np.array([-1.0, 1.0, 1.0005, 2.0])
    np.testing.assert_allclose(ThresholdGrid.of(scores).thresholds[:-1], scale * np.array([0.0, 1.00025, 1.50025]))


def test_between_neighbouring_floats_the_lower_one_is_accepted():
    low = 0.3
    grid = ThresholdGrid.of([low, np.nextafter(low, 1)])
    assert grid.thresholds[0] == low


@given(scores=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_every_two_scores_that_differ_are_told_apart(scores):
    grid, values = ThresholdGrid.of(scores), np.array(scores)
    assert len(grid.thresholds) == len(np.unique(values)) if values.max() < ACCEPT_ALL else True
    for threshold, coverage in zip(grid.thresholds, grid.coverages, strict=True):
        assert np.mean(values <= threshold) == coverage


def test_the_threshold_nearest_a_coverage():
    scores = np.arange(100) / 100
    assert threshold_near(scores, 0.7) == pytest.approx(0.695)
    assert threshold_near(scores, 1) == ACCEPT_ALL
    assert threshold_near(np.zeros(5), 0.2) == ACCEPT_ALL


def test_infinite_scores_are_never_within_a_threshold_below_all():
    np.testing.assert_allclose(ThresholdGrid.of([0.0, 1.0, np.inf, np.inf]).coverages, [0.25, 1.0])


@pytest.mark.parametrize("k", [1e-5, 1e-3, 0.1, 1.0, 10.0, 30.0])
def test_the_same_ranking_gets_the_same_certificate_whatever_the_scale_of_the_logits(k):
    """Logits of two classes, so that a factor changes no order; half a unit of rank may lie between two tune scores."""
    rng = np.random.default_rng(0)
    margin = rng.exponential(3, 3000)
    wrong = rng.random(3000) < 0.25 * np.exp(-margin)

    def certificate(factor):
        score = softmax(factor * np.stack([margin, 0 * margin], 1), axis=1)[:, 1]
        halves = (Calibration(score[rows], wrong[rows]) for rows in (slice(0, 1000), slice(1000, None)))
        return Certified(risk=0.02).fit(*halves)

    found, expected = certificate(k), certificate(1.0)
    assert (found.level, found.tests) == (expected.level, expected.tests)
    assert found.answered == pytest.approx(expected.answered, abs=5)


@pytest.mark.parametrize("labels", [3000, 300_000])
def test_more_labels_never_cover_less(labels):
    rng = np.random.default_rng(1)
    score = rng.random(2 * labels)
    wrong = rng.random(2 * labels) < 0.25 * score**3
    tune, certify = (Calibration(score[rows], wrong[rows]) for rows in (slice(0, labels), slice(labels, None)))
    oracle = (4 * 0.02 / 0.25) ** (1 / 3)  # of the share answered: its risk is a quarter of 0.25·share³
    assert Certified(risk=0.02).fit(tune, certify).answered / labels > {3000: 0.8, 300_000: 0.96}[labels] * oracle
