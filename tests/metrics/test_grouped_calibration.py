"""Calibration of rows in groups, from sums over groups that were added up part by part."""

import numpy as np
import pytest

from demur.metrics.calibration import ece_interval, reliability
from demur.metrics.calibration_sums import BINS, CalibrationRows
from demur.metrics.grouped_calibration import BinLines, GroupedCalibration
from demur.metrics.jackknife import mean_interval


def world(groups, rows=1200):
    draw = np.random.default_rng(3)
    of = draw.integers(0, groups, rows)
    labels = draw.integers(0, 4, rows)
    logits = draw.normal(size=(rows, 4)) + draw.normal(size=(groups, 4))[of]
    logits[np.arange(rows), labels] += draw.normal(1.0, 1.0, groups)[of]
    return CalibrationRows.of(logits, labels), of


def summed(rows, of, parts=3):
    """Some groups at a time, as lines of rows of the same group and bin."""
    found, names = GroupedCalibration.empty(), np.unique(of)
    for part in np.array_split(names, parts):
        inside = np.flatnonzero(np.isin(of, part))
        lines, at = np.unique(of[inside] * BINS + rows.place[inside], return_inverse=True)
        columns = (rows.confidence, rows.surprise, rows.distance)
        numbers = [np.bincount(at, each[inside]) for each in columns]
        counts = np.bincount(at), np.bincount(at, rows.right[inside]).astype(np.int64)
        units = np.unique(lines // BINS, return_inverse=True)[1]
        found = found.plus(BinLines(units, lines % BINS, *counts, *numbers))
    columns = (np.ones(len(of)), rows.surprise, rows.distance)
    return found.with_blocks(np.stack([np.bincount(of, each)[names] for each in columns], axis=1))


@pytest.mark.parametrize("groups", [11, 150, 400])
def test_sums_of_parts_say_what_all_rows_do(groups):
    rows, of = world(groups)
    found, right = summed(rows, of), rows.right > 0
    names = np.array([f"lot {each}" for each in of], object)
    for mine, other, tolerance in (
        (found.ece, ece_interval(rows.confidence, right, names), 1e-6),
        (found.nll, mean_interval(rows.surprise, names), 1e-9 if groups <= 200 else 0.02),
        (found.brier, mean_interval(rows.distance, names), 1e-9 if groups <= 200 else 0.02),
    ):
        assert (mine.n, mine.unit) == (other.n, "group")
        assert mine.value == pytest.approx(other.value)
        np.testing.assert_allclose((mine.low, mine.high), (other.low, other.high), rtol=tolerance)
    for mine, other in zip(found.reliability, reliability(rows.confidence, right, groups=names), strict=True):
        assert (mine.low, mine.high, mine.n, mine.accuracy) == (other.low, other.high, other.n, other.accuracy)
        assert mine.confidence == pytest.approx(other.confidence, nan_ok=True)


def test_few_groups_have_no_interval_however_many_rows_they_have():
    rows, of = world(9)
    found = summed(rows, of, parts=2)
    reason = "no 95 % interval from 9 groups, only from 10"
    assert {each.reason for each in (found.ece, found.nll, found.brier)} == {reason}
    assert found.ece.value == pytest.approx(ece_interval(rows.confidence, rows.right > 0, of).value)


def test_no_rows_are_calibrated_in_no_way():
    none = GroupedCalibration.empty()
    assert np.isnan([none.ece.value, none.nll.value, none.brier.value]).all()
    assert {part.accuracy.reason for part in none.reliability} == {"no images"}
