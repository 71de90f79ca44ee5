"""What is read off many classes at once: the worst, gates on every class, and whether a guarantee is kept."""

import numpy as np
import pytest
from scipy.stats import binom
from tests.report.example_results import run

from demur.analysis.acceptance import judge_gates
from demur.analysis.accuracy.overall import ClassRow, told_apart, worst_class
from demur.analysis.quantity import Quantity
from demur.metrics.binomial import clopper_pearson
from demur.policies.keeping import keeping

RESULTS = run("issued").model_copy(update={"checks": ()})


def rows(right, n):
    """Classes of `n` images each, with so many right."""
    return tuple(
        ClassRow(
            name=f"class {k}",
            n=n,
            accuracy=Quantity.of(clopper_pearson(int(count), n, len(right))),
            coverage=None,
            risk=None,
            alone={"accuracy": Quantity.of(clopper_pearson(int(count), n))},
        )
        for k, count in enumerate(right)
    )


def judged(right, n, rule):
    results = RESULTS.model_copy(update={"per_class": rows(right, n)})
    return judge_gates({"worst_class.accuracy": rule}, results)[0].outcome


@pytest.mark.parametrize(("classes", "n"), [(10, 400), (200, 20), (200, 10)])
def test_the_interval_of_the_worst_class_covers_its_truth(classes, n):
    generator, covered = np.random.default_rng(0), 0
    for _ in range(300):
        least = int(generator.binomial(n, 0.92, classes).min())
        found = clopper_pearson(least, n, classes)
        covered += found.low <= 0.92 <= found.high
    assert covered / 300 >= 0.95


@pytest.mark.parametrize(("classes", "n", "truth"), [(10, 400, 0.75), (200, 10, 0.75), (200, 50, 0.7)])
def test_a_gate_that_every_class_passes_seldom_fails(classes, n, truth):
    generator = np.random.default_rng(0)
    failed = sum(judged(generator.binomial(n, truth, classes), n, ">= 0.70") == "fail" for _ in range(100))
    assert failed <= 100 * 0.05 + 3 * np.sqrt(100 * 0.05 * 0.95)


def test_a_class_that_fails_by_far_is_found_among_two_hundred():
    generator = np.random.default_rng(0)
    right = generator.binomial(50, 0.9, 200)
    right[17] = 15
    assert judged(right, 50, ">= 0.70") == "fail"


def test_that_every_class_passes_needs_no_correction():
    """Each by its own interval; the one that holds for all would leave it open."""
    right = np.full(200, 92)
    assert clopper_pearson(92, 100).low > 0.8 > clopper_pearson(92, 100, 200).low
    assert judged(right, 100, ">= 0.80") == "pass"
    assert judged(np.append(right[1:], 82), 100, ">= 0.80") == "inconclusive"


@pytest.mark.parametrize(("errors", "kept"), [(1, "holds"), (6, "undecided"), (8, "undecided"), (20, "broken")])
def test_kept_broken_or_undecided_by_the_interval(errors, kept):
    assert keeping(errors, 300, 0.02) == kept
    assert keeping(0, 0, 0.02) == "undecided"


@pytest.mark.parametrize("truth", [0.019, 0.021])
def test_kept_and_broken_are_seldom_said_wrongly(truth):
    answers = 2201
    errors = np.arange(answers + 1)
    chance = binom.pmf(errors, answers, truth)
    wrongly = "broken" if truth < 0.02 else "holds"
    assert sum(chance[k] for k in range(120) if keeping(k, answers, 0.02) == wrongly) <= 0.025


def test_what_few_images_could_show():
    """Ten a class, right nine times in ten: told apart is what 4 of 5 draws would show to be below that."""
    assert told_apart(()) is None
    assert told_apart(rows([3] * 100, 4)) is None
    many = rows([9] * 200, 10)
    found = told_apart(many)
    assert 0 < found < 0.3
    most = max(k for k in range(11) if clopper_pearson(k, 10, 200).high < 0.9)
    assert binom.cdf(most, 10, found) == pytest.approx(0.8)


def test_the_class_named_worst_is_so_by_the_measure_beside_it():
    found = worst_class(rows([40, 30, 35], 50))
    assert (found.row.name, found.by) == ("class 1", "accuracy")
