import math

import numpy as np
import pytest

from demur.training.model_card import scores

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 400)
PREDICTED = np.where(RNG.uniform(size=400) < 0.8, LABELS, RNG.integers(0, 3, 400))


def test_values_are_scikit_learn_s():
    from sklearn.metrics import precision_recall_fscore_support

    found = scores(PREDICTED, LABELS, "abc")
    wanted = precision_recall_fscore_support(LABELS, PREDICTED)
    for k, one in enumerate(found.classes):
        assert (one.precision.value, one.recall.value, one.f1.value, one.n) == pytest.approx(
            [part[k] for part in wanted]
        )
    assert found.accuracy.value == pytest.approx((LABELS == PREDICTED).mean())
    assert [one.name for one in found.classes] == ["a", "b", "c"]


def test_intervals_hold_the_value_and_narrow_with_more_images():
    few, many = (scores(np.tile(PREDICTED, k), np.tile(LABELS, k), "abc").classes[1] for k in (1, 9))
    for one in (few, many):
        for share in (one.precision, one.recall, one.f1):
            assert share.low < share.value < share.high
    assert many.f1.high - many.f1.low == pytest.approx((few.f1.high - few.f1.low) / 3, rel=0.1)


def test_the_interval_of_f1_covers_the_truth():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        labels = rng.integers(0, 2, 150)
        predicted = np.where(rng.uniform(size=150) < 0.8, labels, 1 - labels)
        f1 = scores(predicted, labels, "ab").classes[0].f1
        covered += f1.low <= 0.8 <= f1.high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_class_never_called_has_no_precision_and_one_never_seen_no_recall():
    found = scores(np.array([0, 0, 1]), np.array([0, 0, 0]), "abc").classes
    assert math.isnan(found[2].precision.value)
    assert math.isnan(found[2].recall.value)
    assert math.isnan(found[1].recall.value)
    assert found[1].precision.value == 0 == found[1].f1.value


def test_groups_widen_the_intervals():
    groups = np.repeat(np.arange(40), 10)
    labels = np.repeat(RNG.integers(0, 2, 40), 10)
    predicted = np.where(np.repeat(RNG.uniform(size=40), 10) < 0.7, labels, 1 - labels)
    alone, grouped = (scores(predicted, labels, "ab", units).classes[0].recall for units in (None, groups))
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)
    assert grouped.unit == "group"
