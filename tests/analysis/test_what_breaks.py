"""What breaks a model: the rule, the smallest size, the order."""

import pytest
from tests.report.example_results import condition, run
from tests.report.simulated_scores import SEEN, share

from demur.analysis.robustness.attack_tables import AttackRow
from demur.analysis.what_breaks import what_breaks
from demur.policies.keeping import keeping


def breaking(state="issued", **changes):
    return what_breaks(run(state).model_copy(update=changes))


def fog(*risks, family="fog", kind="corruption"):
    return tuple(
        condition(f"{family}(severity={at})", family, kind, f"{family} {at}", at, 0.9, 0.5, risk, guaranteed=True)
        for at, risk in enumerate(risks, 1)
    )


def test_a_family_breaks_from_its_smallest_size_that_is_seen_to_and_stands_by_its_worst():
    found = breaking(conditions=fog(0.01, 0.021, 0.05, 0.12, 0.08), per_class=(), slices=())
    (row,) = found.rows
    assert (found.rule, found.limit, found.tried) == ("guarantee", 0.02, 1)
    assert (row.subject, row.name, row.condition, row.smaller) == ("corruption", "fog", "fog(severity=3)", True)
    assert (row.worst_condition, row.worst_severity) == ("fog(severity=4)", 4)
    assert row.measured.value == pytest.approx(0.05, abs=0.001)
    assert row.worst.value == pytest.approx(0.12, abs=0.001)


def test_what_the_answers_leave_open_does_not_break():
    assert keeping(45, 2006, 0.02) == "undecided"
    assert breaking(conditions=fog(0.0225), per_class=(), slices=()).rows == ()


def test_a_class_breaks_only_beyond_the_interval_that_holds_for_all():
    (first, *_) = run("issued").per_class
    rows = tuple(first.model_copy(update={"risk": share(risk, 100)}) for risk in (0.04, 0.2))
    found = breaking(conditions=(), per_class=rows, slices=())
    assert [row.measured.value for row in found.rows] == [0.2]


def test_the_worst_is_first_whatever_it_is():
    rows = (*fog(0.3, family="fog"), *fog(0.5, family="rain"), *fog(0.9, 0.4, family="fgsm", kind="attack"))
    classes = tuple(
        row.model_copy(update={"risk": share(risk, 300)})
        for row, risk in zip(run("issued").per_class, (0.4, 0.0, 0.02), strict=False)
    )
    found = breaking(conditions=rows, per_class=classes, slices=())
    assert [(row.subject, row.name) for row in found.rows] == [
        ("attack", "fgsm"),
        ("corruption", "rain"),
        ("class", classes[0].name),
        ("corruption", "fog"),
    ]
    assert found.tried == 3 + 3


def test_attacks_of_one_family_in_two_norms_are_two_things():
    sizes = [(norm, f"pgd(eps={at}, norm={norm!r})") for norm in ("linf", "l2") for at in (1, 2)]
    rows = tuple(
        condition(name, "pgd", "attack", name, at % 2 + 1, 0.1, 0.5, 0.9, guaranteed=True)
        for at, (_, name) in enumerate(sizes)
    )
    attacks = tuple(
        AttackRow(
            condition=name, sentence=name, norm=norm, eps=1.0, target=None, n=9, robust_accuracy=share(0.1, 9),
            success=share(0.9, 9), target_success=None, median_distance=share(0.1, 9), faults=0, forwards=1,
            backwards=1,
        )
        for norm, name in sizes
    )  # fmt: skip
    found = breaking(conditions=rows, attacks=attacks, per_class=(), slices=())
    assert [row.condition for row in found.rows] == ["pgd(eps=1, norm='l2')", "pgd(eps=1, norm='linf')"]


def test_without_a_guarantee_it_breaks_where_less_than_half_of_the_accuracy_is_left():
    results = run("model_too_weak")
    half = results.accuracy.value / 2
    edge = results.conditions[0].model_copy(
        update={"kind": "corruption", "family": "fog", "condition": "fog", "severity": 1.0}
    )
    open_ = edge.model_copy(update={"accuracy": share(half - 0.005, SEEN)})
    below = edge.model_copy(update={"accuracy": share(half - 0.05, SEEN)})
    assert breaking("model_too_weak", conditions=(open_,), per_class=(), slices=()).rows == ()
    (row,) = breaking("model_too_weak", conditions=(below,), per_class=(), slices=()).rows
    assert row.measured.value == pytest.approx(1 - half + 0.05, abs=0.001)
    assert breaking("model_too_weak").rule == "half"


def test_figures_that_failed_their_checks_break_nothing():
    results = run("issued")
    failed = results.checks[0].model_copy(update={"state": "fail", "bears_on": "attacks"})
    found = breaking(checks=(failed,), per_class=(), slices=())
    assert {row.subject for row in found.rows} == {"corruption"}
    assert {row.subject for row in breaking(per_class=(), slices=()).rows} == {"attack", "corruption"}
