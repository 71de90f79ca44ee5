"""Misses and false alarms of a positive class, and the expected cost of answers with and without the guard."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Flags, Floats, Run, share
from demur.metrics import Estimate, wilson
from demur.metrics.jackknife import mean_interval
from demur.metrics.prevalence import (
    ClassRate,
    error_rate_at,
    negative_predictive,
    positive_predictive,
    selective_risk_at,
)
from demur.records import groups, wrong
from demur.registry.gate_rules import ABSTAINED, read_costs, read_prevalence


class Side(Table):
    """The images of the positive class, or all others, and how often the answer is on the other side.

    `error_rate` is of all `n` held-out images at full coverage, `test_error_rate` of the `test_n` test images. With the
    guard, over test rows: `guarded_error_rate` is the share answered and wrong, `abstention_rate` the share abstained
    on, both of all; `selective_risk` is the share of wrong answers among those given.
    """

    n: int
    error_rate: Quantity
    test_n: int
    test_error_rate: Quantity
    guarded_error_rate: Quantity | None
    selective_risk: Quantity | None
    abstention_rate: Quantity | None


class DirectionRow(Table):
    """One condition: misses (escapes) among the positives, false alarms (overkill) among the others."""

    condition: str
    kind: Literal["clean", "attack", "corruption"]
    sentence: str
    misses: Side
    false_alarms: Side


class AtPrevalence(Table):
    """What answers are worth when positives are as common as `prevalence` says, with or without the guard.

    `risk` is the share of wrong answers; `ppv` of the answers "positive" that are right, `npv` of the others.
    """

    with_guard: bool
    prevalence: float
    ppv: Quantity
    npv: Quantity
    risk: Quantity


class ErrorDirection(Table):
    """Misses and false alarms; the first row is the clean one, `prevalence` the share of positives in these data."""

    positive: str
    others: str
    prevalence: Quantity
    rows: tuple[DirectionRow, ...]
    at: tuple[AtPrevalence, ...]


class Cost(Table):
    """Expected cost per clean test image: right answers cost nothing, other errors than those of `matrix` cost 1."""

    matrix: dict[str, float]
    without_guard: Quantity
    with_guard: Quantity | None


ANOTHER = "another class"


def direction(run: Run, data: Mapping[str, Any]) -> ErrorDirection | None:
    """Misses and false alarms under every condition; None where the plan's `[data]` names no positive class."""
    name = data.get("positive")
    if name is None:
        return None
    positive, clean = run.classes.index(name), run.rows("clean")
    others = [other for other in run.classes if other != name]
    return ErrorDirection(
        positive=name,
        others=others[0] if len(others) == 1 else ANOTHER,
        prevalence=share((clean["label"] == positive).to_numpy(), clean),
        rows=tuple(_row(run, entry, positive) for entry in run.conditions()),
        at=_at(run, positive, data["prevalence"]) if "prevalence" in data else (),
    )


def _row(run: Run, entry: Mapping[str, Any], positive: int) -> DirectionRow:
    rows, test = run.rows(entry["name"]), run.rows(entry["name"], "test")
    answered = None if run.guard is None else run.accepts(run.guard, test)
    missed, alarmed = (_side(rows, test, answered, positive, inside=inside) for inside in (True, False))
    return DirectionRow(
        condition=entry["name"], kind=entry["kind"], sentence=entry["sentence"], misses=missed, false_alarms=alarmed
    )


def _side(rows: pl.DataFrame, test: pl.DataFrame, answered: Flags | None, positive: int, *, inside: bool) -> Side:
    own = rows.filter((pl.col("label") == positive) == inside)
    of_side = ((test["label"] == positive) == inside).to_numpy()
    mine = test.filter(of_side)
    errors = _side_errors(mine, positive)
    given = None if answered is None else answered[of_side]
    return Side(
        n=len(own),
        error_rate=share(_side_errors(own, positive), own),
        test_n=len(mine),
        test_error_rate=share(errors, mine),
        guarded_error_rate=None if given is None else share(errors & given, mine),
        selective_risk=None if given is None else share(errors[given], mine.filter(given)),
        abstention_rate=None if given is None else share(~given, mine),
    )


def _side_errors(rows: pl.DataFrame, positive: int) -> Flags:
    """Which rows are taken for the other side; a mix-up among the others is none."""
    return ((rows["predicted"] == positive) != (rows["label"] == positive)).to_numpy()


def _at(run: Run, positive: int, text: str) -> tuple[AtPrevalence, ...]:
    _, prevalence = read_prevalence(text, run.classes[positive])
    bare = _worth(run.rows("clean"), None, positive, prevalence)
    if run.guard is None:
        return (bare,)
    test = run.rows("clean", "test")
    return (_worth(test, run.accepts(run.guard, test), positive, prevalence), bare)


def _worth(rows: pl.DataFrame, answered: Flags | None, positive: int, prevalence: float) -> AtPrevalence:
    """Rates within each side, put together at the prevalence; an image abstained on is no answer at all."""
    given = rows["label"].is_not_null().to_numpy() if answered is None else answered
    called, errors = (rows["predicted"] == positive).to_numpy(), wrong(rows)
    hit, alarm = _rates(rows, given & called, positive)
    miss, clear = _rates(rows, given & ~called, positive)
    faults, rights = _rates(rows, given & errors, positive), _rates(rows, given & ~errors, positive)
    risk = error_rate_at(faults, prevalence) if answered is None else selective_risk_at(faults, rights, prevalence)
    return AtPrevalence(
        with_guard=answered is not None,
        prevalence=prevalence,
        ppv=Quantity.of(positive_predictive(hit, alarm, prevalence)),
        npv=Quantity.of(negative_predictive(miss, clear, prevalence)),
        risk=Quantity.of(risk),
    )


def _rates(rows: pl.DataFrame, flags: Flags, positive: int) -> tuple[ClassRate, ClassRate]:
    """Of the positives, and of the others."""
    inside, units = (rows["label"] == positive).to_numpy(), groups(rows)
    one, other = (ClassRate.of(flags[own], None if units is None else units[own]) for own in (inside, ~inside))
    return one, other


_OTHER = 1.0


def cost(run: Run, matrix: Mapping[str, float]) -> Cost | None:
    """Mean cost of a clean test image; None where the plan has no costs."""
    if not matrix:
        return None
    test, table = run.rows("clean", "test"), price_table(run.classes, matrix)
    paid = table[test["label"].to_numpy(), test["predicted"].to_numpy()]
    guarded = None
    if run.guard is not None:
        abstained = matrix.get(ABSTAINED, 0.0)
        spent = np.where(run.accepts(run.guard, test), paid, abstained)
        guarded = cost_per_image(spent, test, max(abstained, float(table.max())))
    return Cost(
        matrix=dict(matrix),
        without_guard=cost_per_image(paid, test, float(table.max())),
        with_guard=guarded,
    )


def price_table(classes: Sequence[str], matrix: Mapping[str, float]) -> Floats:
    """The cost of each answer (true class, answer): 0 where it is right, 1 where the plan says nothing."""
    table = np.full((len(classes), len(classes)), _OTHER)
    np.fill_diagonal(table, 0.0)
    for (true, answer), price in read_costs(matrix, classes).items():
        table[classes.index(true), classes.index(answer)] = price
    return table


def cost_per_image(paid: Floats, rows: pl.DataFrame, dearest: float) -> Quantity:
    """A mean; where nothing was paid, what could have been missed is taken to be the dearest."""
    found = mean_interval(paid, groups(rows))
    if not paid.any() and len(rows):
        high = dearest * wilson(0, found.n).high
        found = Estimate(value=0.0, low=0.0, high=high, n=found.n, unit=found.unit)
    return Quantity.of(found)
