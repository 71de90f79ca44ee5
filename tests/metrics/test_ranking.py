"""Every ranking metric against a slow reference, under ties, weights and permutations."""

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from tests.metrics import slow_metrics

from demur.errors import InputError
from demur.metrics import (
    augrc,
    aupr,
    aurc,
    auroc,
    coverage_at_risk,
    eaurc,
    fpr95,
    risk_at_coverage,
    risk_coverage,
    selective_risk,
)

METRICS = {
    "auroc": (auroc, slow_metrics.auroc),
    "aupr": (aupr, slow_metrics.aupr),
    "fpr95": (fpr95, slow_metrics.fpr95),
    "augrc": (augrc, slow_metrics.augrc),
    "aurc": (aurc, slow_metrics.aurc),
    "eaurc": (eaurc, slow_metrics.eaurc),
    "coverage_at_risk": (partial(coverage_at_risk, risk=0.25), partial(slow_metrics.coverage_at_risk, risk=0.25)),
    "risk_at_coverage": (partial(risk_at_coverage, coverage=0.6), partial(slow_metrics.risk_at_coverage, coverage=0.6)),
    "selective_risk": (partial(selective_risk, threshold=2), partial(slow_metrics.selective_risk, threshold=2)),
}
ROWS = st.lists(st.tuples(st.integers(-1, 4), st.booleans()), min_size=1, max_size=25)
every_metric = pytest.mark.parametrize(("metric", "reference"), METRICS.values(), ids=METRICS)


def columns(rows):
    uncertainty, wrong = zip(*rows, strict=True)
    return np.array(uncertainty, float), np.array(wrong, bool)


@every_metric
@given(rows=ROWS)
def test_a_metric_equals_its_definition_under_heavy_ties(metric, reference, rows):
    uncertainty, wrong = columns(rows)
    np.testing.assert_allclose(
        metric(uncertainty, wrong), reference(list(uncertainty), list(map(int, wrong))), atol=1e-12
    )


@every_metric
def test_a_metric_equals_its_definition_without_ties(metric, reference):
    rng = np.random.default_rng(0)
    uncertainty, wrong = rng.normal(size=150), rng.random(150) < 0.3
    np.testing.assert_allclose(
        metric(uncertainty, wrong), reference(list(uncertainty), list(map(int, wrong))), atol=1e-12
    )


@every_metric
@given(rows=ROWS, seed=st.integers(0, 99))
def test_a_weight_is_a_repeated_row(metric, reference, rows, seed):
    uncertainty, wrong = columns(rows)
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, len(uncertainty))).astype(float)
    weights[:, 0] += 1
    repeated = [
        metric(np.repeat(uncertainty, times.astype(int)), np.repeat(wrong, times.astype(int))) for times in weights
    ]
    np.testing.assert_allclose(metric(uncertainty, wrong, weights=weights), repeated, atol=1e-12)
    single = metric(uncertainty, wrong, weights=weights[0])
    assert isinstance(single, float)
    np.testing.assert_allclose(single, repeated[0], atol=1e-12)


@every_metric
@given(rows=ROWS, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(metric, reference, rows, seed):
    uncertainty, wrong = columns(rows)
    order = np.random.default_rng(seed).permutation(len(uncertainty))
    np.testing.assert_allclose(metric(uncertainty[order], wrong[order]), metric(uncertainty, wrong), atol=1e-12)


@every_metric
def test_a_metric_of_no_rows_is_undefined(metric, reference):
    assert np.isnan(metric(np.array([]), np.array([], bool)))


@every_metric
def test_a_score_of_nan_is_refused(metric, reference):
    with pytest.raises(InputError, match="NaN on 1 of 2"):
        metric(np.array([0.0, np.nan]), np.array([True, False]))


@given(rows=ROWS)
def test_augrc_is_fixed_by_auroc_and_accuracy(rows):
    uncertainty, wrong = columns(rows)
    accuracy = 1 - wrong.mean()
    spread = accuracy * (1 - accuracy)
    expected = ((1 - auroc(uncertainty, wrong)) * spread if spread else 0) + (1 - accuracy) ** 2 / 2
    np.testing.assert_allclose(augrc(uncertainty, wrong), expected, atol=1e-12)


def test_aurc_is_the_mean_over_all_orders_of_a_tie():
    uncertainty, wrong = [0, 1, 1, 1, 2], np.array([0, 1, 0, 0, 1])
    orders = [[0, *tie, 4] for tie in itertools.permutations([1, 2, 3])]
    means = [np.mean(np.cumsum(wrong[order]) / np.arange(1, 6)) for order in orders]
    np.testing.assert_allclose(aurc(uncertainty, wrong), np.mean(means), atol=1e-14)


def test_aurc_extends_smoothly_to_fractional_weights():
    uncertainty, wrong = np.array([0.0, 1, 1, 2]), np.array([False, True, False, True])
    at = [aurc(uncertainty, wrong, weights=np.full(4, weight)) for weight in (1, 1 + 1e-9)]
    np.testing.assert_allclose(at[0], at[1], atol=1e-7)


def test_auroc_and_aupr_agree_with_scikit_learn():
    rng = np.random.default_rng(1)
    uncertainty, wrong = rng.integers(0, 40, 500), rng.random(500) < 0.2
    weights = rng.integers(1, 5, 500).astype(float)
    np.testing.assert_allclose(
        auroc(uncertainty, wrong, weights), roc_auc_score(wrong, uncertainty, sample_weight=weights)
    )
    np.testing.assert_allclose(
        aupr(uncertainty, wrong, weights), average_precision_score(wrong, uncertainty, sample_weight=weights)
    )


def test_a_constant_score_knows_nothing():
    uncertainty, wrong = np.zeros(100), np.arange(100) < 20
    assert auroc(uncertainty, wrong) == 0.5
    assert aupr(uncertainty, wrong) == pytest.approx(0.2)
    assert fpr95(uncertainty, wrong) == 1
    assert augrc(uncertainty, wrong) == pytest.approx(0.1)
    assert aurc(uncertainty, wrong) == pytest.approx(0.2)
    assert len(risk_coverage(uncertainty, wrong)) == 1


def test_a_perfect_score_reaches_the_ideal():
    wrong = np.arange(100) >= 80
    assert auroc(wrong, wrong) == 1
    assert eaurc(wrong + np.arange(100), wrong) == pytest.approx(0, abs=1e-15)
    assert fpr95(wrong, wrong) == 0
    assert augrc(wrong, wrong) == pytest.approx(0.2**2 / 2)
    assert coverage_at_risk(wrong, wrong, risk=0) == 0.8


@pytest.mark.parametrize("metric", [auroc, fpr95])
@pytest.mark.parametrize("wrong", [True, False])
def test_without_right_or_wrong_answers_a_ranking_is_undefined(metric, wrong):
    assert np.isnan(metric([0.1, 0.2], [wrong, wrong]))


def test_at_coverage_zero_the_surest_row_that_weighs_something_is_answered():
    weights = np.array([0.0, 1.0, 1.0])
    assert risk_at_coverage([0, 1, 2], [False, True, False], weights, coverage=0) == 1


@pytest.mark.parametrize("errors", [20, 60, 300, 7 * 20])
def test_fpr95_is_content_with_exactly_95_of_100_errors(errors):
    """Whatever the last bit of 0.95 times their number."""
    missed = errors // 20
    uncertainty = np.repeat([0.0, 1.0, 2.0], [missed, 50, errors - missed])
    wrong = np.repeat([True, False, True], [missed, 50, errors - missed])
    assert fpr95(uncertainty, wrong) == 0
    one_more = np.repeat([0.0, 1.0, 2.0], [missed + 1, 50, errors - missed - 1])
    assert fpr95(one_more, np.repeat([True, False, True], [missed + 1, 50, errors - missed - 1])) == 1


@pytest.mark.parametrize(("n", "errors", "risk"), [(20, 1, 0.05), (30, 3, 0.1), (1000, 29, 0.029), (49, 1, 1 / 49)])
def test_a_risk_that_is_exactly_reached_is_kept(n, errors, risk):
    wrong = np.arange(n) >= n - errors
    assert coverage_at_risk(np.arange(n), wrong, risk=risk) == 1
    assert coverage_at_risk(np.arange(n), wrong, risk=risk * (1 - 1e-6)) < 1


@pytest.mark.parametrize(("n", "answered"), [(5, 3), (10, 7), (100, 29), (1000, 57)])
def test_a_coverage_that_is_exactly_reached_is_enough(n, answered):
    wrong = np.arange(n) >= answered
    assert risk_at_coverage(np.arange(n), wrong, coverage=answered / n) == 0
    assert risk_at_coverage(np.arange(n), wrong, coverage=answered / n * (1 + 1e-6)) == pytest.approx(
        1 / (answered + 1)
    )
