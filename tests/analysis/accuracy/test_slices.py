"""Whom it fails most: a group that is declined almost wholly does not escape."""

from tests.report.simulated_scores import share

from demur.analysis.accuracy.overall import ClassRow, WorstClass, worst_class
from demur.analysis.accuracy.slices import SliceRow, worst_slice


def of_class(name, right, covered, risk, n=100):
    return ClassRow(
        name=name,
        n=n,
        accuracy=share(right, n),
        coverage=share(covered, n),
        risk=share(risk, round(covered * n)),
        alone={},
    )


def of_slice(name, right, covered, risk, n=100):
    return SliceRow(
        column="site",
        value=name,
        n=2 * n,
        accuracy=share(1 - right, 2 * n),
        test_n=n,
        test_accuracy=share(right, n),
        coverage=share(covered, n),
        risk=share(risk, round(covered * n)),
    )


def test_among_well_answered_ones_the_answers_decide():
    assert worst_class((of_class("a", 0.7, 0.5, 0.02), of_class("b", 0.9, 0.9, 0.05))) == WorstClass(
        row=of_class("b", 0.9, 0.9, 0.05), by="risk"
    )
    assert worst_slice((of_slice("a", 0.7, 0.5, 0.02), of_slice("b", 0.9, 0.9, 0.05))).value == "b"


def test_a_group_the_guard_hardly_answers_does_not_escape():
    assert worst_class((of_class("a", 0.4, 0.1, 0.0), of_class("b", 0.9, 0.9, 0.05))) == WorstClass(
        row=of_class("a", 0.4, 0.1, 0.0), by="accuracy"
    )
    assert worst_slice((of_slice("a", 0.4, 0.1, 0.0), of_slice("b", 0.9, 0.9, 0.05))).value == "a"


def test_a_handful_of_images_is_not_named():
    assert worst_class((of_class("a", 0.2, 0.2, 1.0, n=5), of_class("b", 0.9, 0.9, 0.05))).row.name == "b"
