"""Calibration, likelihood and Brier score against slow references."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.metrics import slow_metrics

from demur.errors import InputError
from demur.metrics import brier, ece, nll, reliability
from demur.metrics.calibration import row_losses
from demur.metrics.jackknife import Jackknife, mean_interval

ROWS = st.lists(st.tuples(st.sampled_from([0, 0.1, 0.25, 0.5, 0.51, 0.8, 0.999, 1]), st.booleans()), min_size=1)


@given(rows=ROWS, bins=st.sampled_from([1, 4, 10]))
def test_ece_equals_its_definition(rows, bins):
    confidence, right = (np.array(column) for column in zip(*rows, strict=True))
    expected = slow_metrics.ece([float(c) for c in confidence], [int(r) for r in right], bins)
    np.testing.assert_allclose(ece(confidence, right, bins=bins), expected, atol=1e-12)


def test_ece_takes_weights_as_repeated_rows():
    rng = np.random.default_rng(0)
    confidence, right = rng.random(50), rng.random(50) < 0.5
    weights = rng.integers(0, 3, (4, 50)).astype(float)
    times = weights.astype(int)
    expected = [ece(np.repeat(confidence, k), np.repeat(right, k)) for k in times]
    np.testing.assert_allclose(ece(confidence, right, weights), expected)
    assert ece(confidence, right, weights[0]) == pytest.approx(expected[0])


def test_the_last_bin_counts():
    bins = reliability([1.0, 1.0, 0.95, 0.0], [True, False, False, False], bins=10)
    assert [b.n for b in bins] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert (bins[-1].low, bins[-1].high) == (0.9, 1.0)
    assert bins[-1].confidence == pytest.approx(2.95 / 3)
    assert bins[-1].accuracy.value == pytest.approx(1 / 3)
    assert math.isnan(bins[4].confidence)
    assert bins[4].accuracy.reason


def test_bins_by_group_name_their_unit():
    bins = reliability([0.9, 0.9, 0.9], [True, True, False], bins=2, groups=np.array(["a", "a", "b"]))
    assert (bins[1].accuracy.unit, bins[1].accuracy.n, bins[1].n) == ("group", 2, 3)


def test_a_score_that_is_no_probability_has_no_calibration():
    with pytest.raises(InputError, match=r"got 7\.5"):
        ece([0.5, 7.5], [True, False])


def test_nll_and_brier_equal_their_definitions():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, 4)) * 3, rng.integers(0, 4, 30)
    weights = rng.integers(0, 3, (2, 30)).astype(float)
    surprise, distance = [], []
    for row, label in zip(logits, labels, strict=True):
        p = [math.exp(z) / sum(map(math.exp, row)) for z in row]
        surprise.append(-math.log(p[label]))
        distance.append(sum((q - (k == label)) ** 2 for k, q in enumerate(p)))
    assert nll(logits, labels) == pytest.approx(np.mean(surprise))
    assert brier(logits, labels) == pytest.approx(np.mean(distance))
    np.testing.assert_allclose(nll(logits, labels, weights), weights @ surprise / weights.sum(axis=1))
    np.testing.assert_allclose(brier(logits, labels, weights), weights @ distance / weights.sum(axis=1))


def test_a_saturated_error_stays_finite():
    logits = np.array([[800.0, 0.0]], dtype=np.float32)
    assert nll(logits, [1]) == 800
    assert brier(logits, [1]) == 2


@pytest.mark.parametrize("numbers", [1, 12, 10_000])
def test_one_loss_per_row_is_all_that_leaving_out_rows_needs(monkeypatch, numbers):
    monkeypatch.setattr("demur.metrics.calibration._NUMBERS", numbers)
    draw = np.random.default_rng(4)
    logits, labels = 5 * draw.normal(size=(60, 4)).astype(np.float32), draw.integers(0, 4, 60)
    surprise, distance = row_losses(logits, labels)
    for row in range(60):
        p = np.exp(logits[row].astype(np.float64))
        p /= p.sum()
        assert surprise[row] == pytest.approx(-np.log(p[labels[row]]))
        assert distance[row] == pytest.approx(np.square(p - np.eye(4)[labels[row]]).sum())
    for metric, losses in ((nll, surprise), (brier, distance)):
        whole, means = Jackknife(60).estimate(metric, logits, labels), mean_interval(losses)
        assert [means.value, means.low, means.high] == pytest.approx([whole.value, whole.low, whole.high])
