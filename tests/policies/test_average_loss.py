"""The weaker kind: on average so few of all images are answered and wrong, and never said of the answers."""

import numpy as np
import pytest

from demur.policies import Calibration, ThresholdGrid, Tolerance
from demur.policies.average_loss import control_average_loss


def draw(rng, rows):
    """Uncertainty uniform on [0, 1]; 10 % of all answers wrong, hardly any of the surest."""
    uncertainty = rng.random(rows)
    return Calibration(uncertainty, rng.random(rows) < 0.6 * np.exp(-6 * (1 - uncertainty)))


def true_loss(threshold):
    uncertainty = min(threshold, 1.0)
    return 0.1 * (np.exp(-6 * (1 - uncertainty)) - np.exp(-6))


def slow(tune, certify, loss):
    """Every tune threshold, one after the other, until one answers too many wrong."""
    best = None
    for threshold in ThresholdGrid.of(tune.scores).thresholds:
        lost = sum(wrong for score, wrong in zip(certify.scores, certify.wrong, strict=True) if score <= threshold)
        if (lost + 1) / (len(certify) + 1) > loss:
            break
        best = float(threshold)
    return best


@pytest.mark.parametrize("loss", [0.02, 0.05, 0.3])
def test_the_threshold_is_that_of_an_obvious_loop(loss):
    rng = np.random.default_rng(0)
    for rows in (30, 100, 300):
        tune, certify = draw(rng, 60), draw(rng, rows)
        found = control_average_loss(tune, certify, loss)
        assert (found and found.threshold) == slow(tune, certify, loss)


def test_the_loss_is_kept_on_average_and_nearly_reached():
    rng = np.random.default_rng(0)
    found = [control_average_loss(draw(rng, 1000), draw(rng, 200), 0.05) for _ in range(600)]
    losses = [true_loss(each.threshold) for each in found]
    assert 0.044 <= np.mean(losses) <= 0.05 + 3 * np.std(losses) / np.sqrt(600)
    assert np.mean(np.array(losses) > 0.05) > 0.2  # so it is no guarantee of a single draw


def test_a_group_counts_once_by_the_mean_of_its_rows():
    """Each of 50 groups has one wrong row of four: the mean loss of all is 1/4 where all are answered."""
    rows = Calibration(np.zeros(200), np.arange(200) % 4 == 0, np.arange(200) // 4)
    assert control_average_loss(rows, rows, (50 / 4 + 1) / 51 - 1e-6) is None
    found = control_average_loss(rows, rows, (50 / 4 + 1) / 51 + 1e-6)
    assert (found.m, found.unit, found.answered, found.wrong) == (50, "group", 1.0, 0.25)


def test_too_few_units_control_nothing():
    sure = Calibration(np.arange(18.0), np.zeros(18, bool))
    assert control_average_loss(sure, sure, 0.05) is None
    sure = Calibration(np.arange(19.0), np.zeros(19, bool))
    assert control_average_loss(sure, sure, 0.05).answered == 1.0


def test_rows_within_their_tolerance_count_as_answered_where_they_are_wrong():
    wrong = np.arange(100) >= 60
    scores = np.arange(100) / 100
    tune = Calibration(scores, wrong)
    sharp = control_average_loss(tune, tune, 0.05)
    wide = control_average_loss(tune, Calibration(scores, wrong, tolerance=Tolerance(widths=(0.1,))), 0.05)
    assert sharp.threshold - wide.threshold == pytest.approx(0.1, abs=0.011)


def test_it_says_what_it_is_and_what_it_is_not():
    rng = np.random.default_rng(0)
    said = control_average_loss(draw(rng, 500), draw(rng, 500), 0.02).sentence
    assert "of all images, answered or not, at most 2 in 100 are answered and wrong" in said
    assert "on average" in said
    assert "nothing of the share of wrong answers among those given" in said
