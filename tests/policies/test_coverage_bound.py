"""The bound on coverage: exact, from rows that chose nothing or corrected for the choice, and kept."""

import numpy as np
import pytest
from scipy.stats import binom

from demur.policies import Calibration, Certificate, Certified, Look, Tolerance, unlabelled_rows
from demur.policies.coverage_bound import at_least, bound_coverage


def rows(scores, **fields):
    return Calibration(np.asarray(scores, float), np.zeros(len(scores), bool), **fields)


def test_it_is_the_share_at_which_so_many_answers_are_just_that_unlikely():
    certify, test = rows(np.linspace(0, 1, 300)), rows(np.linspace(0, 1, 200))
    found = bound_coverage(0.7, 0.0045, certify, 50, test)
    assert (found.n, found.answered, found.several, found.rows) == (200, 140, 1, "test")
    assert binom.sf(139, 200, found.low) == pytest.approx(0.0045)
    found = bound_coverage(0.7, 0.0045, certify, 50)
    assert (found.n, found.answered, found.several, found.rows) == (300, 210, 50, "certify")
    assert binom.sf(209, 300, found.low) == pytest.approx(0.0045 / 50)


def test_rows_near_the_threshold_count_as_not_answered():
    tolerance = Tolerance(widths=(0.01,))
    certify = rows(np.linspace(0, 1, 101), tolerance=tolerance)
    test = unlabelled_rows(np.array([0.1, 0.495, 0.505, 0.9]), certify)
    assert test.tolerance == tolerance
    assert bound_coverage(0.5, 0.05, certify, 1, test).answered == 1
    assert bound_coverage(0.5, 0.05, certify, 1).answered == 50


def test_no_rows_a_nan_and_infinities_answer_nothing_and_break_nothing():
    certify = rows(np.linspace(0, 1, 50))
    assert unlabelled_rows(np.array([]), certify) is None
    test = unlabelled_rows(np.array([np.nan, np.inf, -np.inf, 0.2]), certify)
    assert bound_coverage(0.5, 0.05, certify, 1, test).answered == 2
    assert bound_coverage(-1.0, 0.05, certify, 1).low == 0.0


def test_a_group_of_the_unlabelled_rows_counts_once():
    tune, certify = rows(np.linspace(0, 1, 400)), rows(np.linspace(0, 1, 800))
    test = rows(np.repeat(np.linspace(0, 1, 100), 7), groups=np.repeat(np.arange(100).astype(str), 7))
    assert Certified().fit(tune, certify, Look(), test).coverage.n == 100


def test_labels_of_the_unlabelled_rows_are_not_read():
    rng = np.random.default_rng(0)
    tune, certify, scores = rows(rng.random(400)), rows(rng.random(800)), rng.random(500)
    right, wrong = (Calibration(scores, np.full(500, flag)) for flag in (False, True))
    assert Certified().fit(tune, certify, Look(), right) == Certified().fit(tune, certify, Look(), wrong)


@pytest.mark.parametrize("unlabelled", [True, False], ids=["test", "certify"])
def test_the_true_coverage_is_undercut_as_seldom_as_it_says(unlabelled):
    """Scores are uniform, so that a threshold answers the share that it is; a tenth of a δ of one half is spent."""
    rng, broken, tight = np.random.default_rng(0), 0, []
    for _ in range(400):
        scores = rng.random(600)
        certify = Calibration(scores, rng.random(600) < 0.3 * scores**4)
        test = rows(rng.random(200)) if unlabelled else None
        found = Certified(risk=0.05, delta=0.5).fit(rows(rng.random(200)), certify, Look(), test)
        assert isinstance(found, Certificate)
        broken += found.coverage.low > min(found.threshold, 1.0)
        tight.append(min(found.threshold, 1.0) - found.coverage.low)
    level = Look().coverage_level(0.5)
    assert broken <= 400 * level + 3 * np.sqrt(400 * level * (1 - level))
    assert np.median(tight) < 0.08


@pytest.mark.parametrize(("share", "text"), [(0.7899, "78"), (1.0, "100"), (0.1, "10"), (0.0999, "9.9"), (0.0, "0")])
def test_the_words_claim_no_more_than_the_number(share, text):
    assert at_least(share) == text
