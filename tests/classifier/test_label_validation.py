"""Labels that mean other classes are refused, with the likely cause."""

import numpy as np
import pytest

from demur.classifier import check_labels
from demur.errors import DataError

CLASSES = tuple("abcdefghij")
ROWS = 2000


def answers(accuracy=0.8, rows=ROWS, classes=10):
    stream = np.random.default_rng(3)
    labels = stream.integers(classes, size=rows)
    wrong = (labels + stream.integers(1, classes, size=rows)) % classes
    return np.where(stream.random(rows) < accuracy, labels, wrong), labels


@pytest.mark.parametrize("accuracy", [0.13, 0.5, 0.9, 1.0])
def test_a_model_better_than_guessing_passes(accuracy):
    check_labels(*answers(accuracy), CLASSES)


def test_another_order_of_classes_is_recognised():
    predicted, labels = answers()
    with pytest.raises(DataError, match=r"'a' is labelled 'b', 'b' is labelled 'c'.* and 7 more. Give the model's"):
        check_labels(predicted, (labels + 1) % 10, CLASSES)


def test_two_swapped_classes_are_recognised_though_accuracy_is_above_guessing():
    predicted, labels = answers()
    swapped = np.array([1, 0, *range(2, 10)])
    with pytest.raises(DataError, match=r"name the classes as the labels do; it is right on 6.*'a' is labelled 'b'"):
        check_labels(predicted, swapped[labels], CLASSES)


def test_shuffled_labels_are_recognised():
    predicted, labels = answers()
    with pytest.raises(DataError, match=r"No other order of classes repairs it.*model.trust_labels=true"):
        check_labels(predicted, np.random.default_rng(0).permutation(labels), CLASSES)


def test_one_answer_for_everything_points_at_the_images():
    _, labels = answers()
    with pytest.raises(DataError, match=r"answers 'd' for 100% of them.*check mean and std"):
        check_labels(np.full(ROWS, 3), labels, CLASSES)


def test_the_interval_decides_and_not_the_value():
    predicted, labels = answers(0.18, rows=100)
    assert 0.1 < (predicted == labels).mean() < 0.16
    with pytest.raises(DataError, match=r"better than guessing, which is right on 10.0%"):
        check_labels(predicted, labels, CLASSES)


def test_a_few_images_prove_no_other_order():
    check_labels(np.array([0, 1, 2, 3]), np.array([0, 1, 3, 2]), CLASSES)


def test_trust_overrides():
    _, labels = answers()
    check_labels(np.full(ROWS, 3), labels, CLASSES, trust_labels=True)
