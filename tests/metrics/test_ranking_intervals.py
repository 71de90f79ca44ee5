"""Intervals of AUGRC, AURC, AUPR, FPR@95, coverage at a risk, ECE and balanced accuracy: by hand, and on known laws."""

import math
from functools import partial

import numpy as np
import pytest
from scipy.special import stdtrit
from scipy.stats import beta
from tests.metrics.test_jackknife import fine

from demur.metrics import augrc, aupr, aurc, coverage_at_risk, eaurc, ece, failure_table, fpr95, wilson
from demur.metrics.binomial import effective_size, proportion
from demur.metrics.calibration import ece_interval
from demur.metrics.ranking_intervals import _accepted, coverage_at_risk_interval, fpr95_interval, ranking_intervals


def ranked(rng, n, bias, groups=None, shared=0.5):
    """Scores that follow a hidden difficulty with noise, and errors that do."""
    difficulty = rng.normal(size=n)
    if groups is not None:
        common = rng.normal(size=groups.max() + 1)[groups]
        difficulty = math.sqrt(1 - shared) * difficulty + math.sqrt(shared) * common
    return difficulty + 0.8 * rng.normal(size=n), rng.random(n) < 1 / (1 + np.exp(bias - 1.5 * difficulty))


def ranking_interval(metric, *rows):
    return ranking_intervals([metric.__name__], *rows)[metric.__name__]


@pytest.mark.parametrize("metric", [augrc, aurc, aupr, eaurc])
def test_a_ranking_with_thirty_errors_is_held_from_both_sides(metric):
    """A percentile bootstrap of AURC misses in 10 of 100 sets, all of them above."""
    truth = metric(*ranked(np.random.default_rng(0), 300_000, 3.5))
    assert fine(truth, 200, lambda rng: ranking_interval(metric, *ranked(rng, 450, 3.5)))


def test_a_ranking_of_groups_is_held():
    groups = np.repeat(np.arange(30), 12)
    many = np.repeat(np.arange(20_000), 12)
    truth = augrc(*ranked(np.random.default_rng(0), len(many), 2.5, many))
    assert fine(truth, 300, lambda rng: ranking_interval(augrc, *ranked(rng, 360, 2.5, groups), groups))


def test_with_fewer_than_ten_errors_a_ranking_has_a_value_and_no_interval():
    wrong = np.arange(100) < 9
    for interval in (partial(ranking_interval, augrc), fpr95_interval):
        found = interval(np.arange(100.0), wrong)
        assert not math.isnan(found.value)
        assert math.isnan(found.low)
        assert "only 9 images of one kind" in found.reason
    assert math.isnan(fpr95_interval(np.arange(5.0), np.zeros(5, bool)).value)


def test_what_is_flagged_to_catch_most_errors_may_be_anything_above_with_few_of_them():
    scores, wrong = ranked(np.random.default_rng(0), 400, 3.0)
    found = fpr95_interval(scores, wrong)
    assert 10 <= wrong.sum() < 70
    assert found.high == 1
    assert found.low < found.value == fpr95(scores, wrong)


def test_fpr95_by_hand():
    scores, wrong = ranked(np.random.default_rng(1), 2000, 1.0)
    found, errors, right = fpr95_interval(scores, wrong), np.sort(scores[wrong]), scores[~wrong]
    share = wilson(0.05 * len(errors), len(errors))
    first, last = math.floor(share.low * len(errors)), math.ceil(share.high * len(errors))
    above, below = (proportion(right >= errors[at - 1]) for at in (last, first))
    assert found.low == pytest.approx(found.value - math.hypot(found.value - above.value, above.value - above.low))
    assert found.high == pytest.approx(found.value + math.hypot(below.value - found.value, below.high - below.value))


@pytest.mark.parametrize("bias", [3.5, 1.5])
def test_fpr95_is_held(bias):
    truth = fpr95(*ranked(np.random.default_rng(0), 300_000, bias))
    assert fine(truth, 500, lambda rng: fpr95_interval(*ranked(rng, 600, bias)))


def test_coverage_at_risk_by_hand():
    scores, wrong = ranked(np.random.default_rng(2), 300, 2.5)
    order, errors, low, high = np.argsort(scores), 0, 0, 0
    for answers, row in enumerate(order, start=1):
        errors += int(wrong[row])
        if errors < answers and beta.ppf(0.975, errors + 1, answers - errors) <= 0.1:
            low = answers
        if not errors or beta.ppf(0.025, errors, answers - errors + 1) <= 0.1:
            high = answers
    found = coverage_at_risk_interval(scores, wrong, risk=0.1)
    assert (found.low, found.high) == (low / 300, high / 300)
    assert found.value == coverage_at_risk(scores, wrong, risk=0.1)
    assert coverage_at_risk_interval([], [], risk=0.1).reason == "no images"


@pytest.mark.parametrize("bias", [4.2, 2.2])
def test_coverage_at_risk_is_held(bias):
    """A bootstrap holds it 79 times in 100 where most images must go: the largest of many shares is too large twice."""
    truth = coverage_at_risk(*ranked(np.random.default_rng(0), 400_000, bias), risk=0.02)
    assert fine(truth, 250, lambda rng: coverage_at_risk_interval(*ranked(rng, 1000, bias), risk=0.02))


def test_the_effective_number_at_each_threshold_is_that_of_its_answers():
    groups = np.repeat(np.arange(25), 8)
    scores, wrong = ranked(np.random.default_rng(0), 200, 1.0, groups)
    errors, answers, size = _accepted(scores, wrong, groups)
    assert len(size) == 200
    for at in (30, 80, 140, 199):
        accepted = scores <= np.sort(scores)[at]
        assert (errors[at], answers[at]) == (wrong[accepted].sum(), accepted.sum())
        units = len(np.unique(groups[accepted]))
        without_t = effective_size(wrong[accepted], groups[accepted]) / few(accepted.sum(), units)
        assert size[at] == pytest.approx(min(accepted.sum(), without_t), rel=1e-6)


def few(n, units):
    """What `effective_size` takes off for few groups."""
    return (stdtrit(n - 1, 0.975) / stdtrit(units - 1, 0.975)) ** 2


def test_coverage_at_risk_of_groups_is_held():
    groups, many = np.repeat(np.arange(40), 15), np.repeat(np.arange(20_000), 15)
    truth = coverage_at_risk(*ranked(np.random.default_rng(0), len(many), 3.2, many), risk=0.03)

    def drawn(rng):
        return coverage_at_risk_interval(*ranked(rng, 600, 3.2, groups), groups, risk=0.03)

    assert fine(truth, 300, drawn)


def stated(rng, n, truth):
    logit = 3 + 2 * rng.normal(size=n)
    first = rng.random(n) < 1 / (1 + np.exp(-truth * logit))
    return 1 / (1 + np.exp(-np.abs(logit))), (logit > 0) == first


def test_a_calibrated_net_may_have_no_error_of_calibration():
    """A bootstrap never holds it: the value is too high, and the resamples' once more."""
    found = [ece_interval(*stated(np.random.default_rng(seed), 500, 1.0)) for seed in range(200)]
    assert np.mean([each.low == 0 for each in found]) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 200)
    assert np.mean([each.value > 0.01 for each in found]) > 0.9


def test_calibration_of_a_net_that_is_too_sure_is_held_and_is_not_zero():
    truth = ece(*stated(np.random.default_rng(0), 400_000, 0.5))
    assert fine(truth, 200, lambda rng: ece_interval(*stated(rng, 300, 0.5)))
    assert ece_interval(*stated(np.random.default_rng(0), 5000, 0.5)).low > 0.8 * truth


def test_calibration_of_few_units_has_no_interval_and_groups_widen_it():
    assert "only from 10" in ece_interval([0.5] * 9, [True] * 9).reason
    assert ece_interval([], []).reason == "no images"
    groups = np.repeat(np.arange(40), 10)
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(40) < 0.6, 10)
    confidence = np.full(400, 0.9)
    alone, grouped = ece_interval(confidence, right), ece_interval(confidence, right, groups)
    assert alone.value == pytest.approx(grouped.value) == pytest.approx(abs(right.mean() - 0.9))
    ratio = (grouped.high - grouped.value) / (alone.high - alone.value)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.1)


def test_balanced_accuracy_by_hand():
    wrong = np.arange(200) < 15
    flagged = (np.arange(200) < 9) | (np.arange(200) >= 170)
    found, caught, kept = failure_table(~flagged, wrong).balanced_accuracy, wilson(9, 15), wilson(155, 185)
    assert found.value == pytest.approx((caught.value + kept.value) / 2)
    down = math.hypot(caught.value - caught.low, kept.value - kept.low) / 2
    up = math.hypot(caught.high - caught.value, kept.high - kept.value) / 2
    assert (found.low, found.high) == pytest.approx((found.value - down, found.value + up))
    assert math.isnan(failure_table([True], [False]).balanced_accuracy.value)
