"""The failure table."""

import numpy as np
import pytest

from demur.metrics import balanced_accuracy, failure_table

ACCEPTED = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0], bool)
WRONG = np.array([0, 1, 0, 0, 0, 1, 1, 1, 1, 0], bool)


def test_its_shares():
    table = failure_table(ACCEPTED, WRONG)
    assert table.accuracy.value == 0.5
    assert table.flagged.value == 0.4
    assert table.accuracy_unflagged.value == pytest.approx(4 / 6)
    assert table.accuracy_flagged.value == 0.25
    assert table.errors_caught.value == 0.6
    assert table.precision.value == 0.75
    assert table.fpr.value == 0.2
    assert (table.precision.n, table.fpr.n) == (4, 5)
    assert table.balanced_accuracy.value == pytest.approx((3 / 5 + 4 / 5) / 2)
    assert table.accuracy_flagged.n == 4


@pytest.mark.parametrize("groups", [None, np.arange(500) // 7])
def test_accuracy_is_the_mixture_of_both_sides(groups):
    rng = np.random.default_rng(0)
    table = failure_table(rng.random(500) < 0.7, rng.random(500) < 0.2, groups)
    share = table.flagged.value
    mixture = (1 - share) * table.accuracy_unflagged.value + share * table.accuracy_flagged.value
    assert table.accuracy.value == pytest.approx(mixture, abs=1e-12)
    assert table.precision.value == pytest.approx(1 - table.accuracy_flagged.value, abs=1e-12)
    recall, kept = table.errors_caught.value, 1 - table.fpr.value
    assert table.balanced_accuracy.value == pytest.approx((recall + kept) / 2, abs=1e-12)


def test_groups_are_the_unit_of_every_share():
    table = failure_table(ACCEPTED, WRONG, groups=np.arange(10) // 2)
    assert {estimate.unit for estimate in vars(table).values()} == {"group"}


def test_flagging_nothing_leaves_what_it_cannot_know_undefined():
    table = failure_table(np.ones(4, bool), np.zeros(4, bool))
    assert table.accuracy_flagged.reason
    assert table.errors_caught.reason
    assert np.isnan(table.balanced_accuracy.value)


def test_balanced_accuracy_takes_weights_as_repeated_rows():
    weights = np.random.default_rng(0).integers(1, 4, (3, 10)).astype(float)
    times = weights.astype(int)
    expected = [balanced_accuracy(np.repeat(~ACCEPTED, k), np.repeat(WRONG, k)) for k in times]
    np.testing.assert_allclose(balanced_accuracy(~ACCEPTED, WRONG, weights), expected)
