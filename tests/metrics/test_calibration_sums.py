"""Calibration from sums that were added up part by part."""

import numpy as np
import pytest
from scipy.special import softmax

from demur.metrics.calibration import ece_interval, reliability, row_losses
from demur.metrics.calibration_sums import CalibrationSums
from demur.metrics.jackknife import mean_interval


def world(rows=3000):
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 4, rows)
    logits = draw.normal(size=(rows, 4))
    logits[np.arange(rows), labels] += 1.5
    return logits, labels


def test_sums_of_parts_say_what_all_rows_do():
    logits, labels = world()
    sums = CalibrationSums.empty()
    for part in np.array_split(np.arange(len(labels)), 7):
        sums = sums.plus(logits[part], labels[part])
    sure, right = softmax(logits, axis=1).max(axis=1), logits.argmax(axis=1) == labels
    own = ece_interval(sure, right)
    assert sums.ece.n == own.n
    np.testing.assert_allclose((sums.ece.value, sums.ece.low, sums.ece.high), (own.value, own.low, own.high), rtol=1e-6)
    for found, losses in zip((sums.nll, sums.brier), row_losses(logits, labels), strict=True):
        told = mean_interval(losses)
        assert found.value == pytest.approx(told.value)
        np.testing.assert_allclose((found.low, found.high), (told.low, told.high), rtol=0.01)
    for mine, other in zip(sums.reliability, reliability(sure, right), strict=True):
        assert (mine.low, mine.high, mine.n, mine.accuracy) == (other.low, other.high, other.n, other.accuracy)
        assert mine.confidence == pytest.approx(other.confidence, nan_ok=True)


def test_no_rows_are_calibrated_in_no_way():
    none = CalibrationSums.empty()
    assert np.isnan([none.ece.value, none.nll.value, none.brier.value]).all()
    few = none.plus(*world(5))
    assert few.ece.reason == "no 95 % interval from 5 images, only from 10"
